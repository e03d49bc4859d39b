"""Timing, floor, peers and bars of `convert bench`."""

import collections
import dataclasses
import gc
import io
import json
import statistics
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from calibration.phases import Calibrated, ExitCalibration, Origin
from calibration.samples import pixels
from convert.bench import bars, cold, huge_pages, peers
from convert.bench.bars import Place, judge, require_peers
from convert.bench.float_files import dynamic_range, float_path, write_float_files
from convert.bench.floor import SIGNATURE, floor_file
from convert.bench.full_network import full_products
from convert.bench.gain import gain
from convert.bench.machine import Machine, parse, this_machine
from convert.bench.measure import Line, Trial, _chosen, measure, tower_run
from convert.bench.ncnn_int8 import quantized
from convert.bench.products import Attention, Linear, stage_products
from convert.bench.show import chart, notes, table
from convert.bench.subject import Subject
from convert.bench.timing import Spread, Times, interleave, spread
from convert.cli import main
from convert.emit.manifest import describe
from convert.model.load import ClipModel
from convert.support.errors import ConvertError, UsageError
from convert.support.progress import Silent
from convert.tflite.audit import census
from convert.tflite.flatbuffer import constant, operator_name, read_model, signatures
from tests.clone import ROOT
from tests.convert import model_folder
from tests.convert.conversion import Conversion
from tests.convert.small import DEVIATION, MEAN
from tflite_runtime_app.bundle.file import LABELS, read_bundle, write_bundle
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes
from tflite_runtime_app.bundle.manifest import Preprocessing, StageSpec

ALL = ("float", "dynamic", "onnxruntime", "openvino", "ncnn", "torch")


def test_the_images_of_a_sorted_folder_are_taken_from_all_over_it(tmp_path):
    for number in range(300):
        Image.new("RGB", (4, 4), (number % 256, number // 256, 0)).save(tmp_path / f"{number:03}.png")
    bundle = types.SimpleNamespace(manifest=types.SimpleNamespace(preprocessing=Preprocessing(4, 4)))
    found, first = _chosen((tmp_path,), bundle)
    assert (len(found), first.name) == (64, str(tmp_path / "000.png"))
    assert found.names[-1] > str(tmp_path / "290.png")


# Timing.


def test_percentiles_equal_numpys_and_the_standard_librarys():
    values = np.random.default_rng(0).gamma(2.0, 5.0, 53).tolist()
    found = spread(values)
    assert found.p50 == pytest.approx(np.quantile(np.array(values), 0.5)) == pytest.approx(statistics.median(values))
    assert found.p90 == pytest.approx(np.quantile(np.array(values), 0.9))
    assert found.p90 == pytest.approx(statistics.quantiles(values, n=10, method="inclusive")[8])


def test_percentiles_of_parts_are_taken_over_runs_and_do_not_add_up_to_the_wholes():
    times = Times((11.0, 11.0, 2.0), ((1.0, 10.0), (10.0, 1.0), (1.0, 1.0)))
    assert [part.p50 for part in times.part_spreads] == [1.0, 1.0]
    assert times.spread.p50 == 11.0


class FakeClock:
    """Moves only when a run says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_runs_are_interleaved_warmed_up_and_timed_after_an_untimed_run_of_their_own():
    clock, calls = FakeClock(), []

    def run(name: str, milliseconds: float):
        def once():
            assert not gc.isenabled(), "a collection in the middle of a run would be timed"
            calls.append(name)
            clock.now += milliseconds * (100 if len(calls) <= 18 else 1) / 1e3  # slow while it warms up
            return (milliseconds / 2,)

        return once

    names = ("tower", "floor", "peer")
    times = interleave({name: run(name, k + 1.0) for k, name in enumerate(names)}, 20, Silent(), warm_up=3, clock=clock)
    assert gc.isenabled()
    rounds = [calls[start : start + 6] for start in range(0, len(calls), 6)]
    assert len(rounds) == 23
    for found in rounds:
        assert found[0::2] == found[1::2], "each runs twice in a row"
        assert sorted(found[0::2]) == sorted(names), "and each once a round"
    assert len({tuple(found) for found in rounds}) == 6, "every order occurs: nothing always follows the same one"
    for k, name in enumerate(names):
        assert times[name].whole == pytest.approx([k + 1.0] * 20), "warm-up is not counted"
        assert times[name].parts == (((k + 1.0) / 2,),) * 20


def test_a_tower_is_timed_by_the_clock_that_times_its_peers_its_last_embedding_included():
    clock, read = FakeClock(), []

    class Output:
        def __init__(self, number: int) -> None:
            self.number = number

        @property
        def embedding(self):
            read.append(self.number)
            clock.now += 0.1

    def outputs(_image):
        for number in range(3):
            clock.now += number + 1
            yield Output(number)

    cascade = types.SimpleNamespace(manifest=types.SimpleNamespace(stages=(1, 2, 3)), stage_outputs=outputs)
    assert tower_run(cascade, None, clock)() == pytest.approx((1000, 2000, 3100))
    assert read == [2]


# The machine.

X86 = """processor\t: {n}
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz
flags\t\t: fpu sse4_2 avx f16c {more}
"""
PI_5 = """processor\t: {n}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

"""
PI_4 = """processor\t: 0
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08

"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86.format(n=0, more="avx2 avx512f avx512_vnni"), "avx512_vnni"),
        (X86.format(n=0, more="avx2 avx_vnni"), "avx_vnni"),
        (X86.format(n=0, more="avx_vnni avx2 avx512_vnni"), "avx512_vnni"),
        (X86.format(n=0, more="avx2"), "avx2"),
        (X86.format(n=0, more=""), "other"),
        (PI_5.format(n=0), "asimddp"),
        (PI_4, "neon"),
        ("Processor\t: ARMv7\nFeatures\t: half thumb neon vfpv4\n", "neon"),
        ("", "other"),
    ],
)
def test_instruction_set_is_read_from_cpuinfo(text, expected):
    assert parse(text).instruction_set == expected


def test_cores_of_two_kinds_count_with_what_they_share():
    assert parse(PI_5.format(n=0) + PI_4).instruction_set == "neon"
    assert parse(PI_5.format(n=0) + PI_5.format(n=1)).instruction_set == "asimddp"


def test_the_processor_is_named_as_the_kernel_names_it():
    assert parse(X86.format(n=0, more="avx2")).cpu == "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"
    assert parse(PI_5.format(n=0) + "Model\t\t: Raspberry Pi 5 Model B Rev 1.0\n").cpu == "Raspberry Pi 5 Model B Rev 1.0"
    assert parse(PI_4).cpu == "CPU implementer 0x41, part 0xd08"


def test_a_machine_without_cpuinfo_is_refused(tmp_path):
    with pytest.raises(UsageError, match="runs on Linux"):
        this_machine(tmp_path / "cpuinfo")


# The floor.


def of_stages(content: bytes) -> int:
    return sum(found.macs for key, found in census(content).items() if key.startswith("stage_"))


def stages_of(conversion: Conversion) -> list[StageSpec]:
    """As its manifest has them."""
    counted = census(conversion.integer_file)
    parts = []
    for stage in conversion.stages:
        head = stage.tower.head_macs(stage.part.blocks_done)
        parts.append((stage.part.blocks_done, counted[f"stage_{stage.part.index}"].macs - head, head))
    return [StageSpec(f"stage_{k}", *part, (), ()) for k, part in enumerate(parts)]


def full_of(conversion: Conversion):
    return full_products(stage_products(conversion.integer_file), stages_of(conversion))


def test_the_floor_holds_exactly_the_networks_products(converted):
    found = full_of(converted)
    content = floor_file(found)
    macs = sum(stage.tower.head_macs(stage.part.blocks_done) for stage in converted.stages)
    tower = converted.stages[0].tower
    macs += tower.patch_macs() + len(tower.blocks) * tower.block_macs()
    assert sum(product.macs for product in found) == macs
    (floor,) = census(content).values()
    assert floor.macs == floor.macs_xnnpack == macs
    assert set(floor.operators) == {"FULLY_CONNECTED", "BATCH_MATMUL"}
    blocks = len(converted.visual.transformer.resblocks)
    own = converted.stages[0].tower.exit_heads.values()
    assert floor.operators["BATCH_MATMUL"] == 2 * blocks + sum(head.attention is not None for head in own)
    # Q, K, V, out and two of the MLP in each block; to them come the patch embedding, a head per stage, and what follows ln_pre.
    after_norm_pre = converted.stages[0].tower.after_norm_pre is not None
    more = sum(len(head.linear) - 1 for head in own)
    assert floor.operators["FULLY_CONNECTED"] == 6 * blocks + 1 + len(converted.stages) + after_norm_pre + more


def shortened(product):
    """For the class token alone."""
    if isinstance(product, Linear):
        return dataclasses.replace(product, rows=1)
    left, result = ((*shape[:-2], 1, shape[-1]) for shape in (product.left, product.result))
    return dataclasses.replace(product, left=left, result=result)


def test_what_a_file_leaves_out_or_adds_does_not_change_its_floor(two_term):
    stages, specs = [list(found) for found in stage_products(two_term.integer_file)], stages_of(two_term)
    full, last = full_products(stages, specs), stages[-1]
    tower = two_term.stages[0].tower
    block = next(k for k, product in enumerate(last) if isinstance(product, Attention))
    for k in range(block, len(last)):
        last[k] = shortened(last[k])
    left_out = sum(product.macs for stage in stages for product in stage)
    assert left_out < 0.9 * sum(product.macs for product in full)
    specs[-1] = dataclasses.replace(specs[-1], macs=specs[-1].macs - tower.block_macs() // 2)
    assert full_products(stages, specs) == full, "a gain shows"
    stages[0].append(next(product for product in stages[0] if isinstance(product, Attention)))
    stages[1].append(next(product for product in stages[1] if isinstance(product, Linear) and product.rows == tower.tokens))
    assert full_products(stages, specs) == full, "and so does a cost"
    stages[-1].append(Linear(1, 7, 9))
    assert sum(product.macs for product in full_products(stages, specs)) == sum(product.macs for product in full)


def test_a_file_that_is_none_of_its_manifests_network_has_no_floor(two_term):
    stages, specs = stage_products(two_term.integer_file), stages_of(two_term)
    with pytest.raises(ConvertError, match="stage_0 should have 7 multiply-accumulates by its manifest"):
        full_products(stages, [dataclasses.replace(specs[0], macs=7), *specs[1:]])
    with pytest.raises(ConvertError, match="should begin with a whole transformer block"):
        full_products([stages[0][:1], *stages[1:]], specs)


def test_every_product_of_the_floor_has_weights_of_its_own_per_channel(two_term):
    model = read_model(floor_file(full_of(two_term)))
    ((_, graph, _, outputs),) = signatures(model)
    weights, read = [], set()
    for operator in graph.operators:
        read |= {int(index) for index in operator.inputs}
        if operator_name(model, operator) == "FULLY_CONNECTED":
            tensor = graph.tensors[operator.inputs[1]]
            weights.append(constant(model, tensor).tobytes())
            assert len(tensor.quantization.scale) == tensor.shape[0]
    assert len(set(weights)) == len(weights)
    made = {int(operator.outputs[0]) for operator in graph.operators}
    assert made - read == set(outputs.values()), "a product that nothing reads and that is no output would be dropped"
    expected = collections.Counter((p.columns, p.depth) for p in full_of(two_term) if isinstance(p, Linear))
    found = collections.Counter(
        tuple(graph.tensors[o.inputs[1]].shape) for o in graph.operators if operator_name(model, o) == "FULLY_CONNECTED"
    )
    assert found == expected


def run_floor(content: bytes, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    interpreter = Interpreter(model_content=content)
    return interpreter.get_signature_runner(SIGNATURE)(**given)


def test_the_floors_fully_connected_layer_is_the_integer_product():
    content = floor_file([Linear(5, 24, 7)])
    model = read_model(content)
    (graph,) = model.subgraphs
    weights = constant(model, graph.tensors[graph.operators[0].inputs[1]]).astype(np.int64)
    steps = np.array(graph.tensors[graph.operators[0].inputs[1]].quantization.scale)
    given = np.random.default_rng(1).integers(-128, 128, (5, 24), np.int8)
    (found,) = run_floor(content, {"in_0": given}).values()
    exact = (given.astype(np.int64) @ weights.T) * steps
    assert np.abs(found - np.clip(np.rint(exact), -128, 127)).max() <= 1
    assert 30 < exact.std() < 150, "outputs spread over their grid"


def test_the_floors_attention_product_is_the_integer_product():
    product = Attention((2, 5, 8), (2, 5, 8), (2, 5, 5), False, True)
    assert product.macs == 2 * 5 * 5 * 8
    given = np.random.default_rng(2).integers(-12, 13, (2, 5, 8)).astype(np.int8)
    (found,) = run_floor(floor_file([product]), {"in_0": given}).values()
    exact = given.astype(np.int64) @ given.astype(np.int64).transpose(0, 2, 1) * 0.05
    assert np.abs(found - np.clip(np.rint(exact), -128, 127)).max() <= 1


# Bars.

SPREADS = {
    name: Spread(p50, p50)
    for name, p50 in (("tower", 12.0), ("floor", 10.0), ("float", 30.0), ("ncnn", 11.0), ("decisions", 0.3))
}


def verdicts(model: str, instruction_set: str, threads: int = 1, **changed: float) -> dict[str, bars.Verdict]:
    spreads = SPREADS | {name: Spread(p50, p50) for name, p50 in changed.items()}
    return {verdict.text: verdict for verdict in judge(spreads, Place(model, instruction_set, threads))}


def test_bars_are_judged_where_they_hold():
    found = verdicts("pocket", "avx512_vnni")
    judged = {text: verdict.kept for text, verdict in found.items() if verdict.kept is not None}
    assert judged == {
        "at most 1.1 times its floor": False,
        "decides at its exits in 5 % of its time": True,
        "at least 2.5 times as fast as float": True,
        "faster than ncnn": False,
    }
    assert found["at least 1.25 times as fast as dynamic"].why == "not measured, add --against dynamic"
    assert found["faster than ncnn"].ratio == pytest.approx(11 / 12)
    for model, most in (("ViT-B-32", 1.02), ("ViT-B-16-openai", 1.1), ("deit-tiny", 1.3), ("pocket", 1.1)):
        for share, kept in ((0.999, True), (1.001, False)):
            found = judge(SPREADS | {"tower": Spread(10 * most * share, 0)}, Place(model, "avx_vnni"))
            assert [verdict.kept for verdict in found if "floor" in verdict.text and verdict.kept is not None] == [kept]
    assert verdicts("pocket", "avx2", decisions=0.61)["decides at its exits in 5 % of its time"].kept is False
    assert verdicts("ViT-B-32", "avx2", decisions=0.23)["decides at its exits in 2 % of its time"].kept is True
    assert verdicts("pocket", "avx_vnni", float=29.99)["at least 2.5 times as fast as float"].kept is False
    assert verdicts("pocket", "avx_vnni", dynamic=14.99)["at least 1.25 times as fast as dynamic"].kept is False


def test_bars_that_do_not_hold_say_why():
    found = verdicts("pocket", "avx2", tower=99.0)
    assert {text for text, verdict in found.items() if verdict.kept is not None} == {"decides at its exits in 5 % of its time"}
    assert "this machine has avx2" in found["faster than ncnn"].why
    assert {verdict.why for verdict in verdicts("pocket", "avx_vnni", threads=2).values()} >= {
        "set for one thread, this ran on 2",
        "set for deit-tiny only",
    }
    assert all(verdict.kept is None for verdict in verdicts("pocket", "avx_vnni", threads=2).values())


def test_a_check_asks_for_the_peers_that_it_needs():
    require_peers((), Place("pocket", "avx2"))
    require_peers((), Place("pocket", "avx_vnni", 2))
    require_peers(ALL, Place("pocket", "avx_vnni"))
    with pytest.raises(UsageError, match=r"add: --against float,dynamic,onnxruntime,openvino,ncnn$"):
        require_peers(("float",), Place("pocket", "avx_vnni"))


def test_the_gain_is_one_line_and_says_where_the_other_is_better():
    def line(name: str, milliseconds: float, cosine: float | None = None, size: int | None = None) -> Line:
        return Line(name, "", Spread(milliseconds, milliseconds), None, size, cosine)

    own = [line("tower", 10, 0.9988, 26_000_000), line("floor", 9), line("decisions", 0.1)]
    assert gain(own) == []
    dynamic, ncnn = line("dynamic", 13, 0.9997, 25_000_000), line("ncnn", 9.5, 0.998, 27_000_000)
    beside_dynamic = "1.30 times as fast as dynamic, cosine 0.9988 for 0.9997 (less exact), 26.0 MB for 25.0 (larger)"
    beside_ncnn = "0.95 times as fast as ncnn, the fastest peer (slower), cosine 0.9988 for 0.9980, 26.0 MB for 27.0"
    assert gain([*own, dynamic]) == [f"gain: {beside_dynamic}."]
    assert gain([*own, dynamic, ncnn]) == [f"gain: {beside_dynamic}; {beside_ncnn}."]
    assert gain([*own, line("torch", 40)]) == ["gain: 4.00 times as fast as torch, the fastest peer."]


# Huge pages.


def test_the_command_starts_anew_once_with_huge_pages_and_no_other_command_does(monkeypatch):
    started = []
    monkeypatch.setattr(huge_pages.os, "execve", lambda *given: started.append(given))
    for words in (["build", "bench"], ["--help"], []):
        huge_pages.restart(words, {})
    assert started == []
    huge_pages.restart(["--debug", "bench", "a.tflite"], {"HOME": "/", "GLIBC_TUNABLES": "glibc.malloc.check=1"})
    ((program, words, environment),) = started
    assert (program, words) == (sys.executable, [sys.executable, *sys.orig_argv[1:]])
    assert environment == {"HOME": "/", "GLIBC_TUNABLES": "glibc.malloc.check=1:glibc.malloc.hugetlb=1"}
    huge_pages.restart(["bench"], environment)
    huge_pages.restart(["bench"], {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"})
    assert len(started) == 1
    assert huge_pages.without(environment) == {"HOME": "/"}


@pytest.mark.parametrize(
    ("said", "variable", "used"), [("[madvise]", "1", True), ("[never]", "1", False), ("[madvise]", "0", False)]
)
def test_a_result_says_whether_there_were_huge_pages(said, variable, used, tmp_path):
    (tmp_path / "enabled").write_text(f"always {said}")
    environment = {"GLIBC_TUNABLES": f"glibc.malloc.check=1:glibc.malloc.hugetlb={variable}"}
    assert huge_pages.in_use(environment, tmp_path / "enabled") is used
    assert huge_pages.in_use(environment, tmp_path / "none") is False


def test_the_console_script_asks_for_huge_pages_first(monkeypatch):
    class Restarted(BaseException):
        pass

    def restart(words):
        assert words == ["bench", "x.tflite"]
        raise Restarted

    monkeypatch.setattr(sys, "argv", ["convert", "bench", "x.tflite"])
    monkeypatch.setattr(huge_pages, "restart", restart)
    with pytest.raises(Restarted):
        main()


# Peers.


def test_every_peer_is_a_file_and_an_unknown_one_is_refused():
    assert sorted(ALL) == list(peers.NAMES)
    assert peers.parse_names(" torch,float,torch ") == ("torch", "float")
    assert peers.parse_names("") == ()
    with pytest.raises(UsageError, match="'tvm' is none of dynamic, float, ncnn, onnxruntime, openvino, torch"):
        peers.parse_names("float,tvm")


@pytest.mark.parametrize(
    ("name", "library"),
    [("onnxruntime", "onnxruntime"), ("openvino", "openvino"), ("openvino", "nncf"), ("ncnn", "ncnn"), ("ncnn", "pnnx")],
)
def test_a_peer_whose_library_is_not_installed_names_the_extra(name, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"needs {library}, .*pip install 'clip-rescue\[bench\]'"):
        peers.require((name,))
    peers.require(("float", "dynamic", "torch"))


PARAM = """7767517
4 4
Input                    in0          0 1 in0
LayerNorm                ln           1 1 in0 1 0=3 1=1.0e-5 2=1
Gemm                     gemm         1 1 1 2 10=4 2=0 3=1 4=0 5=1 6=1 7=4 8=2 9=3
GELU                     gelu         1 1 2 out0
"""
GEMM = np.array([[0.5, -1.0, 0.25], [0.1, 0.0, 0.75]], np.float32)


def binary(*arrays, tag=b"\0\0\0\0") -> bytes:
    norm, bias = np.arange(6, dtype=np.float32), np.array([7, 8], np.float32)
    return norm.tobytes() + tag + GEMM.tobytes() + tag + bias.tobytes() + b"".join(arrays)


def test_a_gemm_becomes_int8_as_ncnn_writes_it():
    param, content, layers = quantized(PARAM, binary())
    assert layers == 1
    assert [line.endswith(" 18=2") for line in param.splitlines()] == [False, False, False, False, True, False]
    norm, rest = content[:24], content[24:]
    assert norm == np.arange(6, dtype=np.float32).tobytes()
    assert int.from_bytes(rest[:4], "little") == 0x000D4B38
    codes = np.frombuffer(rest[4:10], np.int8).reshape(2, 3)
    scale = np.frombuffer(rest[-4:], np.float32)
    assert scale == pytest.approx(127.0)
    np.testing.assert_array_equal(codes, [[64, -127, 32], [13, 0, 95]])
    assert rest[10:12] == bytes(2), "padded to four bytes"
    assert rest[12:-4] == bytes(4) + np.array([7, 8], np.float32).tobytes()


def test_a_network_that_is_not_understood_is_refused():
    with pytest.raises(ValueError, match="4 bytes are left over"):
        quantized(PARAM, binary(bytes(4)))
    with pytest.raises(ValueError, match="expected float32"):
        quantized(PARAM, binary(tag=b"\x47\x6b\x30\x01"))
    with pytest.raises(ValueError, match="ends before its last layer"):
        quantized(PARAM, binary()[:-4])
    with pytest.raises(ValueError, match="constant right operand, transposed"):
        quantized(PARAM.replace("3=1", "3=0"), binary())


# A tiny conversion as a bundle, with its float files beside it.


@dataclasses.dataclass(frozen=True)
class Tiny:
    conversion: Conversion
    model: ClipModel
    file: object
    pictures: object


@pytest.fixture(scope="module")
def tiny(two_term, tmp_path_factory) -> Tiny:
    folder = tmp_path_factory.mktemp("bench")
    height, width = two_term.visual.image_size
    module = types.SimpleNamespace(visual=two_term.visual, encode_image=two_term.visual)
    preprocessing = Preprocessing(height, width)
    model = ClipModel("tiny", None, module, None, preprocessing, MEAN, DEVIATION, 100.0, "0" * 64, "f" * 16)
    calibrated = Calibrated(
        Origin(stream="two_term", observer="min-max"),
        exits=ExitCalibration(two_term.gates, (128,) * len(two_term.gates)),
    )
    manifest = describe(two_term.integer_file, two_term.stages, model, calibrated, "rpi")
    vectors = np.eye(3, manifest.embedding_size, dtype=np.float32)
    bank = LabelBank(vectors, ("a", "b", "c"), ("{}",), model.space_id)
    file = folder / "tiny.tflite"
    write_bundle(file, two_term.integer_file, manifest, {LABELS: labels_to_bytes(bank)})
    write_float_files(file, two_term.float_file)
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, image in enumerate(two_term.images[:6]):
        Image.fromarray((image.astype(np.int16) + 128).astype(np.uint8)).save(pictures / f"{number}.png")
    return Tiny(two_term, model, file, pictures)


@pytest.fixture(scope="module")
def measured(tiny):
    before = torch.get_num_threads()
    found = measure(
        tiny.file, Trial(ALL, 8, 1, (tiny.pictures,), Machine("a machine", "avx2")), lambda bundle: tiny.model, Silent()
    )
    torch.set_num_threads(before)
    return found


def test_every_peer_runs_the_same_network(measured):
    cosines = {line.name: line.cosine_least for line in measured.lines if line.cosine_least is not None}
    assert set(cosines) == {"tower", *ALL}
    for exact in ("float", "torch"):
        assert cosines[exact] > 0.99999
    for name in ("tower", "dynamic", "onnxruntime", "openvino", "ncnn"):
        assert 0.95 < cosines[name] < 0.99999, f"{name} is int8: close to float, and not float"
    assert sys.modules["openvino_telemetry"] is None, "nobody is told of a run"


def test_a_result_holds_medians_sizes_and_ratios(measured, tiny):
    lines = {line.name: line for line in measured.lines}
    assert [line.name for line in measured.lines] == ["tower", "floor", "decisions", *ALL]
    assert all(0 < line.spread.p50 <= line.spread.p90 for line in (*measured.lines, *measured.stages))
    assert measured.ratio == lines["tower"].spread.p50 / lines["floor"].spread.p50
    assert lines["tower"].macs == of_stages(tiny.conversion.integer_file)
    assert lines["floor"].macs == sum(product.macs for product in full_of(tiny.conversion))
    assert lines["tower"].size == tiny.file.stat().st_size
    assert lines["float"].size == float_path(tiny.file, "float").stat().st_size > 2 * lines["ncnn"].size
    assert [stage.name for stage in measured.stages] == ["stage_0", "stage_1", "stage_2"]
    assert sum(stage.macs for stage in measured.stages) == lines["tower"].macs
    assert sum(stage.spread.p50 for stage in measured.stages) < 1.5 * lines["tower"].spread.p50
    assert (measured.images, measured.runs, measured.machine.cpu) == (6, 8, "a machine")


def test_cold_start_is_measured_in_processes_of_their_own(measured):
    found = measured.cold
    assert 0 < found.import_seconds < found.seconds < 60
    assert 10e6 < found.import_bytes < found.peak_bytes < 400e6, "nothing of the workshop was loaded"
    assert found.growth_bytes == found.peak_bytes - found.import_bytes


def test_nothing_of_the_workshop_is_loaded_in_them():
    program = (
        "import sys; from convert.bench import first_answer; print(*(name for name in sys.modules if name.startswith('convert')))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["convert", "convert.bench", "convert.bench.first_answer"]


def test_a_cold_start_holds_the_medians_of_its_processes(monkeypatch):
    given = iter([cold._Start(0.3, 0.9, 30, 90), cold._Start(0.1, 0.2, 10, 40), cold._Start(0.2, 0.4, 20, 50)])
    monkeypatch.setattr(cold, "_start", lambda *words: next(given))
    assert cold.cold_start("a.tflite", "a.png", 1, starts=3) == cold.ColdStart(0.4, 0.2, 50, 20)


def test_a_cold_start_that_fails_tells_what_classify_said(tiny, tmp_path):
    with pytest.raises(ConvertError, match=r"exit code 3; it said last: classify: .*no such file"):
        cold.cold_start(tmp_path / "none.tflite", tiny.pictures / "0.png", 1, starts=1)


def test_the_result_is_plain_data_a_table_and_a_chart(measured):
    from rich.console import Console

    data = json.loads(json.dumps(measured.to_dict()))
    assert data["lines"][0]["spread"] == dataclasses.asdict(measured.lines[0].spread)
    assert data["cold"]["growth_bytes"] == measured.cold.growth_bytes
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(measured))
    shown = console.export_text()
    for word in ("tiny.tflite, one thread, a machine (avx2)", "INT8, this file", "stage_2, to block 3", "floor", *ALL):
        assert word in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    under = "\n".join(notes(measured))
    assert f"{measured.ratio:.2f} times its floor" in under
    assert " times as fast as dynamic" in under
    assert "this machine has avx2" in under
    svg = chart(measured)
    assert svg.lstrip().startswith("<?xml")
    assert svg.rstrip().endswith("</svg>")


def test_kept_float_files_outputs_equal_the_stages(tiny):
    interpreter = Interpreter(model_path=str(float_path(tiny.file, "float")))
    value = torch.from_numpy(pixels(tiny.conversion.images[:1]))
    for stage in tiny.conversion.stages:
        given = {stage.input_name: value.numpy()}
        found = interpreter.get_signature_runner(f"stage_{stage.part.index}")(**given)
        with torch.no_grad():
            expected = dict(zip(stage.output_names, stage(value), strict=True))
        assert set(found) == set(expected)
        for name, tensor in expected.items():
            np.testing.assert_allclose(found[name], tensor.numpy(), atol=2e-4 * float(tensor.abs().max()))
        value = expected.get("hidden")


def test_the_dynamic_file_has_int8_weights_inside_and_float_signatures(tiny):
    model, layers = read_model(float_path(tiny.file, "dynamic").read_bytes()), 0
    assert all(buffer.offset in (0, None) for buffer in model.buffers)
    for _, graph, inputs, outputs in signatures(model):
        for operator in graph.operators:
            if operator_name(model, operator) == "FULLY_CONNECTED":
                assert constant(model, graph.tensors[operator.inputs[1]]).dtype == np.int8
                layers += 1
        assert all(graph.tensors[index].type == 0 for index in (*inputs.values(), *outputs.values()))
    assert layers > 4
    assert dynamic_range(tiny.conversion.float_file) == float_path(tiny.file, "dynamic").read_bytes()


def subject(tiny: Tiny, folder) -> Subject:
    return Subject(folder / "b.tflite", read_bundle(tiny.file).manifest, tiny.model, tiny.conversion.images[:2], 1, folder)


@pytest.mark.parametrize("kind", ["float", "dynamic"])
def test_a_missing_float_file_names_the_command_that_makes_it(kind, tiny, tmp_path):
    with pytest.raises(UsageError, match=rf"needs .*b-{kind}\.tflite, which does not exist; .*convert build --keep-float --out"):
        peers.prepare(kind, subject(tiny, tmp_path))


def test_a_float_file_of_another_build_is_refused(tiny, plain, tmp_path):
    write_float_files(tmp_path / "b.tflite", plain.float_file)
    with pytest.raises(UsageError, match="has the signatures stage_0, stage_1, the bundle stage_0, stage_1, stage_2"):
        peers.prepare("float", subject(tiny, tmp_path))
    float_path(tmp_path / "b.tflite", "float").write_bytes(b"nothing of that kind")
    with pytest.raises(UsageError, match="expected a TensorFlow Lite file"):
        peers.prepare("float", subject(tiny, tmp_path))


# The commands.


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A model called as the embedded one is, whose bar it cannot keep: so small a network is all overhead."""
    folder = tmp_path_factory.mktemp("built")
    model, images = model_folder.write(folder / "pocket"), model_folder.write_pictures(folder / "pictures")
    bundle = folder / "out" / "pocket.tflite"
    words = ["build", "--model", str(model), "--images", str(images), "--out", str(bundle), "--keep-float"]
    assert main(words) == 0
    return types.SimpleNamespace(model=model, images=images, bundle=bundle, words=words)


def test_build_keeps_the_float_files_and_writes_over_none(built, capsys):
    names = sorted(path.name for path in built.bundle.parent.iterdir())
    assert names == ["pocket-dynamic.tflite", "pocket-float.tflite", "pocket-report", "pocket.tflite"]
    content = built.bundle.read_bytes()
    built.bundle.unlink()
    try:
        assert main(built.words) == 2
        assert "pocket-float.tflite exists; write over it with --force" in capsys.readouterr().err
    finally:
        built.bundle.write_bytes(content)


def bench(built, *words) -> int:
    return main(["bench", str(built.bundle), "--images", str(built.images), "--model", str(built.model), *words])


def test_bench_as_json_and_in_a_folder(built, tmp_path, capsys):
    assert bench(built, "--against", "float,dynamic", "--json", "--out", str(tmp_path / "out")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [line["name"] for line in found["lines"]] == ["tower", "floor", "decisions", "float", "dynamic"]
    assert found["lines"][3]["cosine_least"] > 0.99999
    assert found["machine"] == dataclasses.asdict(this_machine())
    assert found["runs"] == 50
    assert found["images"] == 20
    assert (tmp_path / "out" / "bench.svg").read_text().count("<svg") == 1


def test_bench_for_people_without_peers_loads_no_model(built, monkeypatch, capfd):
    monkeypatch.setattr("convert.commands.bench.matching_model", lambda *_: pytest.fail("a model was loaded"))
    assert main(["bench", str(built.bundle), "--images", str(built.images)]) == 0
    shown = capfd.readouterr()
    for word in ("pocket.tflite, one thread", "stage_2, to block 3", "without huge pages", "peak memory", "bar MISSED"):
        assert word in shown.out
    assert "timed rounds" in shown.err


def test_a_missed_bar_is_exit_code_1_only_when_it_is_checked(built, monkeypatch, capsys):
    monkeypatch.setattr("convert.commands.bench.this_machine", lambda: Machine("old", "avx2"))
    assert bench(built, "--check") == 1
    shown = capsys.readouterr()
    assert "convert: decides at its exits in 5 % of its time: missed" in shown.err
    assert "not judged (set for avx512_vnni and avx_vnni only, this machine has avx2)" in shown.out
    monkeypatch.setattr("convert.commands.bench.this_machine", lambda: Machine("new", "avx512_vnni"))
    assert bench(built, "--check", "--against", "torch") == 2
    assert "add: --against torch,float,dynamic,onnxruntime,openvino,ncnn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--against", "tvm"), "is none of dynamic, float"),
        (("--images", "/none"), "no such folder"),
        (("--models", "/none"), "no images to run on"),
    ],
)
def test_what_does_not_exist_is_exit_code_2(built, words, message, capsys):
    assert main(["bench", str(built.bundle), *words]) == 2
    assert message in capsys.readouterr().err


def test_fewer_than_fifty_runs_are_refused(built, capsys):
    assert bench(built, "--runs", "49") == 2
    assert "50" in capsys.readouterr().err
