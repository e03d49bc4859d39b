"""The unit that systemd gets, judged by systemd itself where it is installed."""

import os
import re
import shutil
import stat
import subprocess

import pytest

from tflite_runtime_app.cli import main
from tflite_runtime_app.commands.install_service import quoted, unit
from tflite_runtime_app.commands.secret_words import revealed
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
    for line in (
        "Type=notify",
        "WatchdogSec=60",
        "TimeoutStartSec=150",
        "Restart=always",
        "NoNewPrivileges=yes",
        "MemoryMax=512M",
    ):
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


SECRETS = {
    "CLASSIFY_TOKEN": "tok-secret-0123456789",
    "CLASSIFY_ON_LABEL": "cat=curl -H 'Bearer secret' http://h/",
    "CLASSIFY_ON_LABEL_2": "dog=true",
    "CLASSIFY_MQTT": 'mqtt://ha:s$ecret`"\\x@broker/door',
    "CLASSIFY_SOURCE": "rtsp://me:se%20cret@cam/1",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "ho me%"))
    before = os.umask(0o022)
    yield tmp_path / "ho me%"
    os.umask(before)


def secret_words(bundle):
    token, bell, other, broker, source = SECRETS.values()
    return [str(bundle), source, "--serve", "8080", f"--toke={token}", "--mqtt", broker, "--on-label", bell, "--on-label", other]


def test_what_is_hidden_lies_in_a_file_of_their_own_for_its_owner_alone(bundle, home, capsys):
    assert main(["install-service", "--user", "--", *secret_words(bundle)]) == 0
    said = "".join(capsys.readouterr())
    text = (home / ".config/systemd/user/clip-rescue.service").read_text()
    kept = home / ".config/clip-rescue/clip-rescue.env"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert f"EnvironmentFile={str(kept).replace('%', '%%')}" in text.splitlines()
    assert "cret" not in text + said
    assert words_of(text)[5:] == [
        "env:CLASSIFY_SOURCE", "--serve", "8080", "--toke=env:CLASSIFY_TOKEN", "--mqtt", "env:CLASSIFY_MQTT",
        "--on-label", "env:CLASSIFY_ON_LABEL", "--on-label", "env:CLASSIFY_ON_LABEL_2",
    ]  # fmt: skip
    given = revealed(words_of(text)[3:], dict(SECRETS))
    assert given == ["run", *secret_words(bundle)], "what classify makes of it is what was given"
    # The shell takes signs in double quotes as systemd does: read back, they are the words that were given.
    for name, value in SECRETS.items():
        shell = ["sh", "-c", f'. "$0"; printf %s "${name}"', kept]
        assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == value


@pytest.mark.parametrize(
    "address", ["http://cam:80/?u=me&p=cret", "https://cam/cret", "rtsp://me:12/cret@cam/x", "rtsp://cret@cam:554/cret"]
)
def test_a_camera_is_named_by_its_host_alone(bundle, address):
    text = unit([str(bundle), address], False, "512M", ())
    assert "cret" not in text
    assert "EnvironmentFile=/etc/clip-rescue/clip-rescue.env" in text.splitlines()
    assert re.search(r"^Description=clip-rescue: my bundle.tflite \w+://cam(:\d+)?$", text, re.M)


def test_they_are_never_readable_by_others(bundle, home, monkeypatch):
    modes, replace = [], os.replace

    def watched(source, target):
        modes.append((os.path.basename(target), stat.S_IMODE(os.stat(source).st_mode)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    assert main(["install-service", "--user", "--", *secret_words(bundle)]) == 0
    assert modes == [("clip-rescue.env", 0o600), ("clip-rescue.service", 0o644)]


def test_they_are_not_printed(bundle, home, capsys):
    assert main(["install-service", "--user", "--print", "--", *secret_words(bundle)]) == 0
    said = capsys.readouterr()
    assert "cret" not in said.out + said.err
    assert "CLASSIFY_TOKEN" in said.err
    assert not (home / ".config").exists()


def test_they_are_written_over_and_removed_by_force_only(bundle, home, capsys):
    kept = home / ".config/clip-rescue/clip-rescue.env"
    assert main(["install-service", "--user", "--", *secret_words(bundle)]) == 0
    (home / ".config/systemd/user/clip-rescue.service").unlink()
    assert main(["install-service", "--user", "--", *secret_words(bundle)]) == 2
    assert f"{kept} exists; write over it with --force" in capsys.readouterr().err
    assert main(["install-service", "--user", "--force", "--", *secret_words(bundle)]) == 0
    assert main(["install-service", "--user", "--force", "--", str(bundle), "rpi"]) == 0
    assert not kept.exists()


def test_without_secrets_there_is_no_such_file(bundle, home):
    assert main(["install-service", "--user", "--", str(bundle), "rpi", "--mqtt", "mqtt://broker/door"]) == 0
    assert not (home / ".config/clip-rescue").exists()
    assert "EnvironmentFile" not in (home / ".config/systemd/user/clip-rescue.service").read_text()


@pytest.mark.skipif(ANALYZE is None, reason="NOT CHECKED by systemd: systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_blanks_and_secrets(home, capsys):
    folder = home / "a % b"
    folder.mkdir(parents=True)
    (folder / "x.tflite").write_bytes(b"x")
    assert main(["install-service", "--user", "--", *secret_words(folder / "x.tflite")]) == 0
    path = capsys.readouterr().out.strip()
    found = subprocess.run([ANALYZE, "verify", "--man=no", path], capture_output=True, text=True, check=False)
    assert [line for line in found.stderr.splitlines() if "clip-rescue" in line] == []
    assert found.returncode == 0, found.stderr


def test_words_that_classify_would_not_take_are_refused_without_saying_them(bundle, home, capsys):
    assert main(["install-service", "--user", "--", str(bundle), "rpi", "--mqttt", "mqtt://ha:secret@broker"]) == 2
    err = capsys.readouterr().err
    assert "--mqttt" in err
    assert "secret" not in err
    assert main(["install-service", "--user", "--", str(bundle), "rpi", "--token", "two\nlines"]) == 2
    assert "CLASSIFY_TOKEN: a unit cannot hold control characters" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["--", "absent.tflite", "rpi"], ["--"], ["--name", "a b", "--", "x", "y"], ["--memory", "lots", "--", "x", "y"]]
)
def test_what_cannot_run_is_refused(words, capsys):
    assert main(["install-service", *words]) == 2
    assert capsys.readouterr().err.startswith("classify: ")
