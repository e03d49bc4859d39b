"""Counts the instructions of one image where nothing can be timed: on AVX2 alone, and on emulated Arm; prints tables.

Ends with 0, or with 1 when a run fails, 2 for a wrong command line, 3 when a processor cannot be set up here.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from convert.bench.float_files import KINDS, float_path
from convert.bench.floor import floor_file
from convert.bench.full_network import full_products
from convert.bench.products import stage_products
from convert.support.errors import ConvertError
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.files import cache_folder
from tools.arm64.commands import CannotSetUp
from tools.arm64.runs import DidNotRun, output
from tools.instructions import counts, table
from tools.instructions.counts import Cost
from tools.instructions.processors import NAMES, Processor, processors

FAILED, CANNOT = 1, 3
FEW, MANY = 1, 3  # images; the first allocates, so that it is in both runs


# What else differs from run to run: the seed of Python's hashes, and threads of numpy's that wait for work.
STILL: Mapping[str, str] = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}


def contents(bundle: Path) -> dict[str, bytes]:
    """The flatbuffers that are run: the bundle's, its floor's, and those kept beside it. Raises AppError, ConvertError or OSError."""
    found = read_bundle(bundle)
    floor = floor_file(full_products(stage_products(found.flatbuffer), found.manifest.stages))
    kept = [float_path(bundle, kind).read_bytes() for kind in table.KEPT]
    return dict(zip(table.FILES, (found.flatbuffer, floor, *kept), strict=True))


def counted(processor: Processor, file: Path, images: int) -> Counter[str]:
    """Instructions by function of a program that starts, loads the file and runs so many images through it. Raises DidNotRun."""
    with tempfile.TemporaryDirectory(prefix="clip-rescue-") as folder:
        left = Path(folder) / "counts"
        told = output(processor.machine, ["tools.instructions.work", str(file), str(images)], {**STILL, "COUNTS": str(left)})
        return processor.read(left.read_text("utf-8", errors="replace"), json.loads(told)["start"])


def costs(processor: Processor, files: Mapping[str, bytes]) -> dict[str, Cost]:
    """Of one image through each file. Raises DidNotRun."""
    found: dict[str, Cost] = {}
    name = processor.machine.name
    for kind, content in files.items():
        with tempfile.TemporaryDirectory(prefix="clip-rescue-") as folder:
            file = Path(folder) / "work.tflite"
            file.write_bytes(content)
            if not found:
                counted(processor, file, 0)  # the very first run may find Python's modules not yet compiled
            few, many = (counted(processor, file, images) for images in (FEW, MANY))
        try:
            found[kind] = counts.an_image(few, many, MANY - FEW)
        except ValueError as error:
            raise DidNotRun(f"{kind} on {name}: {error}") from None
        print(f"instructions: {name}, {kind}: {found[kind].millions:.1f} million", file=sys.stderr, flush=True)
    return found


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.instructions", description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="the .tflite that convert build --keep-float wrote")
    parser.add_argument("--on", default=",".join(NAMES), help="processors, separated by commas: %(default)s")
    parser.add_argument("--cache", type=Path, default=cache_folder("arm64"), help="where the emulation lies, that of tools.arm64")
    arguments = parser.parse_args(words)
    names = tuple(dict.fromkeys(arguments.on.split(",")))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"--on {unknown[0]!r} is none of {', '.join(NAMES)}")
    for path in (arguments.bundle, *(float_path(arguments.bundle, kind) for kind in KINDS)):
        if not path.is_file():
            parser.error(f"expected {path}, found none; make it with: convert build --keep-float --out {arguments.bundle}")
    try:
        files = contents(arguments.bundle)
        found = {one.machine.name: costs(one, files) for one in processors(names, arguments.cache.resolve())}
    except (AppError, ConvertError) as error:
        parser.error(str(error))
    except CannotSetUp as error:
        print(f"instructions: cannot be set up here: {error}", file=sys.stderr)
        return CANNOT
    except DidNotRun as error:
        print(f"instructions: did not pass: {error}", file=sys.stderr)
        return FAILED
    print(f"{table.of_counts(found)}\n\n{table.of_kernels(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
