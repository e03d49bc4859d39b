"""The islands that the rules expect are those that LiteRT makes, up to the last scale that XNNPACK takes."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from convert.tflite.audit import census, count
from convert.tflite.flatbuffer import operator_name, read_model, signatures, squares, text, write_model
from convert.tflite.xnnpack import FAILS_BEYOND, LEFT_BEYOND, Islands, expected, fault, measured
from tests.convert.conversion import model_of
from tests.tflite_runtime_app.tiny_bundle import Graph
from tflite_runtime_app.bundle.file import read_bundle


def test_the_rules_expect_what_litert_does(converted):
    model = read_model(converted.integer_file)
    for key, graph, _, _ in signatures(model):
        assert measured(converted.integer_file, key) == expected(model, graph), key


def test_of_attention_in_two_terms_only_the_logarithms_of_the_rows_sums_are_left(in_two_terms):
    model = read_model(in_two_terms.integer_file)
    key, graph = next((key, graph) for key, graph, _, _ in signatures(model) if key == "stage_1")
    found = expected(model, graph)
    assert measured(in_two_terms.integer_file, key) == found
    assert "LOG" in found.left and not {"ELU", "SUB", "REDUCE_MAX", "FULLY_CONNECTED"} & set(found.left)


def test_scales_leave_nothing_to_plain_kernels(converted, embedded):
    for content in (converted.integer_file, read_bundle(embedded).flatbuffer):
        assert not [entry.left_by_scale for entry in census(content).values() if entry.left_by_scale]


def test_what_is_left_are_the_operators_without_a_kernel_of_xnnpacks(converted):
    """Above all none of the tower's products, and of the patch embedding neither its product nor the transpose of the pixels."""
    left = {name for stage in converted.stages for name in measured(converted.integer_file, f"stage_{stage.part.index}").left}
    assert {"SOFTMAX", "RSQRT"} <= left <= {"SOFTMAX", "RSQRT", "GELU", "MAXIMUM", "BATCH_MATMUL"}
    model = read_model(converted.integer_file)
    for stage in converted.stages:
        graph = next(graph for key, graph, _, _ in signatures(model) if key == f"stage_{stage.part.index}")
        lengths = sum(squares(model, graph, operator) for operator in graph.operators)  # plain kernels do these faster
        assert measured(converted.integer_file, f"stage_{stage.part.index}").left.get("BATCH_MATMUL", 0) <= lengths
    graph = model.subgraphs[0]
    first = [operator_name(read_model(converted.integer_file), operator) for operator in graph.operators[:4]]
    assert first == ["RESHAPE", "TRANSPOSE", "RESHAPE", "FULLY_CONNECTED"]


def test_a_gate_is_one_piece(rotated):
    assert measured(rotated.integer_file, "gate_0") == Islands(1, {})


def test_an_asymmetric_right_operand_is_left(rotated):
    """The one property of a tensor on which XNNPACK's choice hangs."""
    model = model_of(rotated)
    key, graph = next((key, graph) for key, graph, _, _ in signatures(model) if key == "stage_1")
    before = expected(model, graph)
    for tensor in graph.tensors:  # the keys, and all that is only moved from them
        if rotated.by_name.get(text(tensor.name)) == "block_02/key":
            tensor.quantization.zeroPoint = [7]
    after = expected(model, graph)
    assert after.left == {**before.left, "BATCH_MATMUL": before.left.get("BATCH_MATMUL", 0) + 1}
    assert measured(write_model(model), key) == after


def alone(name: str, first: float, second: float = 1.0, output: float = 1.0):
    """A model of one operator on [2, 8], its inputs and output on grids of these scales."""
    model = schema.ModelT()
    model.version, model.subgraphs, model.signatureDefs, model.operatorCodes, model.buffers = 3, [], [], [], [schema.BufferT()]
    graph = Graph(model)
    given = {"a": graph.tensor((2, 8), first)}
    options, more, version = None, [], 1
    match name:
        case "ADD" | "SUB" | "MUL":
            given["b"] = graph.tensor((2, 8), second)
            options, more = getattr(schema, f"{name.capitalize()}OptionsT")(), [given["b"]]
        case "FULLY_CONNECTED":
            options, version = schema.FullyConnectedOptionsT(), 4
            more = [graph.tensor((8, 8), second, 0, np.eye(8, dtype=np.int8)), -1]
        case "BATCH_MATMUL":
            options, more = schema.BatchMatMulOptionsT(), [graph.tensor((8, 8), second, 0, np.eye(8, dtype=np.int8))]
        case "QUANTIZE":
            options = schema.QuantizeOptionsT()
        case "TRANSPOSE":
            options, more = schema.TransposeOptionsT(), [graph.tensor((2,), data=np.array([0, 1], np.int32))]
        case "REDUCE_MAX":
            options, more = schema.ReducerOptionsT(), [graph.tensor((1,), data=np.array([1], np.int32))]
    made = graph.tensor((2,) if name == "REDUCE_MAX" else (2, 8), output)
    graph.operator(
        name, [given["a"], *more], made, max(version, 2 if options is not None and name != "TRANSPOSE" else 1), options
    )
    graph.signature("stage_0", given, {"y": made})
    return model, graph.graph


@pytest.mark.parametrize("name", sorted(LEFT_BEYOND))
def test_an_operator_is_left_where_its_scales_lie_too_far_apart(name):
    """On both sides of both bounds, and for a sum by either of its inputs: the table is LiteRT's."""
    limit = LEFT_BEYOND[name]
    below = float(np.nextafter(np.float32(limit.beyond), np.float32(0)))
    for ratio, taken in ((limit.least, True), (limit.least * 0.99, False), (below, True), (limit.beyond, False)):
        for scales in [(ratio, 1.0)] if name == "QUANTIZE" else [(ratio, 1.0), (1.0, ratio)]:
            model, graph = alone(name, *scales)
            found = expected(model, graph)
            assert found == measured(write_model(model), "stage_0") == (Islands(1, {}) if taken else Islands(0, {name: 1})), (
                scales
            )
            left = count(model, graph, {"t1": "block_01/rest", "t2": "block_01/rest"}).left_by_scale
            assert len(left) == (not taken) and all(f"{name} making block_01/rest" in text for text in left)


@pytest.mark.parametrize("name", ["FULLY_CONNECTED", "TRANSPOSE"])
def test_what_xnnpack_takes_and_fails_on_is_a_fault(name):
    beyond = FAILS_BEYOND[name].beyond if name in FAILS_BEYOND else 2.0
    good, bad = alone(name, 0.99 * beyond if name in FAILS_BEYOND else 1.0), alone(name, beyond)
    assert fault(*good, good[1].operators[0]) is None and measured(write_model(good[0]), "stage_0") == Islands(1, {})
    assert fault(*bad, bad[1].operators[0])
    with pytest.raises(RuntimeError):
        measured(write_model(bad[0]), "stage_0")


@pytest.mark.parametrize(("name", "first"), [("REDUCE_MAX", 2.0), ("BATCH_MATMUL", 255.0)])
def test_what_other_kernels_and_later_ones_refuse_is_a_fault_too(name, first):
    model, graph = alone(name, first)
    assert fault(model, graph, graph.operators[0])
    model, graph = alone(name, first, output=first)
    assert fault(model, graph, graph.operators[0]) is None
