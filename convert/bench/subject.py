"""The one interface of peers: what they are made from, and what they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.samples import pixels
from convert.model.load import ClipModel
from tflite_runtime_app.bundle.manifest import Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """The bundle under test, its model, and images: int8 [n, H, W, 3]; `folder` takes files that a peer writes on its way."""

    file: Path
    manifest: Manifest
    model: ClipModel
    images: NDArray[np.int8]
    threads: int
    folder: Path

    def normalised(self) -> NDArray[np.float32]:
        """The images as open_clip's tower takes them: float32 [n, 3, H, W], mean and deviation taken out."""
        mean, deviation = (np.array(values, np.float32) for values in (self.model.mean, self.model.deviation))
        return np.ascontiguousarray(((pixels(self.images) - mean) / deviation).transpose(0, 3, 1, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Peer:
    """The same network in another form. `inputs` holds each image as `embed` takes it: making it so is not timed."""

    what: str
    size: int
    inputs: tuple[Any, ...]
    embed: Callable[[Any], NDArray[np.float32]]
