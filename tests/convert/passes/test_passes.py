"""Passes over the float file: the network stays what it was, and the two terms of the stream hold what one would lose."""

import re

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from calibration.ranges import Grid
from calibration.samples import pixels
from calibration.two_term import with_two_terms
from convert.emit.integer import make_integer
from convert.emit.roles import preserving_interpreter
from convert.measure.noise import measure
from convert.passes import key_layout, squared_length, two_ranges, two_term_stream
from convert.tflite.flatbuffer import TYPE_NAMES, constant, operator_name, prune, read_model, signatures, text, write_model
from tests.convert.conversion import Conversion, images, interpreter_invoke, run


def after(conversion: Conversion, *passes) -> bytes:
    """The float file after these passes."""
    model, roles = read_model(conversion.float_file), dict(conversion.roles.by_name)
    grids = with_two_terms(*conversion.ranges)
    if two_ranges in passes:  # a second grid that no token leaves: both factors are there, and the second is 1
        grids |= {f"{role}_fine": Grid(grid.scale * 4, -128) for role, grid in grids.items() if role.endswith("/energy")}
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
@pytest.mark.parametrize(
    "passes",
    [
        (key_layout,),
        (squared_length,),
        (two_term_stream,),
        (key_layout, squared_length, two_term_stream),
        (squared_length, two_term_stream, two_ranges),
    ],
    ids=lambda passes: "+".join(step.__name__.rpartition(".")[2] for step in passes),
)
def test_the_float_network_stays_what_it_was(request, tower, passes):
    conversion = request.getfixturevalue(tower)
    content = after(conversion, *passes)
    assert content != conversion.float_file or (
        tower == "plain" and passes == (squared_length,)
    )  # its norms square every channel
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


@pytest.mark.parametrize("known_as", ["energy", "energy_eps"])
def test_a_squared_length_reads_one_tensor_twice(rotated, known_as):
    """And that tensor is not transposed, nor reshaped a second time; whichever of two roles with one value it was recognised as."""
    model = read_model(rotated.float_file)
    roles = {name: re.sub("energy$", known_as, role) for name, role in rotated.roles.by_name.items()}
    squared_length.apply(model, roles, {})
    found = 0
    for _, graph, _, _ in signatures(model):
        for operator in graph.operators:
            output = graph.tensors[operator.outputs[0]]
            if operator_name(model, operator) == "BATCH_MATMUL" and int(np.prod(output.shape[1:])) == 1:
                found += 1
                assert operator.inputs[0] == operator.inputs[1] and operator.builtinOptions.adjY
    blocks, exits = len(rotated.visual.transformer.resblocks), len(rotated.stages) - 1
    # two a block, norm_pre, the last norm_post; an exit's norm_post, its spread, and the power of its mean. A head that attends reads
    # the tokens whose spread is taken and has no norm of its own.
    attending = sum(head.attention is not None for head in rotated.stages[0].tower.exit_heads.values())
    assert found == 2 * blocks + 2 + 3 * exits - attending


def test_two_ranges_give_the_reciprocal_length_of_quiet_and_bold_tokens(rotated):
    """1/|h| of every token, as the integer file has it, against the codes that it was measured on; the finer grid ends at the median."""
    norm, base = "block_01/norm_2", rotated.ranges[0]

    def lengths(grids) -> tuple[np.ndarray, np.ndarray]:
        """(squared length, 1/|h|) of every token, from the codes of stream and RSQRT."""
        built = make_integer(rotated.float_file, rotated.roles.by_name, grids, rotated.ranges[1], "int8")
        model, interpreter = read_model(built.content), preserving_interpreter(built.content)
        interpreter.get_signature_runner("stage_0")(image=rotated.images[:1])
        number, graph = next((model.subgraphs.index(graph), graph) for key, graph, _, _ in signatures(model) if key == "stage_0")

        def real(role: str) -> np.ndarray:
            index = next(i for i, t in enumerate(graph.tensors) if built.by_name.get(text(t.name)) == role)
            return (interpreter.get_tensor(index, number).astype(np.float64) - built.grids[role].zero_point) * built.grids[
                role
            ].scale

        return (real("block_01/middle").reshape(-1, rotated.stages[0].tower.width) ** 2).sum(1), real(f"{norm}/rsqrt").ravel()

    energy, _ = lengths(base)
    step = base[f"{norm}/energy"].scale
    end = step * np.ceil(np.median(energy) / step)
    again, found = lengths({**base, f"{norm}/energy_fine": Grid(end / 255, -128)})
    assert np.array_equal(again, energy) and energy.max() > end > energy.min()
    allowed = base[f"{norm}/rsqrt"].scale * np.sqrt(energy) + np.where(energy < end, end / 255, step) / energy
    assert (np.abs(found * np.sqrt(energy) - 1) <= allowed).all()


def test_an_int16_stream_is_handed_over_in_int16_and_nearer_to_float(rotated):
    errors = {}
    for stream in ("int8", "int16"):
        built = make_integer(rotated.float_file, rotated.roles.by_name, *rotated.ranges, stream)
        model = read_model(built.content)
        kinds = {
            TYPE_NAMES[graph.tensors[inputs["hidden"]].type] for _, graph, inputs, _ in signatures(model) if "hidden" in inputs
        }
        assert kinds == {stream.upper()}
        types = {
            TYPE_NAMES[t.type]
            for g in model.subgraphs
            for o in g.operators
            for i in (*o.inputs, *o.outputs)
            for t in [g.tensors[i]]
        }
        assert types <= {"INT8", "INT16", "INT32"}
        errors[stream] = measure(built.content, rotated.stages, built.by_name, built.grids, rotated.images[:4]).nsr
    assert all(wide < narrow for wide, narrow in zip(errors["int16"], errors["int8"], strict=True)), errors
