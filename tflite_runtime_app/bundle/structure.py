"""Whether a manifest describes a cascade that can run at all, before any of it is believed."""

from __future__ import annotations

import math
from itertools import pairwise

from tflite_runtime_app.bundle.manifest import FEATURES, GateSpec, Manifest, StageSpec, TensorSpec
from tflite_runtime_app.bundle.preprocessing import check_preprocessing
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible


def check_structure(manifest: Manifest) -> None:
    """Returns when stages, hand-overs, gates and preprocessing fit together; else raises BundleIncompatible naming the misfit.

    A bundle has one gate less than stages, or none at all (then its policy must do without scores).
    """
    stages, gates = manifest.stages, manifest.gates
    _require(len(stages) >= 1, "the manifest has no stages")
    _require(len(gates) in (0, len(stages) - 1), f"{len(stages)} stages need {len(stages) - 1} gates, found {len(gates)}")
    signatures = [stage.signature for stage in stages] + [gate.signature for gate in gates]
    _require(len(set(signatures)) == len(signatures), f"signatures are named twice: {signatures}")
    blocks = [stage.blocks_done for stage in stages]
    _require(blocks == sorted(set(blocks)), f"blocks_done should grow from stage to stage, found {blocks}")
    _require(math.isfinite(manifest.logit_scale) and manifest.logit_scale > 0, f"logit_scale is {manifest.logit_scale}")
    check_preprocessing(manifest.preprocessing)
    _check_image(manifest)
    for stage in stages:
        _check_stage(stage, manifest.embedding_size)
    for before, after in pairwise(stages):
        _check_hand_over(before, after)
    for stage, gate in zip(stages, gates, strict=False):
        _check_gate(stage, gate)


def _check_image(manifest: Manifest) -> None:
    inputs, wanted = manifest.stages[0].inputs, manifest.preprocessing
    names = [tensor.name for tensor in inputs]
    _require(names == ["image"], f"{manifest.stages[0].signature} should take 'image' alone, takes {names}")
    shape = (1, wanted.height, wanted.width, 3)
    _require(inputs[0].shape == shape, f"image has shape {inputs[0].shape}, preprocessing makes {shape}")
    # A pixel byte b enters as b - 128 without arithmetic, which is right on this grid only.
    on_grid = inputs[0].zero_point == -128 and math.isclose(inputs[0].scale, 1 / 255, rel_tol=1e-6)
    _require(on_grid, f"image should have scale 1/255 and zero point -128, has {inputs[0].scale} and {inputs[0].zero_point}")


def _check_stage(stage: StageSpec, embedding_size: int) -> None:
    for tensors in (stage.inputs, stage.outputs):
        names = [tensor.name for tensor in tensors]
        _require(len(set(names)) == len(names), f"{stage.signature} names a tensor twice: {names}")
    for tensor in (*stage.inputs, *stage.outputs):
        _check_tensor(stage.signature, tensor)
    sizes = [math.prod(tensor.shape) for tensor in stage.outputs if tensor.name == "embedding"]
    _require(sizes == [embedding_size], f"{stage.signature} should put out one embedding of {embedding_size}, found {sizes}")


def _check_hand_over(before: StageSpec, after: StageSpec) -> None:
    given = {tensor.name: tensor for tensor in before.outputs}
    for tensor in after.inputs:
        _require(tensor.name in given, f"{after.signature} takes {tensor.name!r}, {before.signature} does not put it out")
        same = given[tensor.name] == tensor
        _require(same, f"{tensor.name} differs between {before.signature} and {after.signature}; its bytes pass untouched")


def _check_gate(stage: StageSpec, gate: GateSpec) -> None:
    has_variance = any(tensor.name == "variance" for tensor in stage.outputs)
    _require(has_variance, f"{gate.signature} needs a variance that {stage.signature} does not put out")
    _check_tensor(gate.signature, gate.features)
    _check_tensor(gate.signature, gate.score)
    lengths = {math.prod(gate.features.shape), len(gate.mean), len(gate.deviation)}
    _require(lengths == {len(FEATURES)}, f"{gate.signature} should take {len(FEATURES)} features with mean and deviation")
    _require(math.prod(gate.score.shape) == 1, f"{gate.signature} should put out one score, its shape is {gate.score.shape}")
    _require(all(d > 0 for d in gate.deviation), f"{gate.signature} has a deviation that is not positive: {gate.deviation}")
    _require(-128 <= gate.threshold <= 128, f"{gate.signature} has threshold {gate.threshold}, outside -128 … 128")


def _check_tensor(signature: str, tensor: TensorSpec) -> None:
    valid = math.isfinite(tensor.scale) and tensor.scale > 0 and -128 <= tensor.zero_point <= 127
    _require(valid, f"{signature}: {tensor.name} has scale {tensor.scale} and zero point {tensor.zero_point}, not an int8 grid")


def _require(condition: bool, finding: str) -> None:
    if not condition:
        raise BundleIncompatible(f"{finding}; {BUILD_AGAIN}")
