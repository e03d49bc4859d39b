"""From the integer file to the manifest that describes it: every shape, scale and cost is read off the file itself."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

from calibration.gates import Gate
from calibration.stored import Stored
from convert.model.load import ClipModel
from convert.stages.stage import Stage
from convert.support.errors import EmitError
from convert.tflite.audit import grid_of
from convert.tflite.flatbuffer import read_model, signatures, text
from tflite_runtime_app import __version__
from tflite_runtime_app.bundle.manifest import Calibration, GateSpec, Manifest, PolicySpec, StageSpec, TensorSpec

TOOLS = ("torch", "open_clip_torch", "onnx", "onnx2tf", "tensorflow", "ai-edge-quantizer", "ai-edge-litert", "numpy", "Pillow")

Tensors = dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]  # inputs and outputs by signature


def describe(
    content: bytes, stages: Sequence[Stage], model: ClipModel, stored: Stored, target: str, limits: dict[str, float]
) -> Manifest:
    """The manifest of an integer file with its gates; digests are filled in when the bundle is written."""
    tensors = _tensors(content)
    stage_specs = tuple(
        StageSpec(
            signature=f"stage_{stage.part.index}",
            blocks_done=stage.part.blocks_done,
            macs=stage.macs(),
            head_macs=stage.tower.head_macs(stage.part.blocks_done),
            inputs=tensors[f"stage_{stage.part.index}"][0],
            outputs=tensors[f"stage_{stage.part.index}"][1],
        )
        for stage in stages
    )
    gates = tuple(
        _gate(f"gate_{k}", gate, threshold, tensors)
        for k, (gate, threshold) in enumerate(zip(stored.gates, stored.thresholds, strict=True))
    )
    return Manifest(
        name=model.name,
        target=target,
        weights_sha256=model.weights_sha256,
        space_id=model.space_id,
        preprocessing=model.preprocessing,
        embedding_size=stages[-1].tower.embedding_size,
        logit_scale=model.logit_scale,
        none_threshold=stored.none_threshold,
        stages=stage_specs,
        gates=gates,
        policy=PolicySpec(stored.policy, stored.parameters),
        calibration=Calibration(stored.digest, stored.images, stored.observer, stored.labels, stored.risk, stored.observers),
        flatbuffer_sha256="",
        stream=stored.stream,
        ladder=taken(stored),
        limits=limits,
        tools={
            "clip-rescue": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in TOOLS},
        },
    )


def taken(stored: Stored) -> tuple[str, ...]:
    """The steps that the file really went through: from too few pictures weights are not rounded and biases not corrected."""
    without = {name for name, found in (("rounding", stored.rounding), ("bias-correction", stored.corrections)) if not found}
    return tuple(step for step in stored.ladder if step not in without)


def undecided(stream: str) -> Stored:
    """A calibration that says nothing but the stream: for files that are measured and thrown away."""
    return Stored("", (), (), stream, "", 0, "", {}, {}, {}, (), (), -1.0, {})


def _tensors(content: bytes) -> Tensors:
    """Inputs and outputs of every signature."""
    found = {}
    for key, graph, inputs, outputs in signatures(read_model(content)):

        def specs(names: dict[str, int], graph: object = graph) -> tuple[TensorSpec, ...]:
            return tuple(_spec(name, graph.tensors[index]) for name, index in names.items())  # type: ignore[attr-defined]

        found[key] = (specs(inputs), specs(outputs))
    return found


def _spec(name: str, tensor: object) -> TensorSpec:
    grid = grid_of(tensor)
    if grid is None:
        raise EmitError(f"tensor {text(tensor.name)} ({name}) has no scale")  # type: ignore[attr-defined]
    shape = tuple(int(n) for n in tensor.shape)  # type: ignore[attr-defined]
    return TensorSpec(name, shape, grid.scale, grid.zero_point)


def _gate(key: str, gate: Gate, threshold: int, tensors: Tensors) -> GateSpec:
    (features,), (score,) = tensors[key]
    return GateSpec(key, gate.mean, gate.deviation, features, score, threshold)
