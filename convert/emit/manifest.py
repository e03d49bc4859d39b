"""From the integer file to the manifest that describes it, read off the file itself; and to the board's cascade over both."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

from calibration.gates import Gate
from calibration.phases import Calibrated
from convert.model.load import ClipModel
from convert.stages.stage import Stage
from convert.support.errors import EmitError
from convert.tflite.audit import census, grid_of
from convert.tflite.flatbuffer import read_model, signatures, text
from tflite_runtime_app import __version__
from tflite_runtime_app.bundle.manifest import Calibration, GateSpec, Manifest, PolicySpec, StageSpec, TensorSpec
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.inference.engine import LiteRtEngine
from tflite_runtime_app.policies import Never

TOOLS = ("torch", "open_clip_torch", "onnx", "onnx2tf", "tensorflow", "ai-edge-quantizer", "ai-edge-litert", "numpy", "Pillow")

THREADS = 2  # of the interpreter, wherever a file is measured and not timed against others

Tensors = dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]  # inputs and outputs by signature


def describe(
    content: bytes,
    stages: Sequence[Stage],
    model: ClipModel,
    calibrated: Calibrated,
    target: str,
    limits: dict[str, float] | None = None,
) -> Manifest:
    """The manifest of an integer file with the gates that the calibration has; digests are filled in when the bundle is written."""
    tensors, computed = _tensors(content), census(content)
    origin, ranges, exits = calibrated.origin, calibrated.ranges, calibrated.exits
    stage_specs = tuple(
        StageSpec(
            signature=f"stage_{stage.part.index}",
            blocks_done=stage.part.blocks_done,
            macs=computed[f"stage_{stage.part.index}"].macs - stage.tower.head_macs(stage.part.blocks_done),
            head_macs=stage.tower.head_macs(stage.part.blocks_done),
            inputs=tensors[f"stage_{stage.part.index}"][0],
            outputs=tensors[f"stage_{stage.part.index}"][1],
        )
        for stage in stages
    )
    gates = tuple(
        _gate(f"gate_{k}", gate, threshold, tensors)
        for k, (gate, threshold) in enumerate(zip(exits.gates, exits.thresholds, strict=True))
    )
    return Manifest(
        name=model.name,
        target=target,
        weights_sha256=model.weights_sha256,
        space_id=model.space_id,
        preprocessing=model.preprocessing,
        embedding_size=stages[-1].tower.embedding_size,
        logit_scale=model.logit_scale,
        none_threshold=exits.none_threshold,
        none_margin=exits.none_margin,
        stages=stage_specs,
        gates=gates,
        policy=PolicySpec(exits.policy, exits.parameters),
        calibration=Calibration(origin.digest, origin.images, origin.observer, exits.labels, exits.risk, ranges.observers),
        flatbuffer_sha256="",
        stream=origin.stream,
        ladder=calibrated.steps_taken,
        limits=limits or {},
        tools={
            "clip-rescue": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in TOOLS},
        },
    )


def cascade_of(flatbuffer: bytes, manifest: Manifest) -> Cascade:
    """The board's cascade over the file, run to full depth."""
    return Cascade(LiteRtEngine(flatbuffer, threads=THREADS), manifest, Never())


def bare_cascade(content: bytes, stages: Sequence[Stage], model: ClipModel, target: str) -> Cascade:
    """The cascade of an integer file without gates, whose calibration is not decided yet: to run every stage and no more."""
    return cascade_of(content, describe(content, stages, model, Calibrated(), target))


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
