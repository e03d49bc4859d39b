"""Runs a file's stages, or a floor's one signature, so many times on one thread, and says where LiteRT's code lies in memory.

It runs on emulated processors too, with what a board has.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tflite_runtime_app.inference.engine import LiteRtEngine, TensorFacts

LIBRARY = "libpywrap_litert_common.so"


def in_order(signatures: Iterable[str]) -> list[str]:
    """stage_0, stage_1, …, or the floor's; gates are left out."""
    stages = [name for name in signatures if not name.startswith("gate_")]
    return sorted(stages, key=lambda name: int(name.rpartition("_")[2]) if "_" in name else 0)


def images(count: int, file: Path) -> None:
    """`count` images went through all stages, each stage with what the one before it put out."""
    engine = LiteRtEngine(file.read_bytes())
    stages = in_order(engine.signatures)
    random = np.random.default_rng(0)
    first = {name: drawn(random, tensor) for name, tensor in engine.signatures[stages[0]].inputs.items()}
    for _ in range(count):
        available = first
        for stage in stages:
            available = engine.invoke(stage, {name: available[name] for name in engine.signatures[stage].inputs})


def drawn(random: np.random.Generator, tensor: TensorFacts) -> np.ndarray:  # type: ignore[type-arg]
    """int8 codes of the whole range, or float32 pixels of 0 to 1."""
    return (
        random.random(tensor.shape, np.float32)
        if tensor.dtype == "float32"
        else random.integers(-128, 128, tensor.shape, np.int8)
    )


def library_start(maps: str) -> int:
    """The address of LiteRT's first byte in /proc/self/maps; 0 where it is not there."""
    return min((int(line.partition("-")[0], 16) for line in maps.splitlines() if line.endswith(LIBRARY)), default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    images(arguments.count, arguments.file)
    print(json.dumps({"start": library_start(Path("/proc/self/maps").read_text("utf-8"))}))


if __name__ == "__main__":
    main()
