"""Images of a command's sources, decoded while a bar shows how many are done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calibration.samples import SampleSet, count, load, samples
from convert.support.progress import Progress
from tflite_runtime_app.bundle.manifest import Preprocessing


def load_images(sources: Sequence[Path], preprocessing: Preprocessing, progress: Progress) -> SampleSet:
    """What `load` gives for all images of the sources. Raises FileNotFoundError naming a source that does not exist."""
    return load(progress.over(samples(sources), count(sources), "images decoded"), preprocessing)
