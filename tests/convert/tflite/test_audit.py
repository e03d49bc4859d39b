"""The audit stops a file that is spoilt in any single way, naming signature, operator and tensor."""

import dataclasses

import numpy as np
import pytest

from calibration.ranges import Grid, kind
from convert.support.errors import AuditError
from convert.tflite.audit import audit, same_grid
from convert.tflite.flatbuffer import constant, operator_name, prune, read_model, schema, signatures, text, write_model
from tests.convert.conversion import model_of, place
from tests.tflite_runtime_app.tiny_bundle import Graph
from tflite_runtime_app.bundle.manifest import TensorSpec

FLOAT32, INT16 = schema.TensorType.FLOAT32, schema.TensorType.INT16


def refused(conversion, model, forbidden=(), by_name=None, grids=None) -> str:
    by_name = conversion.by_name if by_name is None else by_name
    with pytest.raises(AuditError) as caught:
        audit(write_model(model), by_name, conversion.grids if grids is None else grids, forbidden)
    assert caught.value.exit_code == 3
    return str(caught.value)


def operators(model, wanted: str):
    return [
        (key, graph, operator)
        for key, graph, _, _ in signatures(model)
        for operator in graph.operators
        if operator_name(model, operator) == wanted
    ]


def test_the_unspoilt_file_passes_after_reading_and_writing(converted):
    audit(write_model(model_of(converted)), converted.by_name, converted.grids, ())


def test_a_float_tensor(rotated):
    model = model_of(rotated)
    _, graph, operator = operators(model, "GELU")[1]
    tensor = graph.tensors[operator.outputs[0]]
    tensor.type = FLOAT32
    message = refused(rotated, model)
    assert "stage_1" in message
    assert "GELU" in message
    assert text(tensor.name) in message
    assert "FLOAT32" in message


def test_a_float_constant(rotated):
    model = model_of(rotated)
    _, graph, operator = operators(model, "FULLY_CONNECTED")[0]
    graph.tensors[operator.inputs[1]].type = FLOAT32
    message = refused(rotated, model)
    assert "FULLY_CONNECTED" in message
    assert text(graph.tensors[operator.inputs[1]].name) in message


def test_a_float_gate(rotated):
    model = model_of(rotated)
    (graph,) = (graph for key, graph, _, _ in signatures(model) if key == "gate_1")
    graph.tensors[graph.outputs[0]].type = FLOAT32
    assert "gate_1: operator FULLY_CONNECTED has tensor score of type FLOAT32" in refused(rotated, model)


def test_a_float_tensor_that_no_operator_touches(rotated):
    model = model_of(rotated)
    (graph,) = (graph for key, graph, _, _ in signatures(model) if key == "stage_0")
    loose = schema.TensorT()
    loose.name, loose.shape, loose.type, loose.buffer = b"loose", [1], FLOAT32, 0
    graph.tensors.append(loose)
    assert "loose" in refused(rotated, model)


@pytest.mark.parametrize("change", [{"scale": 1.01}, {"scale": 1 / 1.00001}, {"zero_point": 1}])
def test_a_wrong_grid(rotated, change):
    model = model_of(rotated)
    tensor = place(rotated, model, "stage_1", "block_02/fc_1")
    tensor.quantization.scale = [tensor.quantization.scale[0] * change.get("scale", 1)]
    tensor.quantization.zeroPoint = [int(tensor.quantization.zeroPoint[0]) + change.get("zero_point", 0)]
    message = refused(rotated, model)
    assert text(tensor.name) in message
    assert "block_02/fc_1" in message
    assert "stage_1" in message


def test_no_tensor_escapes(converted):
    """Every computed tensor of every stage, one after another, put on a grid of its own."""
    model, count = model_of(converted), 0
    for key, graph, _, _ in signatures(model):
        if key.startswith("gate_"):
            continue
        for tensor in [t for t in graph.tensors if constant(model, t) is None][count % 7 :: 7]:
            count += 1
            before = tensor.quantization.scale
            tensor.quantization.scale = [before[0] * 1.001]
            assert text(tensor.name) in refused(converted, model)
            tensor.quantization.scale = before
    assert count > 8


def test_a_tensor_without_a_grid(rotated):
    model = model_of(rotated)
    tensor = place(rotated, model, "stage_2", "block_03/mlp")
    tensor.quantization = None
    assert "block_03/mlp" in refused(rotated, model)


def test_a_tensor_that_nothing_was_decided_for(rotated):
    tensor = place(rotated, model_of(rotated), "stage_2", "block_03/mlp")
    by_name = {name: role for name, role in rotated.by_name.items() if name != text(tensor.name)}
    assert text(tensor.name) in refused(rotated, model_of(rotated), by_name=by_name)


@pytest.mark.parametrize("name", ["hidden", "hidden_lo"])
def test_an_unequal_hand_over(two_term, name):
    """Each side on the grid that was decided for it, but not on the same one."""
    rotated = two_term
    model = model_of(rotated)
    (graph, inputs) = next((graph, inputs) for key, graph, inputs, _ in signatures(model) if key == "stage_1")
    tensor = graph.tensors[inputs[name]]
    by_name = {**rotated.by_name, text(tensor.name): "another"}
    scale = float(tensor.quantization.scale[0]) * 1.5
    tensor.quantization.scale = [scale]
    grids = {**rotated.grids, "another": Grid(scale, int(tensor.quantization.zeroPoint[0]))}
    message = refused(rotated, model, by_name=by_name, grids=grids)
    for word in (f"{name} leaves", "stage_0", "stage_1"):
        assert word in message


def test_a_stage_that_takes_what_was_not_given(rotated):
    model = model_of(rotated)
    for definition in model.signatureDefs:
        if text(definition.signatureKey) == "stage_1":
            definition.inputs[0].name = b"hidden_lo"
    assert "stage_1 takes hidden_lo, which stage_0 does not put out" in refused(rotated, model)


def test_eleven_stages_are_compared_in_their_order():
    """stage_10 follows stage_9, not stage_1."""
    model = schema.ModelT()
    model.version, model.description = 3, b"deep"
    model.buffers, model.operatorCodes, model.subgraphs, model.signatureDefs = [schema.BufferT()], [], [], []
    specs = [TensorSpec("hidden", (1, 8), 0.01 * (k + 1), 0) for k in range(13)]
    for k in range(12):
        graph = Graph(model)
        source, target = graph.spec(specs[k]), graph.spec(specs[k + 1])
        graph.operator("ADD", [source, source], target, 2, schema.AddOptionsT())
        graph.signature(f"stage_{k}", {"hidden": source}, {"hidden": target})
    by_name, grids = {}, {}
    for k, (_, graph, inputs, outputs) in enumerate(signatures(model)):
        for number, spec in ((inputs["hidden"], specs[k]), (outputs["hidden"], specs[k + 1])):
            name = f"tensor_{k}_{number}"
            graph.tensors[number].name = name.encode()
            by_name[name], grids[name] = name, Grid(spec.scale, spec.zero_point)
    assert len(audit(write_model(model), by_name, grids, ())) == 12


@pytest.mark.parametrize("name", ["SOFTMAX", "RSQRT", "FULLY_CONNECTED"])
def test_a_forbidden_operator(rotated, name):
    model = model_of(rotated)
    key, graph, operator = operators(model, name)[0]
    message = refused(rotated, model, forbidden=("GATHER", name))
    for word in (key, name, text(graph.tensors[operator.outputs[0]].name)):
        assert word in message


def test_a_custom_operator(rotated):
    model = model_of(rotated)
    _, _, operator = operators(model, "SOFTMAX")[0]
    model.operatorCodes[operator.opcodeIndex].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[operator.opcodeIndex].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[operator.opcodeIndex].customCode = b"Mine"
    assert "CUSTOM" in refused(rotated, model, forbidden=("CUSTOM",))


@pytest.mark.parametrize("product", [0, 1], ids=["keys", "values"])
def test_an_asymmetric_right_operand(rotated, product):
    model = model_of(rotated)
    products = [found for found in operators(model, "BATCH_MATMUL") if found[2].inputs[0] != found[2].inputs[1]]
    key, graph, operator = products[product]  # not a token's squared length, which may lie on any grid
    right = graph.tensors[operator.inputs[1]]
    right.quantization.zeroPoint = [7]
    message = refused(rotated, model)
    for word in (key, "right operand", "BATCH_MATMUL", text(right.name), "zero point 0"):
        assert word in message


def test_scales_on_which_xnnpack_fails(rotated):
    model = model_of(rotated)
    key, graph, operator = operators(model, "FULLY_CONNECTED")[0]
    weights = graph.tensors[operator.inputs[1]].quantization
    given, made = (graph.tensors[index].quantization.scale[0] for index in (operator.inputs[0], operator.outputs[0]))
    weights.scale = [*weights.scale[:-1], 300 * made / given]
    message = refused(rotated, model)
    for word in (key, "FULLY_CONNECTED", text(graph.tensors[operator.outputs[0]].name), "300 times", "less than 256"):
        assert word in message


def test_a_sum_that_runs_on_plain_kernels_is_named_and_not_refused(rotated):
    """Its scales lie where calibration put them; that costs time and nothing else."""
    model, grids = model_of(rotated), dict(rotated.grids)
    assert not any(entry.left_by_scale for entry in audit(write_model(model), rotated.by_name, grids, ()).values())
    key, graph, operator = next(found for found in operators(model, "ADD") if found[0] == "stage_1")
    output = graph.tensors[operator.outputs[0]]
    output.quantization.scale = [max(graph.tensors[int(i)].quantization.scale[0] for i in operator.inputs) / 300]
    by_name = {**rotated.by_name, text(output.name): "another"}
    grids["another"] = Grid(float(output.quantization.scale[0]), int(output.quantization.zeroPoint[0]))
    assert "ADD making another: scales 300 apart" in audit(write_model(model), by_name, grids, ())[key].left_by_scale


def test_an_output_that_is_not_int8(rotated):
    model = model_of(rotated)
    (graph, outputs) = next((graph, outputs) for key, graph, _, outputs in signatures(model) if key == "stage_2")
    graph.tensors[outputs["embedding"]].type = INT16
    assert "stage_2: embedding should be int8, found INT16" in refused(rotated, model)


def test_weights_stored_twice(rotated):
    model = model_of(rotated)
    _, graph, operator = operators(model, "FULLY_CONNECTED")[3]
    tensor = graph.tensors[operator.inputs[1]]
    copy = schema.BufferT()
    copy.data = np.asarray(model.buffers[tensor.buffer].data).copy()
    assert len(copy.data) >= 1024
    model.buffers.append(copy)
    message = refused(rotated, model)
    assert "stored once" in message
    assert str(len(copy.data)) in message
    assert f"and {len(model.buffers) - 1} hold" in message


def test_pruning_stores_equal_constants_once_and_keeps_the_rest(rotated):
    model = model_of(rotated)
    size = len(write_model(model))
    _, graph, operator = operators(model, "FULLY_CONNECTED")[3]
    tensor = graph.tensors[operator.inputs[1]]
    copy, unused = schema.BufferT(), schema.TensorT()
    copy.data = np.asarray(model.buffers[tensor.buffer].data).copy()
    model.buffers.append(copy)
    tensor.buffer = len(model.buffers) - 1
    unused.name, unused.shape, unused.type, unused.buffer = b"unused", [4], FLOAT32, 0
    graph.tensors.insert(0, unused)
    for other in graph.operators:
        other.inputs, other.outputs = [i + 1 for i in other.inputs], [i + 1 for i in other.outputs]
    graph.inputs, graph.outputs = [i + 1 for i in graph.inputs], [i + 1 for i in graph.outputs]
    for definition in model.signatureDefs:
        if model.subgraphs[definition.subgraphIndex] is graph:
            for entry in (*definition.inputs, *definition.outputs):
                entry.tensorIndex += 1
    prune(model)
    pruned = write_model(model)
    audit(pruned, rotated.by_name, rotated.grids, ())
    assert abs(len(pruned) - size) < 64


def test_every_scale_of_a_kind_that_must_be_symmetric_is(converted):
    found = {role: grid.zero_point for role, grid in converted.grids.items() if kind(role) in ("key", "value")}
    assert len(found) >= 2 * len(converted.visual.transformer.resblocks)
    assert set(found.values()) == {0}


def test_same_grid():
    grid = Grid(0.1, 3)
    assert same_grid(grid, Grid(float(np.float32(0.1)), 3))
    assert not same_grid(grid, dataclasses.replace(grid, zero_point=4))
    assert not same_grid(grid, Grid(0.10001, 3))
    assert not same_grid(grid, None)
    assert not same_grid(None, None)


def test_a_bundle_tail_does_not_disturb_the_reader(rotated):
    """A flatbuffer is read from its start; what an appended zip adds is not looked at."""
    assert len(read_model(rotated.integer_file + b"PK\x03\x04 and more").subgraphs) == 5
