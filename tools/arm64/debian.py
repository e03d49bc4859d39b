"""Debian packages of any architecture and suite, fetched and unpacked beside the system, which is left as it is.

An apt with a state folder of its own does it; where Debian is reached, and through what proxy, it takes from the machine's apt.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.arm64.commands import CannotSetUp, call, needed

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
ONLINE = "check that apt-get update works here, then run it again"
UNWANTED = ("./usr/share/doc*", "./usr/share/man*", "./usr/share/locale*", "./var*")


def mirrors() -> list[str]:
    """Where the machine's own apt fetches from, in its order, security updates left out. Raises CannotSetUp for none."""
    listed = call("apt-get", "update", "--print-uris", remedy=ONLINE)
    found = re.findall(r"^'(\S+?)/dists/(\S+?)/(?:In)?Release'", listed, re.MULTILINE)
    bases = list(dict.fromkeys(base for base, suite in found if "security" not in suite))
    if not bases:
        raise CannotSetUp("expected a Debian mirror among apt's sources, found none; add one to /etc/apt/sources.list")
    return bases


def fetch(packages: Sequence[str], architecture: str, suite: str, folder: Path) -> list[Path]:
    """The .deb files of `packages` and of all they depend on, under `folder`. Raises CannotSetUp."""
    if not Path(KEYS).exists():
        raise CannotSetUp(f"expected Debian's keys in {KEYS}, found none; install debian-archive-keyring")
    for part in ("lists/partial", "archives/partial", "parts"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()  # nothing counts as installed, so every dependency is fetched
    options = _options(folder, architecture)
    refusals: list[CannotSetUp] = []
    for mirror in mirrors():
        (folder / "sources.list").write_text(f"deb [signed-by={KEYS}] {mirror} {suite} main\n")
        try:
            call("apt-get", *options, "update", remedy=ONLINE)
            call("apt-get", *options, "--yes", "--download-only", "install", *packages, remedy=ONLINE)
        except CannotSetUp as refusal:  # some other vendor's mirror, most likely
            refusals.append(refusal)
            continue
        return sorted((folder / "archives").glob("*.deb"))
    raise refusals[0]


def unpack(archives: Sequence[Path], root: Path) -> None:
    """`root` holds the files of the archives, without documentation. No script of theirs is run. Raises CannotSetUp."""
    for name in ("bin", "sbin", "lib"):  # as on every merged system, and before an older package makes folders of them
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    exclude = [f"--exclude={pattern}" for pattern in UNWANTED]
    command = [needed("tar"), "-x", "-C", str(root), "--keep-directory-symlink", "--no-same-owner", *exclude]
    for archive in archives:
        with subprocess.Popen([needed("dpkg-deb"), "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as reading:
            done = subprocess.run(command, stdin=reading.stdout, capture_output=True, text=True, check=False)
        if done.returncode or reading.returncode:
            raise CannotSetUp(f"{archive.name} cannot be unpacked ({done.stderr.strip()}); make room and run it again")


def _options(folder: Path, architecture: str) -> list[str]:
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "0",
        "APT::Update::Post-Invoke": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": folder / "parts",
        "Dir::Etc::Preferences": folder / "none",
        "Dir::Etc::PreferencesParts": folder / "parts",
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "DPkg::Post-Invoke": "",
        "Debug::NoLocking": "true",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
