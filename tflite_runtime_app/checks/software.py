"""Python and what is installed for it: versions, word size, numpy's binary interface against the system's, the C library."""

from __future__ import annotations

import importlib.metadata
import os
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from tflite_runtime_app.checks import Check
from tflite_runtime_app.errors import BundleIncompatible, in_one_line
from tflite_runtime_app.inference.engine import check_litert

SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")  # where Debian's apt puts Python packages
GLIBC = (2, 34)  # what ai-edge-litert 2.3.0's library refers to
EXTRAS = {
    "av": ("video", "USB cameras, video files, RTSP and HTTP streams"),
    "tornado": ("web", "--serve"),
    "paho-mqtt": ("mqtt", "--mqtt"),
    "cryptography": ("sign", "--require-signature"),
}


def checks() -> Iterator[Check]:
    """All of them."""
    yield python(sys.version_info[:3], struct.calcsize("P") * 8)
    yield glibc(os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None)
    yield litert(_version("ai-edge-litert"))
    yield numpy_abi(_version("numpy"), system_numpy(SYSTEM_PACKAGES), has_picamera(SYSTEM_PACKAGES))
    yield (
        Check("Pillow", "ok", _version("Pillow") or "missing")
        if _version("Pillow")
        else Check("Pillow", "bad", "missing", "pip install Pillow")
    )
    for package, (extra, purpose) in EXTRAS.items():
        found = _version(package)
        yield Check(
            package,
            "ok" if found else "note",
            found or f"not installed; wanted for {purpose}",
            "" if found else f"pip install 'clip-rescue[{extra}]'",
        )


def python(version: tuple[int, ...], bits: int) -> Check:
    """The kernel's word on 64 bits is no help: a 32-bit system may run under a 64-bit kernel."""
    found = f"{'.'.join(map(str, version))}, {bits} bits"
    if bits < 64:
        return Check("Python", "bad", found, "LiteRT has no 32-bit builds: install the 64-bit Raspberry Pi OS")
    if version < (3, 11):
        return Check("Python", "bad", found, "3.11 or newer is needed: Raspberry Pi OS Bookworm has it")
    return Check("Python", "ok", found)


def glibc(found: str | None) -> Check:
    """The wheel installs on older systems and then fails when it is loaded."""
    numbers = re.search(r"(\d+)\.(\d+)", found or "")
    if numbers is None:
        return Check("C library", "bad", found or "not glibc", "LiteRT's wheels need glibc: use Raspberry Pi OS or Debian")
    if (int(numbers[1]), int(numbers[2])) < GLIBC:
        return Check("C library", "bad", str(found), "2.34 or newer is needed: Raspberry Pi OS Bookworm or Trixie")
    return Check("C library", "ok", str(found))


def litert(version: str | None) -> Check:
    """Installed, new enough, and it loads."""
    if version is None:
        return Check("LiteRT", "bad", "missing", "pip install ai-edge-litert")
    try:
        check_litert(version)
        from ai_edge_litert import interpreter  # noqa: F401
    except BundleIncompatible as error:
        return Check("LiteRT", "bad", version, str(error))
    except (ImportError, OSError, ValueError) as error:
        return Check("LiteRT", "bad", f"{version} does not load: {in_one_line(error, 120)}", numpy_remedy())
    return Check("LiteRT", "ok", version)


def numpy_abi(mine: str | None, systems: str | None, picamera: bool) -> Check:
    """apt's picamera2 and simplejpeg are built against the system's numpy: another major version breaks them."""
    if mine is None:
        return Check("numpy", "bad", "missing", "pip install numpy")
    if systems is None or mine.split(".")[0] == systems.split(".")[0]:
        return Check("numpy", "ok", mine if systems is None else f"{mine}, the system's is {systems}")
    found = f"{mine}, the system's is {systems}"
    if not picamera:
        return Check("numpy", "note", found, "no matter unless you use the source picamera2; the source rpi does without it")
    return Check("numpy", "bad", found, numpy_remedy())


def numpy_remedy() -> str:
    """What to do about numpy's binary interface."""
    return "pip install -c constraints/rpi-bookworm.txt . on Bookworm, or use the source rpi, which needs no picamera2"


def system_numpy(folder: Path) -> str | None:
    """The version of the system's own numpy."""
    names = sorted(folder.glob("numpy-*.*-info")) if folder.is_dir() else []
    found = re.match(r"numpy-([\d.]+\d)", names[-1].name) if names else None
    return found[1] if found else None


def has_picamera(folder: Path) -> bool:
    """Whether apt installed picamera2."""
    return (folder / "picamera2").is_dir()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
