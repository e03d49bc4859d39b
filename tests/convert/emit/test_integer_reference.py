"""LiteRT's plain kernels against a numpy interpreter of the same flatbuffer, operator by operator and end to end."""

from collections import Counter

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from convert.tflite.flatbuffer import operator_name, read_model, signatures
from convert.tflite.interpreter import preserving_interpreter
from tests.convert.conversion import images, interpreter_invoke, run
from tests.reference import integer_graph

# Share of codes that must be equal outright, fed with the same codes; the others may be one step off. Measured: products of two
# activations 0.4 % off, RSQRT 0.4 %, MUL 0.3 to 0.7 %, MEAN 8 to 11 % (its divisor is folded into the fixed-point multiplier);
# SOFTMAX, GELU, LOGISTIC, ELU, LOG, REDUCE_MAX, ADD, SUB and what only moves codes: none,
# nor FULLY_CONNECTED but where it runs on LiteRT's other plain kernels (0.15 %).
EQUAL = {"MEAN": 0.8, "RSQRT": 0.98, "MUL": 0.98, "BATCH_MATMUL": 0.99, "FULLY_CONNECTED": 0.998}
EQUAL_OTHERWISE = 0.999
# End to end every operator works on what the one before it gave. Measured: at most 4 steps on the stream, 6 on an embedding.
STREAM_STEPS, OUTPUT_STEPS = 6, 10


def reference_interpreter(content: bytes) -> Interpreter:
    return Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )


def compare(converted, count: int, interpreter_of=reference_interpreter) -> Counter:
    """How many codes of each operator were compared, all of them within the bounds above."""
    model, interpreter = read_model(converted.integer_file), interpreter_of(converted.integer_file)
    found = {key: (model.subgraphs.index(graph), graph, takes, gives) for key, graph, takes, gives in signatures(model)}
    equal, total = Counter(), Counter()
    for image in images(converted.visual, count, 8):
        for stage, inputs, outputs in run(converted, interpreter_invoke(interpreter), image):
            key = f"stage_{stage.part.index}"
            number, graph, takes, gives = found[key]
            theirs = {index: interpreter.get_tensor(index, number) for index in range(len(graph.tensors))}
            for operator in graph.operators:
                name, target = operator_name(model, operator), int(operator.outputs[0])
                ours = integer_graph.step(model, graph, operator, theirs)
                assert ours.shape == theirs[target].shape
                difference = np.abs(ours.astype(int) - theirs[target])
                assert difference.max() <= 1, (key, name, graph.tensors[target].name)
                equal[name] += int((difference == 0).sum())
                total[name] += difference.size
            ours = integer_graph.run(model, graph, {takes[name]: codes for name, codes in inputs.items()})
            for name, index in gives.items():
                difference = np.abs(ours[index].astype(int) - outputs[name])
                if name != "hidden_lo":  # one step of the other term more or less is twenty of these
                    assert difference.max() <= (STREAM_STEPS if name == "hidden" else OUTPUT_STEPS), (key, name)
    for name, codes in total.items():
        assert equal[name] >= EQUAL.get(name, EQUAL_OTHERWISE) * codes, f"{name}: {equal[name]} of {codes} codes equal"
    return total


def test_operator_by_operator_and_end_to_end(converted):
    total = compare(converted, 3)
    expected = {"FULLY_CONNECTED", "BATCH_MATMUL", "SOFTMAX", "RSQRT", "MUL", "MEAN", "ADD", "TRANSPOSE", "CONCATENATION"}
    assert expected <= set(total)
    assert {"GELU", "LOGISTIC"} & set(total)


def test_probabilities_in_two_terms_operator_by_operator_and_end_to_end(in_two_terms):
    total = compare(in_two_terms, 1, preserving_interpreter)  # there is no reference kernel of ELU
    assert {"ELU", "LOG", "REDUCE_MAX", "SUB", "FULLY_CONNECTED"} <= set(total)


def test_the_oracle_notices_a_wrong_constant(rotated):
    """A bias changed behind LiteRT's back is found: agreement above is no accident of the comparison."""
    model, interpreter = read_model(rotated.integer_file), reference_interpreter(rotated.integer_file)
    key, graph, _, _ = next(iter(signatures(model)))
    interpreter.get_signature_runner(key)(image=rotated.images[:1])
    known = {n: interpreter.get_tensor(n, model.subgraphs.index(graph)) for n in range(len(graph.tensors))}
    operator = next(op for op in graph.operators if operator_name(model, op) == "FULLY_CONNECTED")
    target = int(operator.outputs[0])
    scales, _ = integer_graph.grid(graph.tensors[target])
    bias_scales, _ = integer_graph.grid(graph.tensors[operator.inputs[2]])
    spoilt = {**known, int(operator.inputs[2]): known[int(operator.inputs[2])] + np.round(3 * scales / bias_scales)}
    wrong = integer_graph.step(model, graph, operator, spoilt).astype(int)
    assert np.abs(wrong - known[target]).max() == pytest.approx(3, abs=1)
