"""Passes over the float file: the network stays what it was, and the two terms of the stream hold what one would lose."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from calibration.samples import pixels
from calibration.two_term import with_two_terms
from convert.flatbuffer import constant, operator_name, prune, read_model, signatures, text, write_model
from convert.passes import key_layout, two_term_stream
from convert.roles import preserving_interpreter
from tests.convert.conversion import Conversion, images, interpreter_invoke, run


def after(conversion: Conversion, *passes) -> bytes:
    """The float file after these passes."""
    model, roles = read_model(conversion.float_file), dict(conversion.roles.by_name)
    grids = with_two_terms(*conversion.ranges)
    for step in passes:
        step.apply(model, roles, grids)
    prune(model)
    return write_model(model)


def outputs(content: bytes, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every stage's embedding and variance of a float file, by `stage_0/embedding`."""
    interpreter, given, found = Interpreter(model_content=content), {"image": pixels(image[None])}, {}
    for key, _, inputs, _ in sorted(signatures(read_model(content)), key=lambda entry: entry[0]):
        given = interpreter.get_signature_runner(key)(**{name: given[name] for name in inputs})
        found |= {f"{key}/{name}": value for name, value in given.items() if not name.startswith("hidden")}
    return found


@pytest.mark.parametrize("tower", ["rotated", "plain"])
@pytest.mark.parametrize("passes", [(key_layout,), (two_term_stream,), (key_layout, two_term_stream)], ids=len)
def test_the_float_network_stays_what_it_was(request, tower, passes):
    conversion = request.getfixturevalue(tower)
    content = after(conversion, *passes)
    assert content != conversion.float_file
    for image in images(conversion.visual, 2, 14):
        before, now = outputs(conversion.float_file, image), outputs(content, image)
        assert set(before) == set(now)
        for name, value in before.items():
            np.testing.assert_allclose(now[name], value, rtol=0, atol=1e-4 * max(np.linalg.norm(value), 0.1))


def test_no_key_is_transposed_twice(rotated):
    """The scores read the keys token by token."""
    model = read_model(after(rotated, key_layout))
    products = 0
    for _, graph, _, _ in signatures(model):
        makers = {int(operator.outputs[0]): operator for operator in graph.operators}
        for operator in graph.operators:
            if operator_name(model, operator) == "BATCH_MATMUL" and makers[int(operator.outputs[0])].builtinOptions.adjY:
                products += 1
                order = constant(model, graph.tensors[makers[int(operator.inputs[1])].inputs[1]])
                assert order[-1] > order[-2]
    assert products == len(rotated.visual.transformer.resblocks)


def test_the_two_terms_nest_and_the_lower_is_finer(two_term):
    grids = {role: grid for role, grid in two_term.grids.items() if role.startswith("block_")}
    streams = sorted(role for role in grids if role.endswith(("/stream", "/middle")))
    assert len(streams) == 7
    for role in streams:
        ratio = np.log2(grids[role].scale / grids[streams[0]].scale)
        assert ratio == pytest.approx(round(ratio), abs=1e-6), "steps must be powers of two apart"
        assert grids[role].zero_point == grids[f"{role}_lo"].zero_point == 0
        assert grids[f"{role}_lo"].scale < grids[role].scale / 8
        # Nothing of hi may be clipped, and lo must hold half a step of hi.
        assert grids[role].scale * 127 >= two_term.ranges[1][role] * (1 - 1e-6)
        assert grids[f"{role}_lo"].scale * 127 >= grids[role].scale / 2


def test_the_first_sum_loses_nothing_of_the_constants(plain_two_term):
    """hi + lo of the stream before the first block against what went into it: integer patches plus positions in float.

    Positions and class token must bring a lo of their own; without it their int8 rounding would stay in the stream for good.
    """
    conversion, tower = plain_two_term, plain_two_term.stages[0].tower
    model, interpreter = read_model(conversion.integer_file), preserving_interpreter(conversion.integer_file)
    next(iter(run(conversion, interpreter_invoke(interpreter), conversion.images[0])))
    number, graph = next((model.subgraphs.index(graph), graph) for key, graph, _, _ in signatures(model) if key == "stage_0")

    def real(role: str, size: int) -> np.ndarray:
        for index, tensor in enumerate(graph.tensors):
            if conversion.by_name.get(text(tensor.name)) == role and int(np.prod(tensor.shape)) == size:
                codes = interpreter.get_tensor(index, number).astype(np.float64)
                return (codes - conversion.grids[role].zero_point).reshape(-1, tower.width) * conversion.grids[role].scale
        raise AssertionError(f"no tensor {role} of {size}")

    tokens, width = tower.tokens, tower.width
    patches = real("embed/patch", (tokens - 1) * width) + tower.position[1:].double().numpy()
    token = (tower.class_token + tower.position[0]).double().numpy()[None]
    wanted = np.concatenate([token, patches])
    found = real("block_00/stream", tokens * width) + real("block_00/stream_lo", tokens * width)
    step = conversion.grids["block_00/stream_lo"].scale
    rest = conversion.grids["block_00/stream_rest"].scale
    assert np.abs(found - wanted).max() <= 1.5 * (step + rest)
