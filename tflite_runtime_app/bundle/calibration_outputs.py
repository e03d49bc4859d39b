"""What a bundle remembers of the images it was calibrated on: the stages' own outputs, a few hundred images of a kilobyte each.

Confidence depends on the labels. With these, exits are fitted for any list of labels in a moment, without an image and without the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.manifest import Manifest, TensorSpec
from tflite_runtime_app.bundle.npz import npz_bytes, read_npz
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible

MOST_IMAGES = 4096  # exits are fitted on them while somebody waits; builds keep a few hundred


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """int8 codes of n images at full depth: `embeddings` [n, stages, E], `variances` [n, exits]."""

    embeddings: npt.NDArray[np.int8]
    variances: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.embeddings)


def to_bytes(memory: Remembered) -> bytes:
    """As an npz file; the same images give the same bytes on every run."""
    return npz_bytes({"embeddings": memory.embeddings, "variances": memory.variances}, packed=True)


def from_bytes(content: bytes, manifest: Manifest) -> Remembered:
    """What `to_bytes` wrote, for a bundle of that manifest. Raises BundleIncompatible for anything else."""
    try:
        arrays = read_npz(content, ("embeddings", "variances"))
    except ValueError as error:
        raise BundleIncompatible(f"remembered.npz cannot be read ({' '.join(str(error).split())}); {BUILD_AGAIN}") from error
    embeddings, variances = arrays["embeddings"], arrays["variances"]
    stages, exits = len(manifest.stages), sum(1 for _ in output_specs(manifest, "variance"))
    shapes = (len(embeddings), stages, manifest.embedding_size), (len(embeddings), exits)
    if len(embeddings) > MOST_IMAGES:
        raise BundleIncompatible(f"remembered.npz holds {len(embeddings)} images, {MOST_IMAGES} at most are read; {BUILD_AGAIN}")
    if (embeddings.shape, variances.shape) != shapes or {embeddings.dtype, variances.dtype} != {np.dtype(np.int8)}:
        raise BundleIncompatible(
            f"remembered.npz should be int8 {shapes}, is {embeddings.shape} and {variances.shape}; {BUILD_AGAIN}"
        )
    return Remembered(embeddings, variances)


def output_specs(manifest: Manifest, name: str) -> list[TensorSpec]:
    """The output of that name of every stage that has one."""
    return [tensor for stage in manifest.stages for tensor in stage.outputs if tensor.name == name]
