"""A C compiler for Cortex-M and QEMU's user mode, of Debian's packages, unpacked into a cache beside the system."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.arm64 import debian
from tools.arm64.emulator import BOOKWORM, alone, made, own_architecture, qemu_in, require_machine

PACKAGES = ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi")
SUITE = BOOKWORM.suite  # its programs run on every Debian since; a newer suite's want a newer C library
# What is emulated -> the compiler's words for it. The M33 as smaller parts have it, without a floating-point unit.
CPUS = {
    "cortex-m33": ("-mcpu=cortex-m33+nofp", "-mfloat-abi=soft"),
    "cortex-m55": ("-mcpu=cortex-m55", "-mfloat-abi=hard"),
}
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
LIMIT = 600.0  # seconds; far beyond any run here


class DidNotRun(Exception):
    """The compiler refused, or the program did not end well; the message is one line."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Programs of the cache: the root that Debian's packages were unpacked to, and QEMU."""

    root: Path
    qemu: Path

    def compile(self, sources: Sequence[Path], cpu: str, program: Path, optimised: str = "-O2") -> None:
        """`program` is made of the C sources, warnings being errors. Raises DidNotRun."""
        newlib = self.root / "usr" / "lib" / "arm-none-eabi" / "newlib"
        words = [str(self.root / "usr" / "bin" / "arm-none-eabi-gcc"), *CPUS[cpu], "-mthumb", optimised, *STRICT]
        words += ["-isystem", str(self.root / "usr" / "include" / "newlib"), f"--specs={newlib / 'rdimon.specs'}"]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(self.root / "usr" / "lib" / f"{platform.machine()}-linux-gnu")}
        found = run([*words, "-print-multi-directory"], environment).strip()
        run([*words, f"-B{newlib / found}", f"-L{newlib / found}", *map(str, sources), "-o", str(program)], environment)

    def run(self, program: Path, cpu: str) -> str:
        """What the program printed on that processor. Raises DidNotRun."""
        return run([str(self.qemu), "-cpu", cpu, str(program)], dict(os.environ))


def set_up(cache: Path) -> Toolchain:
    """The toolchain, fetched on the first call, found on later ones. Raises CannotSetUp."""
    require_machine()
    with alone(cache):
        qemu = qemu_in(cache, "qemu-arm")
        root = made(cache / "gcc", " ".join((SUITE, *PACKAGES)), _gcc)
    return Toolchain(root, qemu)


def run(words: Sequence[str], environment: dict[str, str]) -> str:
    """Standard output of a program that ends with 0. Raises DidNotRun with its last words."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise DidNotRun(f"{Path(words[0]).name} did not end within {LIMIT:.0f} s") from None
    except OSError as error:
        raise DidNotRun(f"{Path(words[0]).name} did not start: {error.strerror}; remove the cache and run it again") from error
    if done.returncode:
        told = [line.strip() for line in done.stderr.splitlines() if "error" in line] or done.stderr.split("\n")
        raise DidNotRun(f"{Path(words[0]).name} ended with {done.returncode}: {told[0] or 'it said nothing'}")
    return done.stdout


def _gcc(folder: Path) -> None:
    """The compiler with the libraries that it needs, but for the C library: the machine's own does, and must come first."""
    archives = debian.fetch(PACKAGES, own_architecture(), SUITE, folder / "apt")
    debian.unpack([path for path in archives if not path.name.startswith("libc6_")], folder)
    shutil.rmtree(folder / "apt")
    for multilib in (folder / "usr" / "lib" / "gcc" / "arm-none-eabi").glob("*/*"):
        if multilib.name in ("arm", "plugin"):  # of processors that are not emulated here
            shutil.rmtree(multilib)
    for unused in ("usr/lib/arm-none-eabi/newlib/arm", "usr/share"):
        shutil.rmtree(folder / unused, ignore_errors=True)
