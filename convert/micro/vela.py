"""Vela, Arm's compiler for Ethos-U, in a process of its own: what it leaves to the CPU, and the cycles and memory that it estimates."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from convert.support.errors import ConvertError, UsageError
from convert.support.processes import why_ended
from convert.tflite.flatbuffer import operator_name, read_model

CONFIGURATION = "Arm/vela.ini"  # in Vela's own package
REMEDY = "install it with: pip install -c constraints.txt '.[mcu]'"


@dataclass(frozen=True, slots=True)
class VelaFigures:
    """Vela's estimates for one image: not measured on a part. `clock_mhz` is that of the system it compiled for.

    `sram_bytes` are for activations, `flash_bytes` for compressed weights and commands.
    """

    cpu_operators: int
    cycles: int
    clock_mhz: float
    ms: float
    sram_bytes: int
    flash_bytes: int
    macs: int

    def ms_at(self, clock_mhz: float) -> float:
        """Milliseconds for the cycles at another clock; slower memory beside the faster core is as Vela assumed it."""
        return self.cycles / (clock_mhz * 1000)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The file for TensorFlow Lite Micro with the Ethos-U operator, and what Vela says of it."""

    content: bytes
    figures: VelaFigures


def require_installed() -> None:
    """Returns when Vela is here. Raises UsageError with the remedy."""
    if importlib.util.find_spec("ethosu") is None:
        raise UsageError(f"expected ethos-u-vela, which targets with an Ethos-U need, found none; {REMEDY}")


def compile_stage(content: bytes, wanted: str) -> Compiled:
    """`content` compiled for `wanted`: accelerator, system and memory mode, by Vela's names. Raises ConvertError with Vela's last words."""
    require_installed()
    accelerator, system, memory = wanted.split()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stage.tflite").write_bytes(content)
        words = ["--accelerator-config", accelerator, "--config", CONFIGURATION, "--system-config", system]
        words += ["--memory-mode", memory, "--output-dir", str(folder / "out"), str(folder / "stage.tflite")]
        done = subprocess.run(
            [sys.executable, "-m", "ethosu.vela", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        told = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        summaries = sorted((folder / "out").glob("*_summary_*.csv"))
        compiled = folder / "out" / "stage_vela.tflite"
        if done.returncode or len(summaries) != 1 or not compiled.is_file():
            raise ConvertError(f"Vela does not compile the stage for {wanted}: {why_ended(done.returncode, chr(10).join(told))}")
        with summaries[0].open(newline="") as file:
            (row,) = csv.DictReader(file)
        result = compiled.read_bytes()
        return Compiled(result, _figures(row, left_to_cpu(result)))


def left_to_cpu(content: bytes) -> int:
    """How many operators Vela left as they were; all that it took are one custom operator."""
    model = read_model(content)
    return sum(operator_name(model, operator) != "CUSTOM" for graph in model.subgraphs for operator in graph.operators)


def _figures(row: dict[str, str], cpu_operators: int) -> VelaFigures:
    cycles, seconds = float(row["cycles_total"]), float(row["inference_time"])
    return VelaFigures(
        cpu_operators=cpu_operators,
        cycles=round(cycles),
        clock_mhz=cycles / seconds / 1e6,
        ms=1000 * seconds,
        sram_bytes=round(1024 * float(row["sram_memory_used"])),
        flash_bytes=round(1024 * float(row["off_chip_flash_memory_used"])),
        macs=round(float(row["nn_macs"])),
    )
