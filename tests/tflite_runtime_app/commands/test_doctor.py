"""Each check on what it would find on other machines, and the command on this one."""

import subprocess
import sys

import pytest
from PIL import Image

from tests.clone import ROOT
from tflite_runtime_app.checks import camera, machine, software
from tflite_runtime_app.checks.row import COLUMNS
from tflite_runtime_app.cli import main


@pytest.mark.parametrize(
    ("check", "state", "word"),
    [
        (software.python((3, 11, 2), 64), "ok", "3.11.2, 64 bits"),
        (software.python((3, 11, 2), 32), "bad", "64-bit Raspberry Pi OS"),
        (software.python((3, 9, 2), 64), "bad", "Bookworm"),
        (software.glibc("glibc 2.36"), "ok", "2.36"),
        (software.glibc("glibc 2.31"), "bad", "2.34"),
        (software.glibc(None), "bad", "glibc"),
        (software.litert(None), "bad", "pip install"),
        (software.litert("2.1.2"), "bad", "2.3.0"),
        (software.numpy_abi("1.24.2", "1.24.2", True), "ok", "1.24.2"),
        (software.numpy_abi("2.1.3", "1.24.2", True), "bad", "rpi-bookworm.txt"),
        (software.numpy_abi("2.1.3", "1.24.2", False), "note", "source rpi"),
        (software.numpy_abi("2.1.3", None, False), "ok", "2.1.3"),
        (machine.cpu(frozenset({"asimddp", "fp"})), "ok", "dot product"),
        (machine.cpu(frozenset({"asimd"})), "note", "little over float"),
        (machine.governor("powersave"), "note", "ondemand"),
        (machine.governor("ondemand"), "ok", "ondemand"),
        (machine.memory("MemTotal: 425000 kB\nMemAvailable: 100000 kB\n"), "bad", "102 MB free"),
        (machine.memory("MemTotal: 8000000 kB\nMemAvailable: 7000000 kB\n"), "ok", "7168 MB"),
        (machine.memory(""), "note", "not told"),
        (machine.temperature(85.2), "bad", "heat sink"),
        (machine.temperature(None), "ok", "not told"),
        (machine.power("under-voltage, throttled earlier"), "bad", "power supply"),
        (machine.power("throttled earlier"), "note", "fan"),
        (machine.power("no"), "ok", "never"),
        (camera.devices([]), "note", "plug one in"),
        (camera.devices(["/no/such/video9"]), "bad", "usermod -aG video"),
        (camera.listed("Available cameras\n-----\n0 : imx708 [4608x2592] (/base/axi/i2c)\n"), "ok", "imx708"),
        (camera.listed("No cameras available!\n"), "note", "cable"),
        (camera.colour_order(Image.new("RGB", (64, 48), (200, 30, 20))), "ok", "red 200"),
        (camera.colour_order(Image.new("RGB", (64, 48), (20, 30, 200))), "bad", "swapped"),
        (camera.colour_order(Image.new("RGB", (64, 48), (90, 90, 90))), "note", "not clearly red"),
    ],
)
def test_what_each_check_makes_of_it(check, state, word):
    assert check.state == state
    assert word in f"{check.found} {check.remedy}"
    assert check.state != "bad" or check.remedy, "what is bad has a remedy"


def test_flags_are_read_as_arm_and_x86_write_them():
    assert machine.flags("processor\t: 0\nFeatures\t: fp asimd asimddp\n") == {"fp", "asimd", "asimddp"}
    assert machine.flags("flags\t\t: fpu avx2\nflags\t\t: fpu\n") == {"fpu", "avx2"}


def test_the_systems_own_numpy_and_picamera_are_found(tmp_path):
    (tmp_path / "numpy-1.24.2.egg-info").mkdir()
    (tmp_path / "picamera2").mkdir()
    assert software.system_numpy(tmp_path) == "1.24.2"
    assert software.has_picamera(tmp_path)
    assert software.system_numpy(tmp_path / "absent") is None


def test_the_command_looks_at_everything_here(bundle_path, capsys):
    code = main(["doctor", str(bundle_path)])
    out = capsys.readouterr().out
    for name in ("Python", "C library", "LiteRT", "numpy", "CPU", "memory", "Pi camera", "bundle", "speed"):
        assert any(line[6:].startswith(name) for line in out.splitlines()), name
    assert code == (1 if "BAD " in out else 0)


def test_a_damaged_bundle_is_bad(bundle_path, capsys):
    bundle_path.write_bytes(bundle_path.read_bytes()[:-1])
    assert main(["doctor", str(bundle_path)]) == 1
    assert "BAD   bundle" in capsys.readouterr().out


def test_red_card_on_a_synthetic_camera():
    assert camera.red_card("fake:64x48,rate=20").name == "red card"
    assert camera.red_card("/no/such/device.mp4").state == "bad"


def test_it_runs_where_nothing_of_the_workshop_is():
    code = (
        "import sys; from tflite_runtime_app.cli import main; main(['doctor']); "
        "sys.exit(bool({'torch', 'av', 'tornado'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_row_for_the_table_of_boards(bundle_path, capsys):
    assert main(["doctor", str(bundle_path), "--row"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert len(cells) == len(COLUMNS)
    facts = dict(zip(COLUMNS, cells, strict=True))
    assert facts["model"].startswith("tiny")
    assert float(facts["ms"]) > 0 and float(facts["1 thread, ms"]) > 0
    assert main(["doctor", "--row"]) == 2


def test_the_table_of_boards_has_these_columns():
    table = (ROOT / "docs" / "boards.md").read_text("utf-8")
    assert "| " + " | ".join(COLUMNS) + " |" in table
