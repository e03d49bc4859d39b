"""Whether the flatbuffer's signatures are those that the manifest describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tflite_runtime_app.bundle.manifest import Manifest, TensorSpec
from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible
from tflite_runtime_app.inference.engine import SignatureFacts, TensorFacts


def check_signatures(signatures: Mapping[str, SignatureFacts], manifest: Manifest) -> None:
    """Returns when every stage and gate exists with the stated names, shapes, int8 types, scales and zero points.

    Raises BundleIncompatible naming the first signature and tensor that differs.
    """
    for stage in manifest.stages:
        _check_one(signatures, stage.signature, stage.inputs, stage.outputs)
    for gate in manifest.gates:
        _check_one(signatures, gate.signature, (gate.features,), (gate.score,))


def _check_one(
    signatures: Mapping[str, SignatureFacts], name: str, inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]
) -> None:
    if name not in signatures:
        raise BundleIncompatible(
            f"the manifest names signature {name}, the model has {', '.join(sorted(signatures))}; {BUILD_AGAIN}"
        )
    for specs, facts in ((inputs, signatures[name].inputs), (outputs, signatures[name].outputs)):
        stated = {spec.name: spec for spec in specs}
        if set(stated) != set(facts):
            raise BundleIncompatible(
                f"{name}: the manifest has tensors {sorted(stated)}, the model {sorted(facts)}; {BUILD_AGAIN}"
            )
        for tensor, spec in stated.items():
            if not _same(spec, facts[tensor]):
                raise BundleIncompatible(
                    f"{name}: {tensor} should be int8 as in {spec}, the model has {facts[tensor]}; {BUILD_AGAIN}"
                )


def _same(spec: TensorSpec, facts: TensorFacts) -> bool:
    # The file holds scales as float32, the manifest as the decimal of whatever the workshop computed with.
    one_grid = len(facts.scales) == 1 and np.float32(spec.scale) == np.float32(facts.scales[0])
    return one_grid and facts.zero_points == (spec.zero_point,) and facts.shape == spec.shape and facts.dtype == "int8"
