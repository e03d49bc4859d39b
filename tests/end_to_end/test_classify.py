"""The program as its users meet it: lines, JSON, exit codes, and what it must not import."""

import json
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app import classifier, cli
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.cli import main

WITHOUT_WORKSHOP = """
import sys
class Blocked:
    names = {"torch", "tensorflow", "typer", "convert", "calibration", "targets", "open_clip", "scipy", "matplotlib"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ImportError(name + " is not on the board")
sys.meta_path.insert(0, Blocked())
try:
    import torch
except ImportError:
    pass
else:
    sys.exit("the block does not work")
from tflite_runtime_app.cli import main
from tests.clone import ROOT
sys.exit(main())
"""


def words(*values) -> list[str]:
    return [str(value) for value in values]


def python(*arguments, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        words(sys.executable, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def test_a_line_for_people(bundle_path, picture, capsys):
    assert main(words(bundle_path, picture)) == 0
    out, err = capsys.readouterr()
    assert out.startswith(str(picture))
    assert "full depth (block 6 of 6)" in out
    assert all(name in out for name in ("cat", "dog", "owl", "red fox"))
    assert "1 image; full depth (block 6 of 6): 100%; mean" in err


def test_top_exits_and_none_of_these(tmp_path, tiny, picture, capsys):
    early = tiny_bundle.with_thresholds(tiny.manifest, 128, -128)
    path = tiny_bundle.write(tmp_path / "e.tflite", tiny, tiny_bundle.bank(), gates=early.gates, none_threshold=1.0)
    assert main(words("run", path, picture, "--top", 1)) == 0
    out = capsys.readouterr().out
    assert "none of these (closest: " in out
    assert out.count("%") == 1
    assert "exit 1 (block 4 of 6)" in out
    assert main(words(path, picture, "--full-depth")) == 0
    assert "full depth" in capsys.readouterr().out


def test_json_has_exactly_the_promised_keys(bundle_path, picture, capsys):
    assert main(words(bundle_path, picture, picture, "--json", "--top", 2)) == 0
    out, err = capsys.readouterr()
    assert err == "" or "XNNPACK" in err
    first, second = (json.loads(line) for line in out.splitlines())
    assert list(first) == ["source", "frame", "top", "none", "like", "sure", "exit", "block", "macs", "ms", "stages_ms"]
    assert (first["source"], first["frame"], first["none"]) == (str(picture), 0, False)
    assert (first["exit"], first["block"], first["macs"]) == (2, 6, 6033)
    assert [list(match) for match in first["top"]] == [["label", "score", "cosine"]] * 2
    assert first["top"] == second["top"]
    assert first["top"][0]["cosine"] >= first["top"][1]["cosine"]
    assert len(first["stages_ms"]) == 3
    assert sum(first["stages_ms"]) < first["ms"]


def test_broken_and_missing_sources_are_reported_and_skipped(tmp_path, bundle_path, picture, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:200])
    sources = (broken, picture, tmp_path / "absent.png", tmp_path / "*.webp")
    for one in (broken, tmp_path / "*.webp"):  # a frame that fails, and a source that fails
        assert main(words(bundle_path, one, picture)) == 1
    capsys.readouterr()
    assert main(words(bundle_path, *sources)) == 1
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == [str(picture)]
    assert [line for line in err.splitlines() if line.startswith("classify: ")] != []
    assert "1 image, 3 failed" in err
    assert "Traceback" not in err
    assert main(words(bundle_path, *sources, "--json")) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["source"] for record in records] == words(*sources)
    assert [list(record) for record in records if "error" in record] == [["source", "frame", "error"]] * 3


def test_labels_of_ones_own(tmp_path, tiny, picture, capsys):
    bare = tiny_bundle.write(tmp_path / "bare.tflite", tiny)
    assert main(words(bare, picture)) == 3
    assert f"convert labels {bare} --labels LABELS.txt --out labels.npz" in capsys.readouterr().err
    for space, code in ((tiny_bundle.SPACE, 0), ("another", 3)):
        (tmp_path / "labels.npz").write_bytes(labels_to_bytes(tiny_bundle.bank(("newt", "heron"), space)))
        assert main(words(bare, picture, "--labels", tmp_path / "labels.npz")) == code
        out, err = capsys.readouterr()
        assert ("newt" in out) is (code == 0)
        assert ("convert labels" in err) is (code == 3)


def test_refused_bundles_end_in_three_and_one_line(tmp_path, bundle_path, picture, capsys):
    bundle_path.write_bytes(bundle_path.read_bytes()[:-1])
    for path in (bundle_path, tmp_path / "absent.tflite"):
        assert main(words(path, picture)) == 3
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"classify: {path}")
        assert err.count("\n") == 1
    assert main(words(bundle_path, picture, "--debug")) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["bundle.tflite"], ["run"], ["a", "b", "--top", "0"], ["a", "b", "--threads", "x"], ["a", "b", "--no-such"]]
)
def test_usage_errors_end_in_two(arguments, capsys):
    assert main(arguments) == 2
    assert "usage: classify" in capsys.readouterr().err


def test_help_and_version(capsys):
    for arguments in (["--help"], ["run", "--help"], ["--version"], ["run", "--version"]):
        assert main(arguments) == 0
        assert "classify" in capsys.readouterr().out


def test_subcommands_win_over_files(bundle_path, picture):
    assert cli.parse(["run", "a", "b"]).file == "a"
    assert cli.parse(["./run", "b"]).file == "./run"


def test_an_unexpected_error_is_one_line(bundle_path, picture, capsys, monkeypatch):
    monkeypatch.setattr(classifier, "answer", lambda *_: 1 / 0)
    assert main(words(bundle_path, picture)) == 1
    assert "classify: internal error: ZeroDivisionError" in capsys.readouterr().err


def test_runs_where_the_workshop_is_not_installed(bundle_path, picture):
    process = python("-c", WITHOUT_WORKSHOP, bundle_path, picture, "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["block"] == 6


# What a picture does without: other commands, live sources, other sinks, text towers, and what of Python and Pillow only these need.
LEFT_ALONE = {
    *(f"tflite_runtime_app.commands.{name}" for name in ("doctor", "explain", "recalibrate", "run_live", "soak")),
    *(f"tflite_runtime_app.commands.{name}" for name in ("install_model", "install_service")),
    *(f"tflite_runtime_app.sources.{name}" for name in ("fake", "libav", "picamera", "raw", "rpicam", "stream", "usb", "video")),
    *(f"tflite_runtime_app.sinks.{name}" for name in ("commands", "jsonl", "mqtt", "snapshots", "stats", "table", "web")),
    *(f"tflite_runtime_app.text.{name}" for name in ("file", "label_list", "label_tables", "tokenizer", "tower", "vectors")),
    *(f"tflite_runtime_app.live.{name}" for name in ("child", "loop", "supervised", "watched_folder")),
    *(f"tflite_runtime_app.admission.{name}" for name in ("flatbuffer_check", "flatbuffer_reader", "flatbuffer_schema")),
    *("tflite_runtime_app.checks", "tflite_runtime_app.exits.refit", "tflite_runtime_app.inference.jpeg_end"),
    *(f"PIL.{name}ImagePlugin" for name in ("Avif", "Bmp", "Gif", "Png", "Ppm", "Tiff", "WebP")),
    *("av", "cryptography", "paho", "pillow_heif", "tornado"),
    *("asyncio", "concurrent.futures", "http", "multiprocessing", "secrets", "sqlite3", "ssl", "unittest", "uuid", "xml"),
}
MODULES = """
import sys
from tflite_runtime_app.cli import main
code = main(sys.argv[1:])
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def test_a_picture_waits_for_nothing_that_it_does_not_need(tmp_path, bundle_path):
    Image.new("RGB", (20, 30)).save(tmp_path / "picture.jpg")
    command = words(sys.executable, "-c", MODULES, bundle_path, tmp_path / "picture.jpg")
    for _ in range(2):  # at the first start the model may have to be tried
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    loaded = set(done.stderr.splitlines()[-1].split())
    assert {"tflite_runtime_app.commands.run", "PIL.JpegImagePlugin"} <= loaded
    assert not loaded & LEFT_ALONE


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(bundle_path, number, code):
    def heeded() -> None:  # a shell's background jobs ignore SIGINT, and their children with them
        signal.signal(number, signal.SIG_DFL)

    with python("-m", "tflite_runtime_app", bundle_path, "fake:64x48,rate=1", preexec_fn=heeded) as process:
        assert "block 6 of 6" in process.stdout.readline()
        process.send_signal(number)
        try:
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == code
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_error(bundle_path, picture):
    with python("-m", "tflite_runtime_app", bundle_path, *[picture] * 300, "--json") as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(30) == 0
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_a_full_disk_is_one_line(bundle_path, picture):
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "tflite_runtime_app", str(bundle_path), str(picture), "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = [line for line in process.stderr.splitlines() if "XNNPACK" not in line]
    assert process.returncode == 1
    assert said == ["classify: the answers cannot be written: no space left; make room, or send them elsewhere"]
