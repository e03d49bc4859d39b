"""Layers by name, their rounded codes in the file, and heads whose bias is corrected."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from calibration.rounding import nearest
from calibration.samples import pixels
from calibration.two_term import PATCH, PATCH_COARSE
from convert.calibrate.bias_correction import embedding_role, head_errors
from convert.calibrate.rounding import rounded
from convert.emit.integer import corrected, make_integer
from convert.emit.manifest import bare_cascade
from convert.model.load import ClipModel
from convert.stages.layers import HEAD, codes_of, input_role, layer_name, layers, steps_off
from convert.support.errors import CalibrationError, EmitError
from convert.support.progress import Silent
from convert.tflite.flatbuffer import constant, operator_name, read_model, signatures, text
from tests.convert.conversion import Conversion, images
from tests.convert.small import DEVIATION, MEAN, run_stages
from tflite_runtime_app.bundle.manifest import Preprocessing


def fully_connected(content: bytes, by_name):
    """(layer, weight values) of every FULLY_CONNECTED of a file."""
    model = read_model(content)
    for key, graph, _, _ in signatures(model):
        for operator in graph.operators:
            role = by_name.get(text(graph.tensors[operator.outputs[0]].name), "")
            if operator_name(model, operator) == "FULLY_CONNECTED" and not key.startswith("gate_"):
                yield layer_name(role), constant(model, graph.tensors[operator.inputs[1]])


def test_a_result_given_once_more_is_its_layers():
    """The roles of the second computation say so in the calibration; another name with the same ending is a layer of its own."""
    assert layer_name(PATCH_COARSE) == PATCH
    assert layer_name("block_03/mlp_coarse") == "block_03/mlp_coarse"
    assert layer_name("stage_1/exit/embedding") == layer_name("stage_4/final/embedding") == HEAD


def test_names_and_weights_are_the_float_files(converted):
    """Where a LayerScale was not folded, the converter has done it, and no layer of that name is left."""
    wanted, seen = layers(converted.stages), set()
    folded = {f"{name}_scaled": name for name in wanted if f"{name}_scaled" in converted.grids}
    for name, weight in fully_connected(converted.float_file, converted.roles.by_name):
        if name in folded:
            seen.add(folded[name])
            continue
        np.testing.assert_allclose(weight, wanted[name].weight.numpy(), rtol=0, atol=1e-6)
        seen.add(name)
    assert seen == set(wanted)


def test_what_a_layer_reads_is_seen(converted):
    for name in layers(converted.stages):
        assert input_role(name, converted.grids) in converted.grids


def build(conversion: Conversion, **options):
    return make_integer(conversion.float_file, conversion.roles.by_name, conversion.ranges, conversion.stream, **options)


def test_rounded_codes_are_in_the_file_and_the_embedding_is_nearer(converted):
    codes = rounded(converted.stages, converted.grids, converted.images, Silent())
    assert any((found != nearest(layers(converted.stages)[name].weight.numpy())).any() for name, found in codes.items())
    integer = build(converted, weights=codes)
    for name, weight in fully_connected(integer.content, integer.by_name):
        if name.endswith("_scaled"):
            continue
        assert np.array_equal(weight, codes[name])


def test_steps_off_lead_back_to_the_codes(rotated):
    codes = rounded(rotated.stages, rotated.grids, rotated.images[:16], Silent())
    steps = steps_off(rotated.stages, codes)
    back = codes_of(rotated.stages, steps)
    assert all(np.array_equal(back[name], codes[name]) for name in codes)
    assert max(int(np.abs(found).max()) for found in steps.values()) < 16
    assert codes_of(rotated.stages, {}) == {}


def test_another_towers_rounding_is_refused(rotated, plain):
    steps = steps_off(plain.stages, rounded(plain.stages, plain.grids, plain.images[:8], Silent()))
    with pytest.raises(CalibrationError, match="another tower"):
        codes_of(rotated.stages, steps)
    name, weight = next(iter(layers(rotated.stages).items()))
    wrong = np.where(nearest(weight.weight.numpy()) > 0, -127, 127).astype(np.int8)
    with pytest.raises(EmitError, match="do not fit"):
        build(rotated, weights={name: wrong})


def test_corrected_heads_are_right_on_average(converted):
    """The mean error over the images is gone from every stage's embedding, up to the grid it is put out on."""

    def errors(content: bytes) -> dict[str, np.ndarray]:
        preprocessing = Preprocessing(*converted.visual.image_size)
        model = ClipModel("small", None, None, None, preprocessing, MEAN, DEVIATION, 20.0, "ab" * 32, "small-space")
        return head_errors(bare_cascade(content, converted.stages, model, "rpi"), converted.stages, converted.images, Silent())

    before = errors(build(converted).content)
    assert set(before) == {embedding_role(stage) for stage in converted.stages}
    after = errors(corrected(build(converted), before).content)
    for role, error in before.items():
        assert np.abs(after[role]).mean() < 0.5 * np.abs(error).mean() + 0.05 * converted.grids[role].scale, role


def test_the_references_are_the_float_stages(rotated):
    """E[e - ê] with ê of the float stages themselves would be zero: the mean is taken against nothing else."""
    chosen = images(rotated.visual, 5, 3)
    wanted = run_stages(rotated.stages, torch.from_numpy(pixels(chosen)))[-1]["embedding"].numpy().mean(0)

    class Zero:
        """A cascade whose embeddings are zero."""

        def stage_outputs(self, image):
            for stage in rotated.stages:
                size = stage.tower.embedding_size
                yield SimpleNamespace(embedding=np.zeros(size, np.float32), variance=None, ms=0.0)

    found = head_errors(Zero(), rotated.stages, chosen, Silent())
    np.testing.assert_allclose(found[embedding_role(rotated.stages[-1])], wanted, rtol=0, atol=1e-5)
