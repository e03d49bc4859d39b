"""A process that ended is told of by its cause: the signal's name, or the exit code and its last words."""

import subprocess
import sys

import pytest

from convert.support.processes import why_ended


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (-9, "", "was killed (SIGKILL), most likely for want of memory; close other programs and run it again"),
        (-11, "", "was ended by SIGSEGV"),
        (-11, "loading\n\n", "was ended by SIGSEGV; it said last: loading"),
        (-77, "", "was ended by signal 77"),
        (3, "", "ended with exit code 3"),
        (1, "Traceback:\n  File x\nValueError: a shape\n", "ended with exit code 1; it said last: ValueError: a shape"),
        (-6, "std::bad_alloc", "was ended by SIGABRT; it said last: std::bad_alloc; close other programs and run it again"),
        (1, "\x1b[31m" + "x" * 5000, "ended with exit code 1; it said last: " + "x" * 300 + " …"),
    ],
)
def test_why_it_ended(code, said, told):
    assert why_ended(code, said) == f"its process {told}"


def test_a_full_disk_is_named_with_the_way_out():
    found = why_ended(1, "OSError: [Errno 28] No space left on device")
    assert found.endswith("No space left on device; make room, or set TMPDIR to a folder on a larger disk")


def test_of_a_real_one():
    done = subprocess.run([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"], check=False)
    assert why_ended(done.returncode, "") == "its process was ended by SIGTERM"


def test_of_two_that_died_the_one_with_a_cause_is_told():
    from convert.emit.export import _failure

    for codes, word in (((1, -9), "SIGKILL"), ((-11, 1), "SIGSEGV"), ((-13, -9), "SIGKILL"), ((0, 1), "exit code 1")):
        error = _failure(2, codes, "words\n")
        assert word in str(error)
        assert str(error).startswith("stage 2 cannot be converted: its process ")
        assert error.exit_code == 3
