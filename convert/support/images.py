"""Images of a command's sources, decoded while a bar shows how many are done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calibration.samples import SampleSet, count, left_out, load, samples
from convert.support.progress import Progress
from tflite_runtime_app.bundle.manifest import Preprocessing


def load_images(sources: Sequence[Path], preprocessing: Preprocessing, progress: Progress) -> SampleSet:
    """What `load` gives for all images of the sources; how many are of other kinds, broken, or equal to others is told.

    Raises FileNotFoundError naming a source that does not exist, ArchiveError for a damaged one.
    """
    tell_left_out(sources, progress)
    found = load(progress.over(samples(sources), count(sources), "images decoded"), preprocessing)
    if found.skipped:
        progress.step(f"{len(found.skipped)} broken images left out, the first: {found.skipped[0]}")
    distinct = len(found.distinct())
    if distinct < len(found):
        progress.step(f"{len(found)} images, of which {distinct} distinct")
    return found


def tell_left_out(sources: Sequence[Path], progress: Progress) -> None:
    """How many images of the sources are of kinds that are not read here is told, with what to do."""
    if left := left_out(sources):
        progress.step(left)
