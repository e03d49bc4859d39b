"""What an interpreter allocates while it loads lies in huge pages, where Linux gives them; elsewhere nothing changes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clone import ROOT
from tflite_runtime_app.inference import huge_pages as module
from tflite_runtime_app.inference.huge_pages import SIZE, huge_pages

PROGRAM = """
import sys
from tflite_runtime_app.inference.huge_pages import huge_pages

def huge():
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHugePages"))

before = huge()
with huge_pages(int(sys.argv[1])):
    kept = [bytearray(1 << 20) for _ in range(32)]
    for piece in kept:
        piece[::4096] = bytes(256)
print(huge() - before, len(kept))
"""


def megabytes_in_huge_pages(asked: int) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(asked)], capture_output=True, text=True, check=True, cwd=ROOT)
    return int(done.stdout.split()[0])


def offered() -> bool:
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return enabled.is_file() and "[madvise]" in enabled.read_text() and int(SIZE.read_text()) <= module.LARGEST


@pytest.mark.skipif(not offered(), reason="this kernel gives huge pages to everybody or to nobody")
def test_pieces_larger_than_a_page_of_memory_lie_in_huge_pages_where_they_are_asked_for():
    assert megabytes_in_huge_pages(40 << 20) >= 24
    assert megabytes_in_huge_pages(1 << 20) == 0, "a small model asks for none"


@pytest.mark.parametrize("said", ["33554432\n", "none\n", None])
def test_a_kernel_of_large_pages_or_without_huge_ones_changes_nothing(said, tmp_path, monkeypatch):
    if said is not None:
        (tmp_path / "size").write_text(said)
    monkeypatch.setattr(module, "SIZE", tmp_path / "size")
    monkeypatch.setattr(module.ctypes, "CDLL", lambda _: pytest.fail("the C library was asked"))
    with huge_pages(1 << 30):
        pass
