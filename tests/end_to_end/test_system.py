"""The system refuses: disks, limits, pipes, folders and processes that are not to be had. Both programs say so in a line."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.cli import main
from tflite_runtime_app.commands import edge

OURS = {
    "run": ["{bundle}", "{picture}"],
    "json": ["{bundle}", "{picture}", "--json"],
    "csv": ["{bundle}", "{picture}", "--csv", "--stats"],
    "live": ["{bundle}", "fake:64x48,rate=50", "--frames", "2"],
    "explain": ["explain", "{bundle}", "{picture}", "--out", "{folder}/why.png"],
    "recalibrate": ["recalibrate", "{bundle}", "{picture}", "--out", "{folder}/new.tflite"],
    "install-model": ["install-model", "{bundle}", "--as", "{folder}/service.tflite"],
    "install-service": ["install-service", "--print", "--", "{bundle}", "rpi"],
    "soak": ["soak", "{bundle}", "--frames", "10", "--no-faults"],
    "doctor": ["doctor"],
}
# A process each: the others go through the same edge.
SOME = [
    "json",
    "csv",
    "install-service",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("run", "live", "explain", "recalibrate", "soak", "doctor")),
]
WRITING = [name for name in OURS if name in ("explain", "recalibrate", "install-model")]


@pytest.fixture
def line(tmp_path, tiny, picture):
    """The words of a command, made for this test's folder."""
    bundle = tiny_bundle.write(tmp_path / "tiny.tflite", tiny, tiny_bundle.bank(("Käse", "日本", "owl")))

    def made(name, **places):
        given = {"bundle": bundle, "picture": picture, "folder": tmp_path, **places}
        return [word.format(**given) for word in OURS[name]]

    return made


def started(words, shell="", module="tflite_runtime_app", **options):
    """How the program ended, started by a shell that does `shell` to its streams or its folder first."""
    script = f'{shell or "true"}; exec "$@"'
    command = ["bash", "-c", script, "bash", sys.executable, "-m", module, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", env=environment, check=False,
        stdin=subprocess.DEVNULL, timeout=100, **options,
    )  # fmt: skip


def said(stderr):
    """What a program says that is not LiteRT's; none of it is a fault of its own."""
    for word in ("internal error", "unexpected", "Traceback", "Exception ignored"):
        assert word not in stderr, stderr
    return [line for line in stderr.splitlines() if "XNNPACK" not in line]


@pytest.mark.parametrize("name", SOME)
def test_a_closed_standard_output_is_nowhere(name, line):
    done = started(line(name), "exec >&-")
    said(done.stderr)
    assert done.returncode == 0


@pytest.mark.parametrize("name", SOME)
def test_a_full_standard_output_is_told(name, line):
    done = started(line(name), "exec >/dev/full")
    last = said(done.stderr)[-1]
    assert (done.returncode, last) == (
        1,
        "classify: the answers cannot be written: no space left; make room, or send them elsewhere",
    )


def test_no_stream_at_all(line):
    assert started(line("run"), "exec <&- >&- 2>&-").returncode == 0
    done = started([*line("run")[:1], "raw:8x8"], "exec <&-")
    assert done.returncode == 1
    assert "expected frames on standard input, found it empty" in said(done.stderr)[0]
    assert started(line("run"), "exec 2>/dev/full").returncode == 1


def test_what_the_encoding_lacks_is_escaped(line):
    environment = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for name in ("run", "csv", "explain"):
        done = started(line(name), env=environment)
        said(done.stderr)
        assert done.returncode == 0


@pytest.mark.parametrize("name", ["live", "recalibrate", "install-service", pytest.param("doctor", marks=pytest.mark.slow)])
def test_without_a_home_or_a_folder_to_be_in(name, line):
    gone = "d=$(mktemp -d) && cd $d && rmdir $d; unset HOME XDG_CACHE_HOME"
    for number, shell in enumerate((gone, "unset XDG_CACHE_HOME; export HOME=/proc/none TMPDIR=/proc/none")):
        words = line(name)
        done = started([*words[:-1], words[-1].replace("new.", f"new{number}.")], shell)
        said(done.stderr)
        assert done.returncode == 0 or name == "doctor"


def test_a_path_in_a_folder_that_is_gone_is_not_there():
    done = started(["model.tflite", "a.png"], "d=$(mktemp -d) && cd $d && rmdir $d")
    assert (done.returncode, len(said(done.stderr))) == (3, 1)


@pytest.mark.parametrize("name", WRITING)
@pytest.mark.parametrize("place", ["{here}/absent", "{here}/file", "{here}/pipe", "/dev/null", "{here}/folder"])
def test_a_place_that_takes_no_file_is_told_before_the_work_and_stays_as_it_is(name, place, line, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    target = place.format(here=tmp_path)
    words = line(name)
    words[-1] = f"{target}/x" if place.endswith(("absent", "file")) else target
    before = os.stat(target).st_mode if os.path.exists(target) else None
    assert main([*words, *([] if name == "install-model" else ["--force"])]) == (1 if name == "install-model" else 2)
    (told,) = said(capsys.readouterr().err)
    assert words[-1] in told
    assert (os.stat(target).st_mode if before else None) == before


@pytest.mark.parametrize("name", WRITING)
def test_a_file_larger_than_allowed_is_told_and_leaves_nothing(name, line, tmp_path):
    words, before = line(name), sorted(os.listdir(tmp_path))
    done = started(words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
    assert done.returncode in (1, 2)
    assert "File too large" in said(done.stderr)[-1]
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("name", ["run", "live", "explain", "recalibrate", "install-model", "soak", "doctor"])
@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM])
def test_no_process_to_be_had(name, code, line, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert main(line(name)) == (0 if name == "doctor" else 1)
    told = said(capsys.readouterr().err)
    assert name == "doctor" or "cannot start a process to try the model in" in told[-1]


@pytest.mark.parametrize("name", ["live", "soak"])
def test_no_thread_to_be_had(name, line, capsys, monkeypatch):
    assert main(line("run")) == 0

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    capsys.readouterr()
    assert main(line(name)) == 1
    assert "no further process or thread may be started here" in said(capsys.readouterr().err)[-1]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "x"), "the answers cannot be written: no space left"),
        (OSError(errno.EFBIG, "x"), "the answers cannot be written: more than this process may write into one file"),
        (OSError(errno.ENOSPC, "x", "/a/b"), "/a/b: no space left"),
        (OSError(errno.EROFS, "x", b"/a/b"), "/a/b: it lies on a file system that is read-only"),
        (FileNotFoundError(errno.ENOENT, "x"), "the working folder is gone"),
        (FileNotFoundError("--images x: no such folder"), "--images x: no such folder"),
        (BlockingIOError(errno.EAGAIN, "x"), "no further process"),
        (OSError(errno.ENODEV, "No such device", 3), "3: No such device"),
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"), "there is not enough"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 9 vs 8"), "a file could not be written whole"),
        (RuntimeError("Could not determine home directory."), "HOME names no folder"),
        (RuntimeError("a fault"), ""),
        (ValueError("a fault"), ""),
    ],
)
def test_what_the_system_refuses_is_told_from_a_fault_of_ones_own(error, expected):
    found = edge.refused_by_the_system(error)
    assert found.startswith(expected)
    assert bool(found) is bool(expected)
    assert "\n" not in found


def test_a_signal_for_files_that_are_too_large_ends_no_program():
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN


THEIRS = {"targets": ["targets"], "inspect": ["inspect", "{bundle}"], "json": ["inspect", "{bundle}", "--json"]}


@pytest.fixture
def their_line(tmp_path, tiny):
    bundle = tiny_bundle.write(tmp_path / "tiny.tflite", tiny, tiny_bundle.bank(("Käse", "日本", "owl")))
    return lambda name: [word.format(bundle=bundle) for word in THEIRS[name]]


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize(
    ("shell", "code", "told"),
    [
        ("exec >&-", 0, []),
        ("exec >/dev/full", 1, ["convert: the answers cannot be written: no space left; make room, or send them elsewhere"]),
        ("exec > >(:); sleep 0.3", 0, []),
        ("export LC_ALL=C PYTHONIOENCODING=ascii PYTHONUTF8=0 PYTHONCOERCECLOCALE=0", 0, []),
        ("d=$(mktemp -d) && cd $d && rmdir $d; unset HOME XDG_CACHE_HOME; export TMPDIR=/proc/none", 0, []),
    ],
)
def test_the_workshop_is_no_worse(name, shell, code, told, their_line):
    done = started(their_line(name), shell, "convert")
    assert (done.returncode, said(done.stderr)) == (code, told)


@pytest.mark.parametrize("place", ["{here}/file/x", "{here}/pipe", "/dev/null", "{here}/folder"])
def test_the_workshop_tells_before_the_work_that_a_file_cannot_be_written(place, tmp_path):
    from convert.support.errors import UsageError
    from convert.support.files import check_target

    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    path = Path(place.format(here=tmp_path))
    with pytest.raises(UsageError, match=r"--out .* cannot be written: "):
        check_target(path)
    check_target(tmp_path / "new" / "folders" / "x")
    assert not (tmp_path / "new").exists()
