"""Shows that the microcontroller's C equals Python's reference on emulated Cortex-M: sets the emulation up where it is not yet, and runs.

Ends with 0 when every claim holds, 1 when one does not, 2 for a wrong command line, 3 when the emulation cannot be set up here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from convert.micro.constants import numbers_of
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.files import cache_folder
from tools.arm64.commands import CannotSetUp
from tools.cortex_m.playback import Case, different, expected, random_case, with_edges, write
from tools.cortex_m.toolchain import CPUS, DidNotRun, Toolchain, set_up

FAILED, CANNOT = 1, 3
IMAGES = 200
OPTIMISED = ("-O0", "-O2", "-Os")


def cases(bundle: Path) -> list[Case]:
    """The bundle's own numbers on what it remembers of its calibration images, and random ones. Raises AppError or ValueError."""
    found = read_bundle(bundle)
    if found.labels is None or found.remembered is None or len(found.remembered.embeddings) < IMAGES:
        raise ValueError(f"{bundle}: expected labels and {IMAGES} remembered images; build it with more --images")
    numbers = numbers_of(found.flatbuffer, found.manifest, found.labels)
    memory = found.remembered
    own = Case(
        f"{found.manifest.name}: {len(numbers.names)} labels", numbers, memory.embeddings[:IMAGES], memory.variances[:IMAGES]
    )
    return [with_edges(own), with_edges(random_case(1, 7, 24, 100)), with_edges(random_case(2, 1, 9, 20))]


def prove(toolchain: Toolchain, case: Case, folder: Path) -> list[tuple[str, str, int]]:
    """(processor, optimisation, how many images differ) for every way the program is compiled. Raises DidNotRun."""
    sources, wanted, found = write(case, folder), expected(case), []
    for cpu in CPUS:
        for optimised in OPTIMISED:
            program = folder / f"{cpu}{optimised}.elf"
            toolchain.compile(sources, cpu, program, optimised)
            found.append((cpu, optimised, len(different(wanted, toolchain.run(program, cpu)))))
    return found


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.cortex_m", description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="the .tflite that convert build wrote, for any board")
    parser.add_argument("--cache", type=Path, default=cache_folder("cortex_m"), help="where compiler and emulator lie")
    arguments = parser.parse_args(words)
    if not arguments.bundle.is_file():
        parser.error(f"expected {arguments.bundle}, found none; make demo builds it")
    start, failed = time.monotonic(), 0
    try:
        given = cases(arguments.bundle.resolve())
    except (AppError, ValueError) as error:
        parser.error(str(error))
    try:
        toolchain = set_up(arguments.cache.resolve())
        print(f"cortex-m: the emulation is ready, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        print("| numbers | images | processor | compiled | equal to Python's, to the bit |\n| --- | --- | --- | --- | --- |")
        for case in given:
            with tempfile.TemporaryDirectory() as name:
                for cpu, optimised, wrong in prove(toolchain, case, Path(name)):
                    count = len(case.embeddings)
                    told = f"{count - wrong} of {count}" + ("" if not wrong else " (**no**)")
                    print(f"| {case.name} | {count} | {cpu} | {optimised} | {told} |", flush=True)
                    failed += wrong
    except CannotSetUp as error:
        print(f"cortex-m: cannot be set up here: {error}", file=sys.stderr)
        return CANNOT
    except DidNotRun as error:
        print(f"cortex-m: did not pass: {error}", file=sys.stderr)
        return FAILED
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(main())
