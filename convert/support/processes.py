"""Why a process that was to do a part of the work has ended, in one line."""

from __future__ import annotations

import signal

from tflite_runtime_app.errors import in_one_line

_OF_MEMORY = ("bad_alloc", "MemoryError", "allocate memory", "enough memory", "out of memory")
_OF_SPACE = ("No space left on device", "Disk quota exceeded", "File too large")
_NOISE = ("File ", "Traceback", "^", "~")  # of Python's tracebacks: no words for people


def why_ended(code: int, said: str) -> str:
    """What ended it, a signal by its name or an exit code; its last words on standard error; and what to do where that is known."""
    lines = [" ".join(line.split()) for line in said.splitlines()]
    last = next((line for line in reversed(lines) if line and not line.startswith(_NOISE)), "")
    shown = in_one_line(last) if last else ""
    if code == -signal.SIGKILL:
        cause = "its process was killed (SIGKILL), most likely for want of memory"
    elif code < 0:
        cause = f"its process was ended by {signal_name(-code)}"
    else:
        cause = f"its process ended with exit code {code}"
    words = f"{cause}; it said last: {shown}" if shown else cause
    return f"{words}{_remedy(code, said)}"


def signal_name(number: int) -> str:
    """As in SIGSEGV; of a number without a name "signal 77"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _remedy(code: int, said: str) -> str:
    if code == -signal.SIGKILL or any(word in said for word in _OF_MEMORY):
        return "; close other programs and run it again"
    if any(word in said for word in _OF_SPACE):
        return "; make room, or set TMPDIR to a folder on a larger disk"
    return ""
