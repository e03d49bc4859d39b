"""The islands that the rules expect are those that LiteRT makes."""

from convert.tflite.flatbuffer import operator_name, read_model, signatures, squares, text, write_model
from convert.tflite.xnnpack import Islands, expected, measured
from tests.convert.conversion import model_of


def test_the_rules_expect_what_litert_does(converted):
    model = read_model(converted.integer_file)
    for key, graph, _, _ in signatures(model):
        assert measured(converted.integer_file, key) == expected(model, graph), key


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
