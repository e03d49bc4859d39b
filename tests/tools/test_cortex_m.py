"""The tool that runs the microcontroller's C on emulated processors: its exit codes, and that it sees a difference."""

import subprocess

import pytest

from tests.tflite_runtime_app import tiny_bundle
from tools.arm64.commands import CannotSetUp
from tools.cortex_m import __main__ as tool
from tools.cortex_m import playback, toolchain
from tools.cortex_m.toolchain import CPUS, DidNotRun, Toolchain


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle.write(tmp_path / "tiny.tflite", tiny_bundle.build(two_term=True), tiny_bundle.bank())


class Host:
    """Compiles and runs on this machine, in place of an emulated one; `spoil` changes what the program printed."""

    def __init__(self, spoil=lambda text: text) -> None:
        self.spoil = spoil

    def compile(self, sources, cpu, program, optimised="-O2"):
        subprocess.run(["cc", *toolchain.STRICT, optimised, *map(str, sources), "-o", str(program)], check=True)

    def run(self, program, cpu):
        return self.spoil(subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def case(monkeypatch):
    monkeypatch.setattr(tool, "cases", lambda bundle: [playback.with_edges(playback.random_case(1, 7, 24, 10))])


def test_it_ends_with_0_and_a_row_for_each_processor_where_all_is_equal(bundle, case, monkeypatch, capsys):
    monkeypatch.setattr(tool, "set_up", lambda cache: Host())
    assert tool.main([str(bundle)]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == len(CPUS) * len(tool.OPTIMISED)
    assert all(row.endswith("| 15 of 15 |") for row in rows)


def test_it_ends_with_1_where_one_number_differs(bundle, case, monkeypatch, capsys):
    monkeypatch.setattr(tool, "set_up", lambda cache: Host(lambda text: text.replace(":", ": ", 1)))
    assert tool.main([str(bundle)]) == 1
    assert "14 of 15 (**no**)" in capsys.readouterr().out


def test_it_ends_with_1_where_the_program_does_not_run(bundle, case, monkeypatch, capsys):
    def refuse(text):
        raise DidNotRun("qemu-arm ended with -4: it said nothing")

    monkeypatch.setattr(tool, "set_up", lambda cache: Host(refuse))
    assert tool.main([str(bundle)]) == 1
    assert "cortex-m: did not pass: qemu-arm ended with -4" in capsys.readouterr().err


def test_it_ends_with_2_for_a_bundle_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main([str(tmp_path / "none.tflite")])
    assert stop.value.code == 2


def test_it_ends_with_3_where_it_cannot_be_set_up(bundle, case, monkeypatch, capsys):
    def refuse(cache):
        raise CannotSetUp("expected apt-get, found none; this needs Debian")

    monkeypatch.setattr(tool, "set_up", refuse)
    assert tool.main([str(bundle)]) == 3
    assert "cortex-m: cannot be set up here: expected apt-get" in capsys.readouterr().err


def test_a_bundle_that_remembers_no_pictures_is_told(bundle, monkeypatch, capsys):
    monkeypatch.setattr(tool, "set_up", lambda cache: Host())
    with pytest.raises(SystemExit) as stop:
        tool.main([str(bundle)])
    assert stop.value.code == 2
    assert "expected labels and 200 remembered images" in capsys.readouterr().err


def test_another_machine_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(toolchain.platform, "machine", lambda: "riscv64")
    with pytest.raises(CannotSetUp, match="expected Linux on x86-64, found Linux on riscv64"):
        toolchain.set_up(tmp_path)


def test_a_compiler_that_is_not_there_is_told_in_one_line(tmp_path):
    with pytest.raises(DidNotRun, match="arm-none-eabi-gcc did not start"):
        Toolchain(tmp_path, tmp_path / "qemu").compile([], "cortex-m55", tmp_path / "x")


def test_outputs_of_different_length_differ_everywhere():
    assert list(playback.different("a\nb\n", "a\n")) == [0, 1]
    assert list(playback.different("a\nb\n", "a\nc\n")) == [1]
