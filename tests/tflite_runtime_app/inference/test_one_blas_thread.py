"""Numpy comes late, with one thread, and programs that a user's board starts know nothing of it."""

import os
import subprocess
import sys

import pytest

from tests.clone import ROOT
from tflite_runtime_app.inference.one_blas_thread import VARIABLE, one_blas_thread

THREADS = "from pathlib import Path; said = Path('/proc/self/status').read_text().split('Threads:')[1].split()[0]"
COMMAND = f"import os, sys; from tflite_runtime_app.cli import module_of; module_of('run'); {THREADS}"
SAYS = f"{COMMAND}; print('numpy' in sys.modules, said, os.environ.get({VARIABLE!r}))"


def said_by(program: str, **variables: str) -> list[str]:
    environment = {**{key: value for key, value in os.environ.items() if key != VARIABLE}, **variables}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_command_has_one_thread_and_hands_nothing_on():
    assert said_by(SAYS) == ["True", "1", "None"]


def test_what_the_user_says_holds():
    assert said_by(SAYS, **{VARIABLE: "2"}) == ["True", str(min(2, os.cpu_count() or 1)), "2"]


def test_help_and_version_wait_for_no_library():
    program = "import sys; from tflite_runtime_app.cli import main; main(['--help']); main(['--version'])"
    loaded = "print(*sorted({'numpy', 'PIL', 'ai_edge_litert'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"{program}; {loaded}"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "usage: classify FILE SOURCE" in done.stdout
    assert done.stderr.split() == []


def test_the_variable_is_gone_whatever_happens(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ImportError), one_blas_thread():
        assert os.environ[VARIABLE] == "1"
        raise ImportError("no numpy")
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "3")
    with one_blas_thread():
        assert os.environ[VARIABLE] == "3"
    assert os.environ[VARIABLE] == "3"
