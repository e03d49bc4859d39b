"""Floods of labels: what a board has no room for is refused in one line before it is read, and memory stays within a service's limit."""

import os
import subprocess
import sys

import pytest

from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle, tiny_text
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.cli import main
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.text import label_source
from tflite_runtime_app.text.beside import text_path
from tflite_runtime_app.text.label_source import MOST_LABELS, LabelSource

LIMIT = 512  # MB, that of the unit which `classify install-service` writes
# Reads the labels file under a limit on memory, and prints what became of it and the most memory that was had, in MB.
PROGRAM = """
import sys
from tflite_runtime_app.cli import main
code = main(["run", *sys.argv[1:]])
with open("/proc/self/status") as file:
    (most,) = (line.split()[1] for line in file if line.startswith("VmHWM"))
print(code, int(most) // 1024)
"""


def flood(kind: str) -> bytes:
    return {
        "many labels": b"".join(b"label number %d\n" % number for number in range(100_000)),
        "one line of 50 MB": b"x" * 50_000_000,
        "many lines of 50 MB": b"another label\n" * 3_600_000,
        "commas": b"a,b," * 12_000_000,
        "empty lines": b"\n" * 50_000_000,
        "no text": bytes(range(256)) * 200_000,
        "UTF-16": b"\xff\xfe" + "дом\n".encode("utf-16-le") * 6_000_000,
    }[kind]


@pytest.mark.parametrize(
    "kind", ["many labels", "one line of 50 MB", "many lines of 50 MB", "commas", "empty lines", "no text", "UTF-16"]
)
def test_a_flood_of_labels_is_refused_in_one_line_within_the_memory_of_a_service(tmp_path, bundle_path, picture, kind):
    path = tmp_path / "labels.txt"
    path.write_bytes(flood(kind))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle_path), str(picture), "--labels", str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    code, most = map(int, done.stdout.split())
    assert code == 3
    assert most < LIMIT / 2, most
    told = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert len(told) == 1
    assert "expected at most" in told[0]


def test_a_matrix_with_more_than_there_is_room_for_is_refused(tmp_path, bundle_path, monkeypatch):
    path = tmp_path / "bank.npz"
    path.write_bytes(labels_to_bytes(tiny_bundle.bank()))
    bundle = read_bundle(bundle_path)
    assert LabelSource(bundle, str(path)).read().names
    monkeypatch.setattr(label_source, "MOST_MATRIX", 100)
    for source in (LabelSource(bundle, str(path)), LabelSource(bundle, "cat", str(path))):
        with pytest.raises(LabelError, match=r"bank\.npz: expected at most 0 MB, found 0; make one of fewer labels"):
            source.read()


def test_a_flood_that_is_typed_leaves_the_old_labels(tmp_path, bundle_path):
    tiny_text.write(text_path(bundle_path))
    source = LabelSource(read_bundle(bundle_path), "cat, newt")
    before = source.read().names
    for text, words in (
        (
            "\n".join(f"label {number} of many" for number in range(MOST_LABELS + 1)),
            f"expected at most {MOST_LABELS} labels, found {MOST_LABELS + 1}",
        ),
        ("x, " * 3_000_000, "expected at most 2 MB of labels"),
    ):
        with pytest.raises(LabelError, match=words):
            source.change(text)
    assert source.read().names == before


def test_labels_changed_again_and_again_take_no_more_memory(tmp_path, bundle_path):
    tiny_text.write(text_path(bundle_path))
    source = LabelSource(read_bundle(bundle_path), cache=tmp_path / "cache")

    def memory() -> float:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    found = []
    for turn in range(14):
        source.change("\n".join(f"word {'n' * 180} {turn:02} {number:04}" for number in range(1000)))
        found.append(memory())
    assert max(found[-2:]) - found[0] < 120, found  # of 14,000 names 10,000 are kept, on disk
    assert max(found) < LIMIT + memory(), found
    (file,) = (tmp_path / "cache").glob("*.npz")
    assert file.stat().st_size < 20e6
    assert main(["run", str(bundle_path), "absent.png"]) == 1
