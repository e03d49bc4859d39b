"""Runs of the probe and of the application, on the host and under emulation, one after another."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.arm64.probe import Seen

ROOT = Path(__file__).resolve().parents[2]
HOST = "x86-64"
LIMIT = 3600.0  # seconds; far beyond any run here: a hang must end all the same
DOT = re.compile(r"\bsdot\b")


class DidNotRun(Exception):
    """A program that should answer did not; the message is one line."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A Python to start: this one for HOST, else an emulated processor's launcher. `cache` takes what it compiles."""

    name: str
    python: Path
    cache: Path


@dataclass(frozen=True, slots=True)
class Run:
    """What one machine made of the images: `asked` for so many threads, `threads` taken; `wall` is in seconds, start included."""

    machine: str
    kernels: str
    asked: int
    threads: int
    versions: Mapping[str, str]
    wall: float
    seen: tuple[Seen, ...]


def host(cache: Path) -> Machine:
    return Machine(HOST, Path(sys.executable), cache)


def probe(
    machine: Machine, bundle: Path, images: Path, count: int, kernels: str = "xnnpack", threads: int = 1, untried: bool = False
) -> Run:
    """The first `count` views of the images, on these kernels and on as many threads as the application takes when it is asked for
    `threads`, on just as many if `untried`. Raises DidNotRun."""
    options = ["--count", str(count), "--kernels", kernels, "--threads", str(threads), *(["--untried"] if untried else [])]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:  # nothing is remembered there, so threads are tried
        words = ["tools.arm64.probe", str(bundle), str(images), *options]
        found = json.loads(output(machine, words, {"XDG_CACHE_HOME": folder}))
    seen = tuple(Seen(**{**one, "scores": tuple(one["scores"])}) for one in found["seen"])
    return Run(machine.name, kernels, threads, found["threads"], found["versions"], time.monotonic() - start, seen)


def dot_products(machine: Machine, bundle: Path, images: Path) -> int:
    """How many `sdot` instructions are in the code that one image made QEMU translate. Raises DidNotRun."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "in_asm"
        words = ["tools.arm64.probe", str(bundle), str(images), "--count", "1"]
        output(machine, words, {"QEMU_LOG": "in_asm", "QEMU_LOG_FILENAME": str(log)})
        with log.open(encoding="ascii", errors="replace") as lines:
            return sum(1 for line in lines if DOT.search(line))


def classify(machine: Machine, bundle: Path, image: Path) -> tuple[str, int]:
    """Label and exit that the program `classify` answers, the trial of the model in its child process included. Raises DidNotRun."""
    with tempfile.TemporaryDirectory() as folder:  # nothing is remembered there, so the model is tried
        words = ["tflite_runtime_app", str(bundle), str(image), "--json"]
        answer = json.loads(output(machine, words, {"XDG_CACHE_HOME": folder}))
    if "error" in answer:
        raise DidNotRun(f"classify on {machine.name}: {answer['error']}")
    return answer["top"][0]["label"], answer["exit"]


def output(machine: Machine, module: Sequence[str], more: Mapping[str, str] | None = None) -> str:
    """What a module of this repository, run with its arguments and `more` in its environment, writes. Raises DidNotRun."""
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "PATH", "TMPDIR")}
    compiled = {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(machine.cache / "compiled"), "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(
            [str(machine.python), "-P", "-m", *module],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**kept, **compiled, **(more or {})},
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DidNotRun(f"{module[0]} on {machine.name} did not end within {LIMIT:.0f} s") from None
    if done.returncode:
        told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise DidNotRun(f"{module[0]} on {machine.name} ended with {done.returncode}: {told[-1] if told else 'it said nothing'}")
    return done.stdout
