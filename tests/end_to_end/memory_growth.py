"""How far a process that has imported what the board imports grows when it reads a bundle and runs it: in multiples of the file.

Run as a program it measures itself and prints the figures as JSON.
"""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.clone import ROOT


@dataclass(frozen=True)
class Growth:
    """Peak resident memory over the imports' own, divided by the file's size: once the bundle is read, and once it ran."""

    reading: float
    running: float


def measure_growth(path: Path) -> Growth:
    """Measured in a process of its own, on one thread."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.end_to_end.memory_growth", str(path)]
    return Growth(**json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout))


def _peak() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _measure(path: Path) -> Growth:
    import ai_edge_litert.interpreter  # noqa: F401
    import numpy as np
    import PIL.Image  # noqa: F401

    import tflite_runtime_app.commands.run  # noqa: F401
    from tflite_runtime_app.bundle.file import read_bundle
    from tflite_runtime_app.inference.cascade import load_cascade
    from tflite_runtime_app.policies import Never

    size, before = path.stat().st_size, _peak()
    bundle = read_bundle(path)
    assert bundle.labels is not None
    reading = (_peak() - before) / size
    cascade = load_cascade(bundle, 1, policy=Never())
    image = np.zeros(bundle.manifest.stages[0].inputs[0].shape, np.int8)
    for _ in range(2):
        cascade.run(image, bundle.labels)
    return Growth(reading, (_peak() - before) / size)


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(_measure(Path(sys.argv[1])))))
