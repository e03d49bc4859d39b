"""Stages as files of their own: TensorFlow Lite Micro runs every one, and its kernels give what LiteRT's give, to the bit."""

import dataclasses

import numpy as np
import pytest

from convert.board.work import work
from convert.micro import agreement, short_scales, tflm, vela
from convert.micro.measure import work_of
from convert.micro.split import INPUTS, OUTPUTS, StageFile, io_bytes, lacking, operators, stage_files
from convert.passes import gelu_form
from convert.passes.state import GraphState
from convert.support.errors import ConvertError, EmitError
from convert.tflite.audit import audit
from convert.tflite.flatbuffer import operator_name, read_model, schema, signatures, write_model
from convert.tflite.merge import single
from targets.profile import load
from tests.convert.conversion import Conversion
from tests.tflite_runtime_app import tiny_bundle


def formed(conversion: Conversion, form: str = gelu_form.CHOSEN) -> Conversion:
    """The conversion without GELU."""
    given = GraphState(read_model(conversion.integer_file), dict(conversion.by_name), dict(conversion.grids))
    done = gelu_form.formed(given, form)
    return dataclasses.replace(conversion, by_name=done.roles, grids=done.grids, integer_file=write_model(done.model))


@pytest.fixture(scope="module", params=["rotated", "two_term", "plain_two_term"])
def micro(request) -> Conversion:
    return formed(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def stages(micro) -> tuple[StageFile, ...]:
    return stage_files(micro.integer_file)


@pytest.fixture(scope="module")
def runs(micro, stages) -> tuple[agreement.StageRun, ...]:
    return agreement.run_stages(stages, micro.images[:6])


def test_every_stage_is_one_subgraph_without_signatures_in_one_order(micro, stages):
    assert len(stages) == len(micro.stages)
    for stage in stages:
        model = read_model(stage.content)
        assert len(model.subgraphs) == 1
        assert not model.signatureDefs
        assert not model.metadata
        assert [name for name in INPUTS if name in stage.inputs] == list(stage.inputs)
        assert [name for name in OUTPUTS if name in stage.outputs] == list(stage.outputs)
        assert stage.outputs[0] == "embedding"
        used = {operator.opcodeIndex for operator in model.subgraphs[0].operators}
        assert used == set(range(len(model.operatorCodes))), "a resolver need not know an operator that nothing uses"


def test_scales_of_what_is_multiplied_have_an_exact_product_and_moved_tensors_share_them(stages):
    """In float32 as in float64: TensorFlow Lite Micro and LiteRT then agree on the multiplier."""
    products = 0
    for stage in stages:
        model = read_model(stage.content)
        graph = model.subgraphs[0]
        scale = [None if t.quantization is None else t.quantization.scale for t in graph.tensors]
        for operator in graph.operators:
            if operator_name(model, operator) in short_scales.MOVES:
                moved = [
                    int(i) for i in (*operator.inputs, *operator.outputs) if graph.tensors[int(i)].type == schema.TensorType.INT8
                ]
                assert len({float(scale[index][0]) for index in moved}) == 1
            if operator_name(model, operator) != "BATCH_MATMUL":
                continue
            one, other = (np.float32(scale[int(i)][0]) for i in operator.inputs)
            assert np.float64(np.float32(one * other)) == np.float64(one) * np.float64(other)
            products += 1
    assert products >= 2 * len(stages)


def test_a_shortened_scale_is_at_most_a_four_thousandth_off():
    scales = np.random.default_rng(0).lognormal(-4, 3, 10_000).astype(np.float32)
    short = short_scales.shortened(scales)
    assert short.dtype == np.float32
    assert np.abs(short / scales.astype(np.float64) - 1).max() <= 1 / 4096
    assert np.all(np.float64(short[:-1] * short[1:]) == short[:-1].astype(np.float64) * short[1:])
    assert np.array_equal(short_scales.shortened(short), short)


def test_no_stage_carries_weights_of_another(micro, stages):
    """Together they are little more than the file they come from."""
    assert sum(len(stage.content) for stage in stages) < 1.15 * len(micro.integer_file)


def test_operators_are_those_of_tensorflow_lite_micro(stages):
    for stage in stages:
        assert lacking(stage.content) == ()
    found = operators(stage.content for stage in stages)
    assert "CONV_2D" in found
    assert not {"FULLY_CONNECTED", "GELU"} & set(found)


def test_a_stage_computes_what_the_bundles_signature_does(micro, stages):
    """Up to single steps, carried on: LiteRT rounds a FULLY_CONNECTED otherwise than a CONV_2D now and then (test_kernels_agree.py)."""
    given = {"image": micro.images[:4].reshape(4, -1)}
    model = read_model(micro.integer_file)
    for stage in stages:
        _, graph, inputs, outputs = next(found for found in signatures(model) if found[0] == stage.key)
        order = [next(name for name, i in inputs.items() if i == int(index)) for index in graph.inputs]
        gives = [next(name for name, i in outputs.items() if i == int(index)) for index in graph.outputs]
        whole = dict(
            zip(gives, agreement.litert(single(micro.integer_file, stage.key), [given[name] for name in order]), strict=True)
        )
        alone = dict(zip(stage.outputs, agreement.litert(stage.content, [given[name] for name in stage.inputs]), strict=True))
        assert set(whole) == set(alone)
        apart = np.abs(alone["embedding"].astype(int) - whole["embedding"])
        assert apart.max() <= 12, stage.key
        assert apart.mean() <= 2.5, stage.key
        given = alone


def test_tensorflow_lite_micro_agrees_with_litert_to_the_bit(stages, runs):
    for stage, run in zip(stages, runs, strict=True):
        assert run.agreement.different == 0, stage.key
        assert run.agreement.values == 6 * sum(io_bytes(stage.content)[1])
        assert len(np.unique(run.outputs["embedding"], axis=0)) > 1, "images that all look alike would prove nothing"


def test_a_difference_is_counted():
    ours, theirs = np.zeros((2, 5), np.int8), np.zeros((2, 5), np.int8)
    theirs[1, 2], theirs[0, 0] = -128, 3
    assert agreement.compare([ours], [theirs]) == agreement.Agreement(2, 10, 2, 128)


def test_the_arena_that_is_reported_is_enough_and_less_is_not(stages, runs, micro):
    stage, run = stages[0], runs[0]
    inputs = [micro.images[:1].reshape(1, -1)]
    again = tflm.run(stage.content, inputs, run.arena.enough)
    assert (again.outputs[0] == run.outputs["embedding"][:1]).all()
    assert run.arena.total == run.arena.head + run.arena.tail
    with pytest.raises(ConvertError, match="TensorFlow Lite Micro does not run this file"):
        tflm.run(stage.content, inputs, run.arena.total - 2048)


def test_work_is_that_of_the_signature(micro, stages):
    """MACs do not change with the operator's name."""
    before = work(micro.integer_file)
    for stage in stages:
        found = work_of(read_model(stage.content))
        assert found.macs == before[stage.key].macs
        assert found.plain["SOFTMAX"] > 0


def test_gelu_left_in_a_bundle_is_refused_by_name(two_term):
    with pytest.raises(EmitError, match=r"stage_0: TensorFlow Lite Micro has no GELU"):
        stage_files(two_term.integer_file)


def test_layers_without_a_bias_and_single_term_streams_are_taken():
    tiny = tiny_bundle.build(two_term=False)
    for stage in stage_files(tiny.flatbuffer):
        inputs = [np.random.default_rng(0).integers(-128, 128, (3, n)).astype(np.int8) for n in io_bytes(stage.content)[0]]
        assert len(inputs) == 1
        found = agreement.compare(agreement.litert(stage.content, inputs), tflm.run(stage.content, inputs).outputs)
        assert found.different == 0


def test_a_file_that_ends_the_library_ends_only_its_process(stages):
    """A bundle as it is has several subgraphs, which the library was not made for; whatever it does, this process goes on."""
    broken = bytearray(stages[0].content)
    broken[len(broken) // 2 :] = b"\xff" * (len(broken) - len(broken) // 2)
    broken[:4] = (len(broken) * 3).to_bytes(4, "little")
    with pytest.raises(ConvertError) as caught:
        tflm.run(bytes(broken), [np.zeros((1, 12), np.int8)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", gelu_form.FORMS)
def test_gelus_forms_are_as_near_as_they_say(form):
    limits = {"sigmoid": 0.0204, "cubic": 0.0005}
    error = gelu_form.largest_error(form, np.linspace(-8, 8, 20001))
    assert limits[form] / 2 < error < limits[form]


@pytest.mark.parametrize("form", gelu_form.FORMS)
def test_every_tensor_of_a_form_is_audited_like_the_others(two_term, form):
    done = formed(two_term, form)
    found = audit(done.integer_file, done.by_name, done.grids, load("mcu-esp32p4").forbidden)
    before = audit(two_term.integer_file, two_term.by_name, two_term.grids, ())
    for key, counted in found.items():
        gelus = before[key].operators.get("GELU", 0)
        assert counted.operators.get("GELU", 0) == 0
        assert counted.operators.get("LOGISTIC", 0) == gelus
        assert sum(counted.operators.values()) == sum(before[key].operators.values()) + gelus * {"sigmoid": 2, "cubic": 5}[form]
    assert all(grid.scale > 0 for grid in done.grids.values())


def test_a_form_in_int8_is_near_gelu_in_int8(two_term):
    """On every code of a layer: the cubic form within two codes of the operator, the plain sigmoid within what it is off in float."""
    model = read_model(two_term.integer_file)
    graph = next(graph for key, graph, _, _ in signatures(model) if key == "stage_0")
    gelu = next(operator for operator in graph.operators if operator_name(model, operator) == "GELU")
    x, y = (graph.tensors[int(i)] for i in (gelu.inputs[0], gelu.outputs[0]))
    for tensor in (x, y):
        tensor.shape = [1, 256]
    graph.operators, graph.inputs, graph.outputs = [gelu], [int(gelu.inputs[0])], [int(gelu.outputs[0])]
    model.subgraphs, model.signatureDefs = [graph], []
    content, codes = write_model(model), np.arange(-128, 128, dtype=np.int16).astype(np.int8)[None]
    (exact,) = agreement.litert(content, [codes])
    apart = {}
    for form in gelu_form.FORMS:
        done = gelu_form.formed(GraphState(read_model(content), dict(two_term.by_name), {}), form)
        (found,) = agreement.litert(write_model(done.model), [codes])
        apart[form] = np.abs(found.astype(int) - exact).max() * float(y.quantization.scale[0])
    assert apart["cubic"] <= 3 * float(y.quantization.scale[0])
    assert apart["sigmoid"] <= 0.0204 + 3 * float(y.quantization.scale[0])


def test_a_form_can_be_taken_back(two_term):
    again = gelu_form.undone(formed(two_term).integer_file)
    assert again is not None
    image = {"image": two_term.images[:1]}
    from tflite_runtime_app.inference.engine import LiteRtEngine

    before, after = (
        LiteRtEngine(content, op_resolver="builtin").invoke("stage_0", image) for content in (two_term.integer_file, again)
    )
    assert all((before[name] == after[name]).all() for name in before)
    assert gelu_form.undone(two_term.integer_file) is None


def test_a_form_keeps_what_quick_gelu_has(plain_two_term):
    """LOGISTIC and MUL already: nothing to replace."""
    done = formed(plain_two_term)
    assert done.grids == plain_two_term.grids
    assert [len(graph.operators) for graph in read_model(done.integer_file).subgraphs] == [
        len(graph.operators) for graph in read_model(plain_two_term.integer_file).subgraphs
    ]


def test_vela_leaves_nothing_to_the_cpu(stages):
    for stage in stages[:2]:
        compiled = vela.compile_stage(stage.content, load("mcu-alif-e8").vela)
        found = compiled.figures
        assert found.cpu_operators == 0, stage.key
        assert found.cycles > 0
        assert found.sram_bytes > 0
        assert found.flash_bytes > 0
        assert found.ms_at(found.clock_mhz) == pytest.approx(found.ms)
        (graph,) = read_model(compiled.content).subgraphs
        assert [len(names) for names in (graph.inputs, graph.outputs)] == [len(stage.inputs), len(stage.outputs)]


def test_what_is_left_to_the_cpu_is_counted_in_the_file_itself(stages):
    """Of a file that Vela has not seen every operator, of one half of whose operators are Vela's the other half."""
    model = read_model(stages[0].content)
    (graph,) = model.subgraphs
    count = len(graph.operators)
    assert vela.left_to_cpu(stages[0].content) == count > 10
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"ethos-u"
    model.operatorCodes.append(code)
    for operator in graph.operators[: count // 2]:
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.builtinOptionsType, operator.builtinOptions = 0, None
    assert vela.left_to_cpu(write_model(model)) == count - count // 2


def test_vela_refuses_in_one_line(stages):
    with pytest.raises(ConvertError) as caught:
        vela.compile_stage(stages[0].content, "ethos-u99 Ethos_U85_SYS_Flash_High Shared_Sram")
    assert "\n" not in str(caught.value)
    assert "ethos-u99" in str(caught.value)
