"""Passes over the float file: the network stays what it was, and the two terms of the stream hold what one would lose."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from calibration.ranges import Grid, kind
from calibration.samples import pixels
from calibration.two_term import with_two_terms
from convert.emit import integer
from convert.emit.integer import PASSES, make_integer
from convert.measure.noise import measure
from convert.passes import (
    bias_correction,
    gelu_form,
    int16_stream,
    norm_floor,
    right_operands,
    squared_length,
    two_ranges,
    two_term_stream,
)
from convert.passes.state import GraphState
from convert.tflite.flatbuffer import (
    TYPE_NAMES,
    constant,
    constants,
    operator_name,
    prune,
    read_model,
    signatures,
    text,
    write_model,
)
from convert.tflite.interpreter import preserving_interpreter
from tests.convert.conversion import Conversion, images, interpreter_invoke, run


def state_of(conversion: Conversion, stream: str = "two_term", **more) -> GraphState:
    """The conversion's float file on its way to a stream of that kind."""
    grids = with_two_terms(conversion.ranges.grids, conversion.ranges.largest)
    return GraphState(read_model(conversion.float_file), dict(conversion.roles.by_name), grids, stream=stream, **more)


def second_grids(state: GraphState) -> GraphState:
    """Every norm with a second grid that no token leaves: both factors are there, and the second is 1."""
    fine = {f"{role}_fine": Grid(grid.scale * 4, -128) for role, grid in state.grids.items() if role.endswith("/energy")}
    return replace(state, grids=state.grids | fine)


def after(conversion: Conversion, *passes) -> bytes:
    """The float file after these passes."""
    state = state_of(conversion)
    state = second_grids(state) if two_ranges in passes else state
    for step in passes:
        state = step.apply(state)
    prune(state.model)
    return write_model(state.model)


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
        (right_operands,),
        (squared_length,),
        (two_term_stream,),
        (right_operands, squared_length, two_term_stream),
        (squared_length, two_term_stream, two_ranges),
    ],
    ids=lambda passes: "+".join(step.__name__.rpartition(".")[2] for step in passes),
)
def test_the_float_network_stays_what_it_was(request, tower, passes):
    conversion = request.getfixturevalue(tower)
    check_float(conversion, after(conversion, *passes), passes, tower)


def check_float(conversion: Conversion, content: bytes, passes: tuple, tower: str) -> None:
    assert content != conversion.float_file or (
        tower == "plain" and passes == (squared_length,)
    )  # its norms square every channel
    for image in images(conversion.visual, 2, 14):
        before, now = outputs(conversion.float_file, image), outputs(content, image)
        assert set(before) == set(now)
        for name, value in before.items():
            np.testing.assert_allclose(now[name], value, rtol=0, atol=1e-4 * max(np.linalg.norm(value), 0.1))


def test_keys_lie_token_by_token_and_values_channel_by_channel(rotated):
    """As a product reads its right operand with adj_y: columns, then what is summed over."""
    model = read_model(after(rotated, right_operands))
    found = Counter()
    for _, graph, _, _ in signatures(model):
        makers = {int(operator.outputs[0]): operator for operator in graph.operators}
        for operator in graph.operators:
            if operator_name(model, operator) == "BATCH_MATMUL" and operator.builtinOptions.adjY:
                order = constant(model, graph.tensors[makers[int(operator.inputs[1])].inputs[1]])
                found["keys" if order[-1] > order[-2] else "values"] += 1
    blocks = len(rotated.visual.transformer.resblocks)
    assert found == {"keys": blocks, "values": blocks}


def test_right_operands_change_no_code(two_term, monkeypatch):
    def codes() -> list[np.ndarray]:
        made = make_integer(two_term.float_file, two_term.roles.by_name, two_term.ranges, "two_term")
        invoke = interpreter_invoke(Interpreter(model_content=made.content))
        walks = (run(replace(two_term, integer_file=made.content), invoke, image) for image in two_term.images[:4])
        return [value for walk in walks for _, _, outputs in walk for value in outputs.values()]

    turned = codes()
    monkeypatch.setattr(integer, "PASSES", tuple(step for step in PASSES if step.name != "right-operands"))
    for now, before in zip(turned, codes(), strict=True):
        np.testing.assert_array_equal(now, before)


def test_nothing_of_xnnpacks_stands_within_a_norms_plain_operators(converted):
    """Squared length, floor and RSQRT follow one another, with no RESHAPE between them that would be a piece of its own."""
    model, found = read_model(converted.integer_file), 0
    for graph in model.subgraphs:
        makers = {int(o.outputs[0]): o for o in graph.operators}
        for operator in graph.operators:
            if operator_name(model, operator) == "RSQRT":
                floor = makers[int(operator.inputs[0])]
                before = operator_name(model, makers[int(floor.inputs[0])])
                assert operator_name(model, floor) in ("MAXIMUM", "ADD") and before in ("BATCH_MATMUL", "MEAN")
                found += 1
    assert found >= 2 * len(converted.visual.transformer.resblocks)


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
        assert grids[role].scale * 127 >= two_term.ranges.largest[role] * (1 - 1e-6)
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
    patches = real("embed/patch", (tokens - 1) * width) + real("embed/patch_rest", (tokens - 1) * width)
    patches = patches + tower.position[1:].double().numpy()
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
    squared_length.apply(GraphState(model, roles, {}))
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
    norm, base = "block_01/norm_2", rotated.ranges.grids

    def lengths(grids) -> tuple[np.ndarray, np.ndarray]:
        """(squared length, 1/|h|) of every token, from the codes of stream and RSQRT."""
        ranges = replace(rotated.ranges, grids=grids)
        built = make_integer(rotated.float_file, rotated.roles.by_name, ranges, "int8")
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
        built = make_integer(rotated.float_file, rotated.roles.by_name, rotated.ranges, stream)
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


# What each pass fires on, and what it leaves alone: the operators that are more or fewer afterwards, and how often it says that it fired.


def counted(model) -> Counter:
    return Counter(operator_name(model, operator) for graph in model.subgraphs for operator in graph.operators)


def change(step, state: GraphState) -> tuple[dict[str, int], int]:
    before = counted(state.model)
    done = step.apply(state)
    now = counted(done.model)
    return {name: now[name] - before[name] for name in before | now if now[name] != before[name]}, done.fired


def integer_state(conversion: Conversion, **more) -> GraphState:
    """A finished file as a state."""
    return GraphState(read_model(conversion.integer_file), dict(conversion.by_name), dict(conversion.grids), **more)


def test_right_operands_turns_every_key_and_value_and_no_other_product(rotated, plain):
    for conversion in (rotated, plain):
        blocks = len(conversion.visual.transformer.resblocks)
        found = change(right_operands, state_of(conversion))
        assert found == ({}, 2 * blocks), "a product's options change, no operator comes or goes"
    done = right_operands.apply(state_of(rotated))
    assert change(right_operands, done) == ({}, 0), "what lies as it is read stays"


def test_squared_length_fires_on_norms_by_length_and_not_on_those_by_squares(rotated, plain):
    changed, fired = change(squared_length, state_of(rotated))
    assert fired > 0
    assert set(changed) <= {"RESHAPE"}, "the second view of the stream is gone"
    assert change(squared_length, state_of(plain)) == ({}, 0)


def test_two_term_stream_adds_three_operators_a_sum_and_leaves_other_streams_alone(rotated):
    changed, fired = change(two_term_stream, squared_length.apply(state_of(rotated)))
    sums = 2 * len(rotated.visual.transformer.resblocks)
    assert fired == sums
    assert changed["SUB"] == 2 * sums, "t = hi' - hi and d = b - t"
    assert change(two_term_stream, state_of(rotated, "int8")) == ({}, 0)
    assert change(two_term_stream, state_of(rotated, "int16")) == ({}, 0)


def test_a_norm_with_a_grid_for_it_reads_both_terms(rotated):
    """One product and one sum more, and the network in float stays what it was."""
    norm = "block_02/norm_2"

    def done(more: dict[str, Grid]) -> GraphState:
        state = squared_length.apply(state_of(rotated))  # a pass works on the model that it is given
        state = two_term_stream.apply(replace(state, grids=state.grids | more))
        prune(state.model)
        return state

    def counted(state: GraphState) -> Counter:
        return Counter(operator_name(state.model, operator) for graph in state.model.subgraphs for operator in graph.operators)

    grids = state_of(rotated).grids
    both = done({f"{norm}/normed_hi": grids[f"{norm}/normed"], f"{norm}/normed_lo": Grid(1e-4, 0)})
    assert counted(both) - counted(done({})) == {"MUL": 1, "ADD": 1}
    check_float(rotated, write_model(both.model), (two_term_stream,), "rotated")


def test_two_ranges_fire_where_calibration_gave_a_second_grid(rotated):
    state = second_grids(squared_length.apply(state_of(rotated, "int8")))
    changed, fired = change(two_ranges, state)
    assert fired > 0
    assert {name: changed[name] for name in ("MAXIMUM", "MUL", "RSQRT", "BATCH_MATMUL")} == {
        "MAXIMUM": fired,
        "MUL": 2 * fired,
        "RSQRT": fired,
        "BATCH_MATMUL": fired,
    }
    assert change(two_ranges, squared_length.apply(state_of(rotated, "int8"))) == ({}, 0)


def test_norm_floor_replaces_an_epsilon_below_a_step_and_keeps_a_larger_one(rotated):
    changed, fired = change(norm_floor, state_of(rotated, "int8"))
    assert fired > 0
    assert changed == {"MAXIMUM": fired, "ADD": -fired}
    fine = state_of(rotated, "int8")
    grids = {r: Grid(1e-9, -128) if kind(r) in ("energy", "energy_eps") else g for r, g in fine.grids.items()}
    assert change(norm_floor, replace(fine, grids=grids)) == ({}, 0), "the model's own epsilon is more than a step"


def test_int16_stream_widens_every_sum_and_leaves_other_streams_alone(rotated):
    wide = integer_state(rotated, stream="int16", largest=rotated.ranges.largest)
    wide = replace(wide, exact=constants(read_model(rotated.float_file)))
    changed, fired = change(int16_stream, wide)
    assert fired == 2 * len(rotated.visual.transformer.resblocks)
    assert changed["QUANTIZE"] > fired
    assert change(int16_stream, integer_state(rotated)) == ({}, 0)


def test_bias_correction_fires_on_the_heads_it_is_given(rotated):
    errors = {
        role: np.ones(24, np.float32) for role in set(rotated.by_name.values()) if kind(role) == "embedding" and "/" in role
    }
    assert change(bias_correction, integer_state(rotated, corrections=errors)) == ({}, len(errors))
    assert change(bias_correction, integer_state(rotated)) == ({}, 0)


def test_gelu_form_fires_for_the_runtime_that_has_no_gelu(rotated, plain):
    changed, fired = change(gelu_form, integer_state(rotated, runtime="tflm"))
    assert fired > 0
    assert changed == {"GELU": -fired, "LOGISTIC": fired, "MUL": 4 * fired, "ADD": fired}
    assert change(gelu_form, integer_state(rotated, runtime="litert")) == ({}, 0)
    assert change(gelu_form, integer_state(plain, runtime="tflm")) == ({}, 0), "quick GELU is LOGISTIC and MUL already"


def test_every_pass_is_counted_in_its_order(two_term):
    made = make_integer(two_term.float_file, two_term.roles.by_name, two_term.ranges, "two_term")
    assert [fired.name for fired in made.passes] == [step.name for step in PASSES]
    counts = {fired.name: fired.count for fired in made.passes}
    assert counts["quantize"] > 100
    assert all(counts[name] > 0 for name in ("right-operands", "squared-length", "two-term-stream", "norm-floor"))
    assert all(counts[name] == 0 for name in ("two-ranges", "int16-stream", "bias-correction", "gelu-form"))
