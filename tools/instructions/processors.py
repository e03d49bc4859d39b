"""The processors that instructions are counted on, each a launcher that is started as Python is and leaves its counts in the file $COUNTS.

AVX2 alone is Valgrind, which has neither AVX-512 nor VNNI. The Arm processors are QEMU's user mode with a plugin that counts. The QEMU
that `tools/arm64` fetches takes no plugins; Bookworm's does, but shows programs the host's /proc/cpuinfo, on which LiteRT crashes: it gets
the one that the other shows.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.arm64 import debian
from tools.arm64.commands import CannotSetUp, call
from tools.arm64.emulator import BOOKWORM, CPUS, alone, made, own_architecture, require_machine, set_up
from tools.arm64.runs import Machine
from tools.instructions import counts
from tools.instructions.work import LIBRARY

AVX2 = "avx2"
NAMES = (AVX2, *CPUS)
COUNTER = Path(__file__).with_name("count.c")
VALGRIND = """#!/bin/sh
exec '{valgrind}' --tool=cachegrind --cache-sim=no --cachegrind-out-file="$COUNTS" '{python}' "$@"
"""
EMULATED = """#!/bin/sh
export PYTHONHOME='{root}/usr' PYTHONPATH='{site}'"${{PYTHONPATH:+:$PYTHONPATH}}"
exec '{qemu}/lib64/ld-linux-x86-64.so.2' --library-path '{qemu}/usr/lib/x86_64-linux-gnu' '{qemu}/usr/bin/qemu-aarch64' \\
    -plugin '{plugin}',out="$COUNTS" -L '{seen}' -cpu {cpu} '{root}/usr/bin/python{python}' "$@"
"""


@dataclass(frozen=True, slots=True)
class Processor:
    """How to start Python on it, and how the text that it leaves is read, given the address at which LiteRT begins."""

    machine: Machine
    read: Callable[[str, int], Counter[str]]


def processors(names: tuple[str, ...], cache: Path) -> list[Processor]:
    """Ready to run; what is fetched and compiled lies in `cache`. Raises CannotSetUp."""
    emulated = [name for name in names if name != AVX2]
    found = [_avx2(cache)] if AVX2 in names else []
    return [*found, *(_arm(emulated, cache) if emulated else [])]


def _avx2(cache: Path) -> Processor:
    require_machine()
    cache.mkdir(parents=True, exist_ok=True)
    launcher = _written(cache / "python-avx2", VALGRIND.format(valgrind=_program("valgrind"), python=sys.executable))
    return Processor(Machine(AVX2, launcher, cache), lambda text, start: counts.of_cachegrind(text))


def _arm(names: list[str], cache: Path) -> list[Processor]:
    compiler = _program("gcc")
    launchers = set_up(BOOKWORM, cache)
    root, site = (cache / BOOKWORM.suite / part for part in ("root", "site"))
    symbols = counts.of_nm(call(_program("nm"), "--defined-only", site / "ai_edge_litert" / LIBRARY, remedy="install binutils"))
    with alone(cache):
        qemu = made(cache / "qemu-plugins", f"{BOOKWORM.suite} qemu-user", _qemu)
        source = COUNTER.read_text("utf-8")
        counter = made(cache / "counter", source, lambda folder: _compile(compiler, folder / "libcount.so")) / "libcount.so"
        found = []
        for cpu in names:
            show = partial(_seen, root=root, launcher=launchers[cpu])
            seen = made(cache / BOOKWORM.suite / f"seen-{cpu}", str(root), show)
            words = EMULATED.format(root=root, site=site, qemu=qemu, plugin=counter, seen=seen, cpu=cpu, python=BOOKWORM.python)
            launcher = _written(cache / BOOKWORM.suite / f"counting-{cpu}", words)
            machine = Machine(cpu, launcher, cache)
            found.append(Processor(machine, lambda text, start: counts.of_blocks(text, symbols, start)))
    return found


def _qemu(folder: Path) -> None:
    debian.unpack(debian.fetch(["qemu-user"], own_architecture(), BOOKWORM.suite, folder / "apt"), folder)
    shutil.rmtree(folder / "apt")


def _compile(compiler: str, library: Path) -> None:
    call(compiler, "-shared", "-fPIC", "-O2", "-o", library, COUNTER, remedy="install gcc with libc6-dev")


def _seen(folder: Path, root: Path, launcher: Path) -> None:
    """The system as a program is to see it: `root`, and the processor's /proc/cpuinfo."""
    for path in root.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "proc").mkdir()
    told = subprocess.run(
        [str(launcher), "-c", "print(open('/proc/cpuinfo').read())"], capture_output=True, text=True, check=False
    )
    if told.returncode:
        raise CannotSetUp(
            f"{launcher.name} cannot tell its processor ({told.returncode}); see whether python -m tools.arm64 runs"
        )
    (folder / "proc" / "cpuinfo").write_text(told.stdout)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise CannotSetUp(f"expected {name}, found none; install it: apt-get install {name if name != 'nm' else 'binutils'}")
    return found


def _written(launcher: Path, words: str) -> Path:
    launcher.write_text(words)
    launcher.chmod(0o755)
    return launcher
