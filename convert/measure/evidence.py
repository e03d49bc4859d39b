"""What a finished build is worth, on images that nothing was fitted to: parity with open_clip, noise per block, what leaving early does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.samples import SampleSet
from convert.calibrate.exits import Splits
from convert.emit.finished import Finished
from convert.emit.graph import Graph
from convert.emit.manifest import cascade_of
from convert.measure import curves, noise, parity
from convert.measure.study import ExitStudy, study
from convert.request import Request
from convert.stages.float_replay import float_replay
from convert.support.progress import Progress
from tflite_runtime_app.exits.refit import offsets_of
from tflite_runtime_app.exits.replay import answers, observe, replay

OF_IMAGES = (
    "left",
    "rescued",
    "harmed",
    "classes",
)  # of a study, what is about single images and classes: a report leaves it out


@dataclass(frozen=True, slots=True)
class Evidence:
    """The figures of a build; None where there was nothing to measure on, or no exit was fitted now."""

    parity: parity.Parity | None = None
    noise: noise.Noise | None = None
    study: ExitStudy | None = None
    policies: tuple[curves.Row, ...] = ()  # every family's, chosen where the build's was

    @property
    def leaving(self) -> dict[str, Any]:
        """What leaving early does, as plain data for a report; empty where that was not studied."""
        if self.study is None:
            return {}
        brief = {name: value for name, value in self.study.to_dict().items() if name not in OF_IMAGES}
        return {**brief, "policies": [dataclasses.asdict(row) for row in self.policies]}


def measure_build(
    request: Request,
    graph: Graph,
    finished: Finished,
    images: SampleSet | None,
    splits: Splits | None,
    progress: Progress,
) -> Evidence:
    """The evidence on these images; `splits` are what the exits were fitted to, None where they came from a file."""
    if images is None:
        return Evidence()
    flatbuffer, manifest, bank = finished.flatbuffer, finished.usable, finished.bank
    floats = float_replay(graph.stages, images.images, progress)
    reference = parity.reference_of(request.model, images.images, floats.embeddings[:, -1], progress)
    labels = request.labels.indices(images.folders)
    cascade = cascade_of(flatbuffer, manifest)
    found = replay(cascade, progress.over(images.images, len(images), "integer file"))
    measured = parity.compare(found, cascade, manifest, bank, reference, labels)
    some = images.images[: noise.noise_images(graph.stages)]
    noisy = noise.measure(
        flatbuffer,
        graph.stages,
        finished.integer.by_name,
        finished.integer.grids,
        progress.over(some, len(some), "noise per block"),
    )
    if splits is None or not manifest.gates:
        return Evidence(measured, noisy)
    wanted = None if labels is None else np.array(labels, np.int64)
    studied = study(found, floats, wanted, cascade, manifest, bank)
    seen = observe(answers(found, bank, manifest.logit_scale), cascade, manifest, len(bank.names), wanted)
    rows = curves.compared(seen, splits.learned, splits.held, offsets_of(manifest), studied.ms, request.aim)
    return Evidence(measured, noisy, studied, tuple(rows))
