"""`convert check` passes what a board holds, fails what it does not with exit code 1, and `convert targets` lists the boards."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from convert.board.check import check
from convert.board.footprint import measure
from convert.board.work import unfit, work
from convert.cli import main
from targets import profile as boards
from targets.cost import Work
from targets.profile import load
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle.file import read_bundle, write_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes


@pytest.fixture(scope="module")
def tiny() -> tiny_bundle.Tiny:
    return tiny_bundle.build(two_term=True)


@pytest.fixture
def file(tmp_path, tiny) -> Path:
    return tiny_bundle.write(tmp_path / "tiny.tflite", tiny, tiny_bundle.bank())


def board(tmp_path, monkeypatch, **facts) -> None:
    """There is one more board, `x`: an `rpi` with other facts."""
    for path in boards.FOLDER.glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text("utf-8"))
    lines = [f"{key} = {json.dumps(value)}" for key, value in facts.items()]
    (tmp_path / "x.toml").write_text(
        "\n".join(['base = "rpi"', *lines, "[sources]", *(f'{key} = "a test"' for key in facts)]), "utf-8"
    )
    monkeypatch.setattr(boards, "FOLDER", tmp_path)


def test_a_small_file_keeps_every_limit_of_every_pi(file, capsys):
    for target in ("rpi", "rpizero2w", "rpi3", "rpi4", "rpi5"):
        assert main(["check", str(file), "--target", target]) == 0
        shown = capsys.readouterr().out
        assert shown.count("kept") == 5
        assert "No board of ours was measured" in " ".join(shown.split())
        assert "tiles of" not in shown, "its 4 tokens fill a tile of every Pi's"
        assert max(map(len, shown.splitlines())) <= 100


def test_as_json(file, capsys):
    assert main(["check", str(file), "--target", "rpi4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["target"], found["threads"], found["missed"]) == ("rpi4", 4, [])
    assert found["measured_on_a_board"] is False
    assert [stage["signature"] for stage in found["stages"]] == ["stage_0", "stage_1", "stage_2", "gate_0", "gate_1"]
    assert found["ms"] == pytest.approx(sum(stage["ms"] for stage in found["stages"]))
    assert found["error"]["points"] == 4
    assert 0 < found["footprint"]["import_bytes"] < found["footprint"]["peak_bytes"]
    assert len(found["verdicts"]) == 5


def test_a_board_that_nothing_was_published_for_gets_no_time_and_no_verdict_on_it(file, capsys):
    assert main(["check", str(file), "--target", "host"]) == 0
    shown = capsys.readouterr().out
    assert "not judged" in shown
    assert "4 tokens fill 57 % of the rows of the int8 kernel's tiles of 7." in " ".join(shown.split())
    assert main(["check", str(file), "--target", "host", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tiles"] == {"tokens": 4, "tile_rows": 7, "filled": pytest.approx(4 / 7), "fuller": 0}
    assert (found["ms"], found["error"], found["verdicts"][-1]["kept"]) == (None, None, None)
    assert found["verdicts"][-1]["why"] == "nothing was published for host; measure with: convert bench"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"forbidden": ["SUM", "MEAN"]}, "operators and types its kernels lack: 1 MEAN in stage_0, 1 MEAN in stage_1"),
        ({"types": ["INT8"]}, "on INT32 in stage_0"),
        ({"peak_mb": 32, "model_mb": 1}, "peak memory, measured here "),
    ],
)
def test_a_limit_that_is_missed_ends_with_1_and_its_numbers(file, tmp_path, monkeypatch, capsys, facts, told):
    board(tmp_path, monkeypatch, **facts)
    assert main(["check", str(file), "--target", "x"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"convert: {file} misses x's limits: ")
    assert told in captured.err
    assert captured.out.count("missed") == 1
    assert captured.out.count("kept") == 4, "the others are judged all the same"


def test_a_file_too_large_and_a_time_too_long_are_missed(file):
    bundle, profile = read_bundle(file), load("rpi")
    found = check(bundle, replace(profile, model_mb=0, image_px=4, latency_ms=0))
    assert [verdict.what for verdict in found.missed] == ["file", "longest side of an image", "latency, predicted"]
    assert found.to_dict()["missed"] == [verdict.what for verdict in found.missed]


def test_memory_is_that_of_a_process_that_ran_the_file(tmp_path, tiny, file):
    """A bundle with 12 MB more to read takes at least so much more."""
    large = tmp_path / "large.tflite"
    bank = tiny_bundle.bank()
    report = json.dumps({"filling": "x" * (12 << 20)}).encode()
    write_bundle(large, tiny.flatbuffer, tiny.manifest, {"labels.npz": labels_to_bytes(bank), "report.json": report})
    small, more = measure(file), measure(large)
    assert 0 < small.growth_bytes < 16 << 20
    assert more.growth_bytes - small.growth_bytes > 12 << 20


def test_a_file_that_the_board_refuses_is_refused_before_it_runs(tmp_path, capsys, tiny):
    path = tmp_path / "x.tflite"
    path.write_bytes(b"no bundle at all")
    assert main(["check", str(path)]) == 3
    flatbuffer = bytearray(tiny.flatbuffer)
    flatbuffer[:4] = (len(flatbuffer) * 2).to_bytes(4, "little")  # the root lies outside; digests are right all the same
    write_bundle(path, bytes(flatbuffer), tiny.manifest, {"labels.npz": labels_to_bytes(tiny_bundle.bank())})
    assert main(["check", str(path)]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("convert: ") for line in lines] == [True, True]


def test_an_unknown_target_is_a_usage_error(file, capsys):
    assert main(["check", str(file), "--target", "rpi6"]) == 2
    assert "no target 'rpi6'; there are: host, mcu-alif-e8" in capsys.readouterr().err


def test_work_is_counted_operator_by_operator(tiny):
    """Reference: by hand, from the shapes in tiny_bundle: 4 tokens of 8, read as 48 numbers from the image, in two terms."""
    found = work(tiny.flatbuffer)
    assert found["stage_0"].macs == 2 * 4 * 8 * 48 + 8 * 6 + 8
    assert found["stage_1"].macs == 2 * 4 * 8 * 8 + 8 * 6 + 8
    assert found["stage_2"].macs == 2 * 4 * 8 * 8 + 8 * 6, "the last stage puts out no variance"
    add, layers, mean, heads = 3 * 32, 2 * (32 + 64 + 32), 32 + 4 + 8, (8 + 48 + 6) + (8 + 8 + 1)
    assert found["stage_1"].bytes == add + layers + mean + heads, "what is only reshaped does not move"
    assert found["gate_0"] == Work(3, 3 + 3 + 1, 1, {})


def test_operators_and_types_are_told_with_their_number(tiny):
    assert unfit(tiny.flatbuffer, ("INT8", "INT32"), ("SUM",)) == ()
    assert "1 MEAN in stage_2" in unfit(tiny.flatbuffer, ("INT8", "INT32"), ("MEAN",))
    assert any("on INT8 in gate_0" in told for told in unfit(tiny.flatbuffer, ("INT32",), ()))


def test_targets_lists_every_board_within_a_hundred_columns(capsys):
    assert main(["targets"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    for name in boards.names():
        line = next(line for line in shown.splitlines() if line.split()[:1] == [name])
        assert str(load(name).peak_mb) in line
        assert str(load(name).latency_ms) in line
