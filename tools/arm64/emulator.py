"""An emulated Raspberry Pi OS: QEMU's user mode, Debian's arm64 Python, and the wheels a board would install.

All of it lies in one folder and is made once. Nothing is installed, no root is needed, and the kernel is told nothing of it: programs
start programs through a launcher, which QEMU gives them as the name of their own Python.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.arm64 import debian
from tools.arm64.commands import CannotSetUp, call

CPUS = {"cortex-a53": "Pi 3, Zero 2 W", "cortex-a72": "Pi 4", "cortex-a76": "Pi 5"}
QEMU_SUITE = "trixie"  # 10.0: its /proc/cpuinfo is the emulated processor's; 7.2 shows the host's, on which LiteRT crashes
GLIBC = ("17", "24", "26", "27", "28", "31", "34", "35")  # 2.x; Bookworm has 2.36
UNUSED = "ai_edge_litert/libLiteRtWebGpuAccelerator.so"  # 17 MB for a graphics card
LAUNCHER = """#!/bin/sh
export PYTHONHOME='{root}/usr' PYTHONPATH='{site}'"${{PYTHONPATH:+:$PYTHONPATH}}"
exec '{qemu}' -0 "$0" -L '{root}' -cpu {cpu} '{root}/usr/bin/python{python}' "$@"
"""


@dataclass(frozen=True, slots=True)
class System:
    """A release of the system: Debian's name of it, its Python, and the numpy that its own packages are built against."""

    suite: str
    python: str
    numpy: str


BOOKWORM = System("bookworm", "3.11", "1.24.2")
TRIXIE = System("trixie", "3.13", "2.2.4")


def wheels(system: System) -> tuple[str, ...]:
    """What the board installs: LiteRT and Pillow of this environment's versions, so that both sides run the same ones."""
    here = {name: importlib.metadata.version(name) for name in ("ai-edge-litert", "pillow")}
    return (f"numpy=={system.numpy}", *(f"{name}=={version}" for name, version in here.items()))


def set_up(system: System, cache: Path) -> dict[str, Path]:
    """Each processor's launcher, to be started as Python is; made on the first call, found on later ones. Raises CannotSetUp."""
    require_machine()
    with alone(cache):
        qemu = qemu_in(cache, "qemu-aarch64")
        packages = (f"python{system.python}-minimal", f"libpython{system.python}-stdlib", "libc6", "libstdc++6", "libgcc-s1")
        root = made(cache / system.suite / "root", " ".join(packages), lambda folder: _root(folder, system, packages))
        site = made(cache / system.suite / "site", " ".join(wheels(system)), lambda folder: _site(folder, system))
        launchers = {cpu: cache / system.suite / f"python-{cpu}" for cpu in CPUS}
        for cpu, launcher in launchers.items():
            launcher.write_text(LAUNCHER.format(root=root, site=site, qemu=qemu, cpu=cpu, python=system.python))
            launcher.chmod(0o755)
    return launchers


def require_machine() -> None:
    """Returns where the emulation can be set up. Raises CannotSetUp elsewhere."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise CannotSetUp(
            f"expected Linux on x86-64, found {platform.system()} on {platform.machine()}; run it on such a machine"
        )


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Within, no other process sets up in the same folder."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made(folder: Path, recipe: str, make: Callable[[Path], None]) -> Path:
    """`folder`, made by `make` unless it was made by the same recipe before; it is there whole or not at all."""
    note = folder.with_name(f"{folder.name}.recipe")
    if folder.is_dir() and note.is_file() and note.read_text() == recipe:
        return folder
    part = folder.with_name(f"{folder.name}.part")
    for old in (folder, part):
        shutil.rmtree(old, ignore_errors=True)
    note.unlink(missing_ok=True)
    part.mkdir(parents=True)
    make(part)
    part.rename(folder)
    note.write_text(recipe)
    return folder


def qemu_in(cache: Path, program: str) -> Path:
    """One of QEMU's user mode programs, `qemu-aarch64` or `qemu-arm`, in a folder of its own in the cache. Raises CannotSetUp."""
    return made(cache / "qemu", f"{QEMU_SUITE} {program}", lambda folder: _qemu(folder, program)) / program


def own_architecture() -> str:
    """Debian's name of this machine's. Raises CannotSetUp elsewhere."""
    return call("dpkg", "--print-architecture", remedy="run it on Debian").strip()


def _qemu(folder: Path, program: str) -> None:
    debian.unpack(debian.fetch(["qemu-user-static"], own_architecture(), QEMU_SUITE, folder / "apt"), folder / "files")
    names = (program, f"{program}-static")
    binary = next((path for name in names if (path := folder / "files" / "usr" / "bin" / name).is_file()), None)
    if binary is None:
        raise CannotSetUp(f"expected {program} in {QEMU_SUITE}'s qemu-user-static, found none; report it with apt's version")
    shutil.copy(binary, folder / program)
    for done in ("apt", "files"):
        shutil.rmtree(folder / done)


def _root(folder: Path, system: System, packages: tuple[str, ...]) -> None:
    debian.unpack(debian.fetch(packages, "arm64", system.suite, folder / "apt"), folder)
    shutil.rmtree(folder / "apt")


def _site(folder: Path, system: System) -> None:
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in GLIBC] + ["manylinux2014_aarch64"]
    abi = f"cp{system.python.replace('.', '')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--python-version", system.python, "--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]
    command += [word for name in (*platforms, "any") for word in ("--platform", name)]
    done = subprocess.run([*command, *wheels(system)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines() or ["nothing"]
        raise CannotSetUp(
            f"pip has no aarch64 wheels of {', '.join(wheels(system))}: {told[-1]}; check that pip's index has them"
        )
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
    (folder / UNUSED).unlink(missing_ok=True)
