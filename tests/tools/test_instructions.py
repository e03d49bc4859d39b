"""The tool that counts instructions: its counters' files read, the difference of two runs, the tables, and its exit codes."""

import shutil
import subprocess

import pytest

from convert.bench.floor import floor_file
from convert.bench.products import Linear
from tools.arm64.commands import CannotSetUp
from tools.arm64.runs import Machine
from tools.instructions import __main__ as tool
from tools.instructions import counts, processors, table, work
from tools.instructions.counts import ELSEWHERE, Cost
from tools.instructions.processors import NAMES, Processor

CACHEGRIND = """desc: I1 cache: 1
cmd: python
events: Ir
fl=a.c
fn=gemm__avx2
7 100
8 20
fn=void softmax<signed char>(int)
1 5
fl=b.c
fn=gemm__avx2
9 1
summary: 126
"""
SYMBOLS = {0x10: "gemm", 0x40: "softmax", 0x90: "last"}


def test_cachegrind_s_lines_are_summed_by_function():
    assert counts.of_cachegrind(CACHEGRIND) == {"gemm__avx2": 121, "void softmax<signed char>(int)": 5}


def test_blocks_are_runs_times_size_by_the_function_that_they_begin_in():
    found = counts.of_blocks("1010 4 10\n103f 2 1\n1040 3 2\n100f 1 7\n1091 1 9\n", SYMBOLS, 0x1000)
    assert found == {"gemm": 42, "softmax": 6, ELSEWHERE: 16}


def test_nm_s_functions_are_told_from_its_data():
    listed = (
        "0000000000000040 t softmax(int, int)\n0000000000000010 T gemm\n0000000000000050 d table\n                 U malloc\n"
    )
    assert counts.of_nm(listed) == {0x40: "softmax(int, int)", 0x10: "gemm"}


def test_an_image_is_what_the_longer_run_had_more():
    few, many = {"start": 900, "gemm": 100, "old": 3}, {"start": 900, "gemm": 700, "softmax": 203}
    assert counts.an_image(few, many, 2) == Cost(400e-6, "gemm", 0.75)


def test_a_longer_run_with_fewer_instructions_is_refused():
    with pytest.raises(ValueError, match="expected more instructions for 2 images more, found -1"):
        counts.an_image({"gemm": 5}, {"gemm": 4}, 2)


KERNELS = {200.0: "a", 160.0: "b", 250.0: "c", 300.0: "d"}
COSTS = {"avx2": dict(zip(table.FILES, (Cost(millions, kernel, 0.9) for millions, kernel in KERNELS.items()), strict=True))}


def test_ratios_are_this_file_over_its_floor_and_the_others_over_this_file():
    assert table.of_counts(COSTS).splitlines()[-1] == "| avx2 | 200.0 | 160.0 | 250.0 | 300.0 | 1.25 | 1.25 | 1.50 |"
    assert table.of_kernels(COSTS).splitlines()[2] == "| avx2 | INT8, this file | `a` | 90% |"


def test_stages_run_by_their_numbers_and_gates_do_not():
    assert work.in_order(["stage_10", "gate_0", "stage_2"]) == ["stage_2", "stage_10"]
    assert work.in_order(["floor"]) == ["floor"]


def test_litert_begins_at_its_lowest_mapping():
    maps = f"5000-6000 r-xp 1000 fe:00 1 /x/{work.LIBRARY}\n3000-4000 r--p 0 fe:00 1 /x/{work.LIBRARY}\n1000-2000 r-xp 0 fe:00 2 /libc\n"
    assert work.library_start(maps) == 0x3000
    assert work.library_start("") == 0


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    for name in ("a", "a-float", "a-dynamic"):
        (tmp_path / f"{name}.tflite").write_bytes(b"x")
    monkeypatch.setattr(tool, "contents", lambda bundle: dict.fromkeys(table.FILES, b"x"))
    return tmp_path / "a.tflite"


def given(monkeypatch, read):
    found = [Processor(Machine("avx2", None, None), read)]
    monkeypatch.setattr(tool, "processors", lambda names, cache: found)

    def output(machine, words, more):
        with open(more["COUNTS"], "w") as file:
            file.write(words[-1])
        return '{"start": 4096}'

    monkeypatch.setattr(tool, "output", output)


def test_it_prints_both_tables_of_what_two_images_more_cost(bundle, monkeypatch, capsys):
    given(monkeypatch, lambda text, start: {"gemm": int(text) * 10**6 + start})
    assert tool.main([str(bundle), "--on", "avx2"]) == 0
    printed = capsys.readouterr()
    assert "| avx2 | 1.0 | 1.0 | 1.0 | 1.0 | 1.00 | 1.00 | 1.00 |" in printed.out
    assert "| avx2 | float | `gemm` | 100% |" in printed.out
    assert len(printed.err.splitlines()) == len(table.FILES)


def test_it_ends_with_1_when_a_run_shows_nothing(bundle, monkeypatch, capsys):
    given(monkeypatch, lambda text, start: {"gemm": start})
    assert tool.main([str(bundle)]) == 1
    assert capsys.readouterr().err.startswith("instructions: did not pass: INT8, this file on avx2: expected more instructions")


def test_it_ends_with_3_where_a_processor_cannot_be_set_up(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in NAMES:
        assert tool.main([str(bundle), "--on", name, "--cache", str(tmp_path / "cache")]) == 3
    valgrind, *compilers = capsys.readouterr().err.splitlines()
    assert valgrind.endswith("expected valgrind, found none; install it: apt-get install valgrind")
    assert all(line.endswith("expected gcc, found none; install it: apt-get install gcc") for line in compilers)


@pytest.mark.parametrize("words", [["--on", "avx512"], ["--on", ""]])
def test_a_processor_that_is_none_is_a_wrong_command_line(bundle, words, capsys):
    with pytest.raises(SystemExit) as ended:
        tool.main([str(bundle), *words])
    assert ended.value.code == 2
    assert "is none of avx2, cortex-a53, cortex-a72, cortex-a76" in capsys.readouterr().err


def test_a_bundle_without_its_float_files_is_told_how_to_get_them(bundle, capsys):
    bundle.with_name("a-dynamic.tflite").unlink()
    with pytest.raises(SystemExit) as ended:
        tool.main([str(bundle)])
    assert ended.value.code == 2
    assert "convert build --keep-float" in capsys.readouterr().err


def test_the_plugin_compiles_without_a_warning(tmp_path):
    words = ["cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", str(processors.COUNTER)]
    subprocess.run(words, check=True)


@pytest.mark.slow  # five starts under Valgrind
def test_twice_the_products_are_twice_the_instructions_on_avx2_alone(tmp_path):
    try:
        (avx2,) = processors.processors(("avx2",), tmp_path / "cache")
    except CannotSetUp as error:
        pytest.skip(str(error))
    files = {str(count): floor_file([Linear(32, 512, 512)] * count) for count in (4, 8)}
    less, more = tool.costs(avx2, files).values()
    assert "avx2" in less.kernel
    assert more.millions / less.millions == pytest.approx(2, rel=0.1)
