"""Manifests that describe no runnable cascade are refused, each by its own misfit."""

from dataclasses import replace

import pytest

from tflite_runtime_app.bundle.manifest import Manifest, Preprocessing
from tflite_runtime_app.bundle.structure import check_structure
from tflite_runtime_app.errors import BundleIncompatible


def stage(manifest: Manifest, index: int, **changes) -> Manifest:
    stages = list(manifest.stages)
    stages[index] = replace(stages[index], **changes)
    return replace(manifest, stages=tuple(stages))


def gate(manifest: Manifest, **changes) -> Manifest:
    return replace(manifest, gates=(replace(manifest.gates[0], **changes), *manifest.gates[1:]))


def first(tensors, **changes):
    return (replace(tensors[0], **changes), *tensors[1:])


def test_the_tiny_manifest_is_sound_with_and_without_gates(tiny):
    check_structure(tiny.manifest)
    check_structure(replace(tiny.manifest, gates=()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: replace(m, stages=()), "no stages"),
        (lambda m: replace(m, gates=m.gates[:1]), "2 gates"),
        (lambda m: stage(m, 1, signature="stage_0"), "named twice"),
        (lambda m: stage(m, 1, blocks_done=2), "blocks_done"),
        (lambda m: replace(m, logit_scale=float("nan")), "logit_scale"),
        (lambda m: replace(m, preprocessing=Preprocessing(9, 8)), "preprocessing makes"),
        (lambda m: replace(m, preprocessing=Preprocessing(8, 8, "longest")), "longest"),
        (lambda m: replace(m, preprocessing=Preprocessing(8, 8, interpolation="nearest")), "nearest"),
        (lambda m: stage(m, 0, inputs=first(m.stages[0].inputs, zero_point=0)), "1/255"),
        (lambda m: stage(m, 0, inputs=first(m.stages[0].inputs, name="picture")), "image"),
        (lambda m: stage(m, 0, outputs=first(m.stages[0].outputs, scale=0.0)), "int8 grid"),
        (lambda m: stage(m, 0, outputs=first(m.stages[0].outputs, scale=0.031)), "untouched"),
        (lambda m: stage(m, 0, outputs=m.stages[0].outputs[1:]), "does not put it out"),
        (lambda m: stage(m, 0, outputs=m.stages[0].outputs[:2]), "variance"),
        (lambda m: replace(m, embedding_size=7), "embedding of 7"),
        (lambda m: gate(m, mean=(0.0, 0.0)), "3 features"),
        (lambda m: gate(m, deviation=(1.0, 0.0, 1.0)), "not positive"),
        (lambda m: gate(m, threshold=129), "129"),
    ],
)
def test_misfits_are_named(tiny, change, message):
    with pytest.raises(BundleIncompatible, match=message):
        check_structure(change(tiny.manifest))
