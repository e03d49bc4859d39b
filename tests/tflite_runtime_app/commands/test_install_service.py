"""The unit that systemd gets, judged by systemd itself where it is installed."""

import re
import shutil
import subprocess

import pytest

from tflite_runtime_app.cli import main
from tflite_runtime_app.commands.install_service import quoted, unit
from tflite_runtime_app.errors import UsageError

ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "my bundle.tflite"
    path.write_bytes(b"x")
    return path


def words_of(text):
    line = re.search(r"^ExecStart=(.*)$", text, re.M)[1]
    return [part.strip('"') for part in re.findall(r'"(?:[^"\\]|\\.)*"|\S+', line)]


@pytest.mark.parametrize("user", [False, True])
def test_what_is_to_run_stands_in_it_with_whole_paths(bundle, monkeypatch, user):
    monkeypatch.chdir(bundle.parent)
    text = unit([bundle.name, "rpi", "--serve", "8080"], user, "512M", ())
    assert words_of(text)[1:] == ["-m", "tflite_runtime_app", "run", str(bundle), "rpi", "--serve", "8080"]
    for line in ("Type=notify", "WatchdogSec=60", "Restart=always", "NoNewPrivileges=yes", "MemoryMax=512M"):
        assert line in text.splitlines()
    assert ("ProtectSystem=strict" in text) is not user
    assert f"WantedBy={'default' if user else 'multi-user'}.target" in text


def test_a_folder_that_stays_empty_is_no_reason_to_start_anew(bundle):
    assert "WatchdogSec" not in unit([str(bundle), str(bundle.parent), "--watch"], False, "512M", ())


def test_signs_that_systemd_would_read_are_taken_literally():
    assert quoted("plain-1.2") == "plain-1.2"
    assert quoted('say "50 %" of $HOME \\') == '"say \\"50 %%\\" of $$HOME \\\\"'
    with pytest.raises(UsageError, match="control"):
        quoted("two\nlines")


@pytest.mark.skipif(ANALYZE is None, reason="NOT CHECKED by systemd: systemd-analyze is not installed")
@pytest.mark.parametrize("user", [False, True])
def test_systemd_finds_nothing_wrong(bundle, tmp_path, user):
    path = tmp_path / "clip-rescue.service"
    (tmp_path / "shots").mkdir()
    path.write_text(
        unit(
            [str(bundle), "rtsp://me:s%20cret@camera/1", "--on-label", 'a "cat"=/bin/echo $HOME %h'],
            user,
            "1G",
            (str(tmp_path / "shots"),),
        )
    )
    found = subprocess.run([ANALYZE, "verify", "--man=no", path], capture_output=True, text=True, check=False)
    ours = [line for line in found.stderr.splitlines() if "clip-rescue" in line]
    assert ours == []
    assert found.returncode == 0, found.stderr


def test_it_is_written_where_systemd_looks(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert main(["install-service", "--user", "--", str(bundle), "usb"]) == 0
    out, err = capsys.readouterr()
    path = tmp_path / "home" / ".config" / "systemd" / "user" / "clip-rescue.service"
    assert out.strip() == str(path)
    assert "systemctl --user enable --now clip-rescue" in err
    assert "usb" in path.read_text()
    assert main(["install-service", "--user", "--", str(bundle), "usb"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["install-service", "--user", "--print", "--", str(bundle), "rpi"]) == 0
    assert capsys.readouterr().out.startswith("[Unit]")


@pytest.mark.parametrize(
    "words", [[], ["--", "absent.tflite", "rpi"], ["--"], ["--name", "a b", "--", "x", "y"], ["--memory", "lots", "--", "x", "y"]]
)
def test_what_cannot_run_is_refused(words, capsys):
    assert main(["install-service", *words]) == 2
    assert capsys.readouterr().err.startswith("classify: ")
