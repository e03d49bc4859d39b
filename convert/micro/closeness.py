"""Closeness to float: of what a microcontroller's stages give, and what it costs that TensorFlow Lite Micro has no GELU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.emit.manifest import cascade_of
from convert.micro.agreement import StageRun
from convert.passes import gelu_form
from tflite_runtime_app.bundle.labels import unit
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.exits.replay import replay
from tflite_runtime_app.inference.affine import dequantize


def gelu_cost(
    flatbuffer: bytes, manifest: Manifest, images: NDArray[np.int8], exact: NDArray[np.float32]
) -> dict[str, Any] | None:
    """Mean cosine of every stage's embedding with float over `images`: the same file with the operator and with its other form.

    `exact` [n, E] are float's embeddings. None for a model without exact GELU.
    """
    operator = gelu_form.undone(flatbuffer)
    if operator is None:
        return None
    files = {"operator_cosines": operator, "form_cosines": flatbuffer}
    found = {name: replay(cascade_of(file, manifest), images).embeddings for name, file in files.items()}
    cosines = {name: mean_cosines(embeddings, exact) for name, embeddings in found.items()}
    return {"form": gelu_form.CHOSEN, "images": len(images), **cosines}


def stage_cosines(runs: Sequence[StageRun], manifest: Manifest, exact: NDArray[np.float32]) -> list[float]:
    """Mean cosine with float of the embeddings that each stage gave on the images."""
    specs = [next(tensor for tensor in stage.outputs if tensor.name == "embedding") for stage in manifest.stages]
    found = [dequantize(run.outputs["embedding"], spec) for run, spec in zip(runs, specs, strict=True)]
    return mean_cosines(np.stack(found, 1), exact)


def mean_cosines(found: NDArray[np.float32], exact: NDArray[np.float32]) -> list[float]:
    """Of embeddings [n, stages, E] with float's [n, E], for every stage."""
    return [float(value) for value in (unit(found) * unit(exact)[:, None]).sum(-1).mean(0)]
