"""What is remembered between two runs: only what this user put there counts, and a folder of no use stops nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clone import ROOT
from tflite_runtime_app import files
from tflite_runtime_app.admission import child
from tflite_runtime_app.cli import main
from tflite_runtime_app.files import cache_folder, recalled, remember, write_atomically


@pytest.fixture
def base(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def strangers(folder: Path, monkeypatch) -> None:
    """From here on the folder belongs to another user than this one."""
    if os.geteuid() == 0:
        os.chown(folder, 4242, 4242)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)


def empty(base: Path, how: str, monkeypatch) -> None:
    folders = [base / "clip-rescue" / name for name in ("admitted", "threads", "labels")]
    if how == "no folder but a file at the top":
        base.write_text("a file")
        return
    base.mkdir()
    if how == "a dangling link at the top":
        base.rmdir()
        base.symlink_to(base.parent / "nowhere" / "at all")
    elif how == "a link to itself":
        (base / "clip-rescue").symlink_to("clip-rescue")
    elif how == "a file":
        (base / "clip-rescue").write_bytes(b"")
    for folder in folders if how in ("another user's", "mode 0", "everybody's") else ():
        folder.mkdir(parents=True)
        if how == "another user's":
            strangers(folder, monkeypatch)
        elif how == "mode 0":
            folder.chmod(0)
        elif how == "everybody's":
            folder.chmod(0o777)
    if how == "mode 0":
        base.chmod(0)


HOWS = [
    "no folder but a file at the top",
    "a dangling link at the top",
    "a link to itself",
    "a file",
    "another user's",
    "mode 0",
    "everybody's",
]


@pytest.mark.parametrize("how", HOWS)
def test_a_folder_of_no_use_is_passed_by(base, how, monkeypatch, bundle_path, picture, capfd):
    empty(base, how, monkeypatch)
    assert main(["run", str(bundle_path), str(picture), "--threads", "2", "--labels", "cat, dog"]) in (0, 3)
    assert main(["run", str(bundle_path), str(picture), "--threads", "2"]) == 0
    assert "internal error" not in capfd.readouterr().err


@pytest.mark.parametrize("how", ["another user's", "everybody's"])
def test_what_somebody_else_may_have_put_there_lets_no_model_in(base, how, monkeypatch, bundle_path, picture):
    assert main(["run", str(bundle_path), str(picture)]) == 0
    folder = base / "clip-rescue" / "admitted"
    (mark,) = folder.iterdir()
    assert recalled(mark) == b""
    if how == "everybody's":
        folder.chmod(0o777)
    else:
        strangers(folder, monkeypatch)
    assert recalled(mark) is None
    tried = []
    real = child._run
    monkeypatch.setattr(child, "_run", lambda trial, allowed: tried.append(trial) or real(trial, allowed))
    assert main(["run", str(bundle_path), str(picture)]) == 0
    assert len(tried) == 1
    remember(folder / "another", b"x", 4)
    assert not (folder / "another").exists()


def test_a_file_of_another_user_in_our_folder_is_nothing(base, monkeypatch):
    remember(cache_folder("x") / "mine", b"data", 4)
    assert recalled(cache_folder("x") / "mine") == b"data"
    if os.geteuid() == 0:
        os.chown(cache_folder("x") / "mine", 4242, 4242)
        assert recalled(cache_folder("x") / "mine") is None
    for name, make in (("folder", os.mkdir), ("pipe", os.mkfifo), ("link", lambda path: os.symlink("link", path))):
        make(cache_folder("x") / name)
        assert recalled(cache_folder("x") / name) is None
    assert recalled(cache_folder("x") / "absent") is None
    assert recalled(cache_folder("x") / ("n" * 5000)) is None
    assert recalled(cache_folder("x") / "zero\0byte") is None
    remember(cache_folder("x") / "zero\0byte", b"", 4)
    remember(cache_folder("x") / "folder", b"", 4)


def test_only_the_newest_are_kept(base):
    folder = cache_folder("x")
    for number in range(6):
        remember(folder / str(number), b"", 3)
        os.utime(folder / str(number), (number, number))
    assert sorted(os.listdir(folder)) == ["3", "4", "5"]


@pytest.mark.parametrize("home", [None, "", "relative", "/nonexistent", "/dev/null"])
def test_without_a_home_nothing_is_remembered_and_the_program_runs(home, bundle_path, picture, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    environment |= {"PYTHONPATH": str(ROOT)} | ({} if home is None else {"HOME": home})
    # A user whom the system does not know, as in a container: then nobody can say where the home is.
    program = (
        "import pwd, sys\n"
        "def unknown(number): raise KeyError(number)\n"
        "pwd.getpwuid = unknown\n"
        "from tflite_runtime_app.cli import main\n"
        "sys.exit(main(['run', *sys.argv[1:]]))\n"
    )
    work = tmp_path / "work"
    work.mkdir()
    if home == "":  # which Python takes for the root folder
        environment["XDG_CACHE_HOME"] = str(tmp_path / "elsewhere")
    done = subprocess.run(
        [sys.executable, "-c", program, str(bundle_path), str(picture)], env=environment, cwd=work, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "internal error" not in done.stderr
    assert os.listdir(work) == []


def test_a_half_file_of_a_dead_process_stands_in_nobodys_way_and_goes(tmp_path):
    path, others = tmp_path / "file.json", (".other.json.77.tmp", ".file.json.tmp", "file.json.77.tmp", ".file.json.fresh.tmp")
    for name in (".file.json.77.tmp", ".file.json.0badcafe.tmp", f".file.json.{os.getpid()}.tmp", *others):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / ".file.json.12.tmp").write_bytes(b"a moment old: somebody may be at it")
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert sorted(os.listdir(tmp_path)) == sorted([".file.json.12.tmp", *others, "file.json"])


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "x", b"data")
    assert os.listdir(tmp_path) == []
