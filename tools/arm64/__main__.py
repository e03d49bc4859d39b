"""Shows the board's half on emulated Arm processors: sets the emulation up where it is not yet, runs, prints a table of claims.

Ends with 0 when every claim holds, 1 when one does not, 2 for a wrong command line, 3 when the emulation cannot be set up here.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tflite_runtime_app.files import cache_folder
from tools.arm64 import claims, table
from tools.arm64.claims import Claim
from tools.arm64.commands import CannotSetUp
from tools.arm64.emulator import BOOKWORM, TRIXIE, set_up
from tools.arm64.runs import ROOT, DidNotRun, Machine, Run, classify, dot_products, host, probe

PHOTOGRAPHS = ROOT / "models" / "photographs"
FAILED, CANNOT = 1, 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How many images: `many` on the host and one processor, for decisions, `few` wherever else, `exact` by the reference kernels and
    on the `threads` asked for. `everywhere`: every processor with both Pythons by both kernels, else those that differ most."""

    many: int
    few: int
    exact: int
    threads: tuple[int, ...]
    everywhere: bool


LONG, SHORT = Plan(207, 18, 3, (2, 4), True), Plan(6, 2, 1, (4,), False)


@dataclass(frozen=True, slots=True)
class Bench:
    """What is run on what."""

    bundle: Path
    images: Path
    host: Machine
    bookworm: dict[str, Machine]
    trixie: dict[str, Machine]

    def run(self, machine: Machine, count: int, kernels: str = "xnnpack", threads: int = 1, untried: bool = False) -> Run:
        run = probe(machine, self.bundle, self.images, count, kernels, threads, untried)
        told = f"{run.machine}, Python {run.versions['python']}, {kernels}, {run.threads} threads, {len(run.seen)} images"
        print(f"arm64: {told}: {run.wall:.0f} s", file=sys.stderr, flush=True)
        return run


def measure(bench: Bench, plan: Plan) -> tuple[list[Claim], list[Run]]:
    """The claims and the runs they rest on. Raises DidNotRun."""
    arm = list(bench.bookworm.values())
    a53, a72, a76 = bench.bookworm["cortex-a53"], bench.bookworm["cortex-a72"], bench.trixie["cortex-a76"]
    here = [bench.run(bench.host, plan.many), *(bench.run(bench.host, plan.few, threads=threads) for threads in (1, 2, 4))]
    there = [bench.run(a72, plan.many)]
    there += [bench.run(machine, plan.few) for machine in (*arm, *(bench.trixie.values() if plan.everywhere else [a76]))]
    asked = [bench.run(machine, plan.exact, threads=threads) for machine in arm for threads in plan.threads]
    untried = {machine: bench.run(machine, plan.exact, threads=2, untried=True) for machine in (a72, a76)}
    exact = [bench.run(machine, plan.exact, "reference") for machine in (bench.host, *(arm if plan.everywhere else [a53]), a76)]
    counts = {
        machine.name: dot_products(machine, bench.bundle, bench.images)
        for machine in (arm if plan.everywhere else [a53, bench.bookworm["cortex-a76"]])
    }
    photograph = PHOTOGRAPHS / "cat.jpg"
    wanted = classify(bench.host, bench.bundle, photograph)
    suites = (("Bookworm", a53), ("Trixie", a76)) if plan.everywhere else (("Trixie", a76),)
    answers = {f"{machine.name}, {suite}": classify(machine, bench.bundle, photograph) for suite, machine in suites}
    runs = [*here, *there, *asked, *untried.values(), *exact]
    found = [
        claims.equal("images become the same image tensor everywhere", runs, "tensor"),
        claims.equal("x86-64 under XNNPACK: the same outputs in another run and on 1, 2 and 4 threads", here, "outputs"),
        claims.equal("the three processors and both Pythons under XNNPACK: the same outputs", there, "outputs"),
        claims.equal("and on the threads that the application takes when it is asked for more", [there[0], *asked], "outputs"),
        *(
            claims.shown(f"{machine.name} on 2 threads without trying them first", [there[0], run], "outputs")
            for machine, run in untried.items()
        ),
        claims.equal("Arm under the reference kernels: x86-64's outputs", exact, "outputs"),
        claims.decisions(here[0], there[0]),
        claims.dotted(counts),
        claims.answered(wanted, answers),
    ]
    return found, runs


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.arm64", description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="the .tflite that convert build wrote")
    parser.add_argument("--short", action="store_true", help=f"{SHORT.many} images instead of {LONG.many}: minutes less")
    parser.add_argument("--images", type=Path, default=PHOTOGRAPHS, help="folder of images; when they run out, parts of them")
    parser.add_argument("--cache", type=Path, default=cache_folder("arm64"), help="where the emulation lies; 350 MB")
    arguments = parser.parse_args(words)
    for path, there in ((arguments.bundle, arguments.bundle.is_file()), (arguments.images, arguments.images.is_dir())):
        if not there:
            parser.error(f"expected {path}, found none; make demo builds the bundle, --images takes a folder")
    start = time.monotonic()
    cache = arguments.cache.resolve()
    try:
        bookworm, trixie = (
            {cpu: Machine(cpu, launcher, cache) for cpu, launcher in set_up(system, cache).items()}
            for system in (BOOKWORM, TRIXIE)
        )
        print(f"arm64: the emulation is ready, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        bench = Bench(arguments.bundle.resolve(), arguments.images.resolve(), host(cache), bookworm, trixie)
        found, runs = measure(bench, SHORT if arguments.short else LONG)
    except CannotSetUp as error:
        print(f"arm64: cannot be set up here: {error}", file=sys.stderr)
        return CANNOT
    except DidNotRun as error:
        print(f"arm64: did not pass: {error}", file=sys.stderr)
        return FAILED
    print(f"{table.of_claims(found)}\n\n{table.of_runs(runs)}\n\n{(time.monotonic() - start) / 60:.1f} minutes")
    return 0 if all(claim.holds for claim in found) else FAILED


if __name__ == "__main__":
    sys.exit(main())
