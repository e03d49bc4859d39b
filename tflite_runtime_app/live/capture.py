"""The process of one live source: `python -m tflite_runtime_app.live.capture WORD` writes its frames to standard output (see `wire`).

Whatever hangs in a driver, hangs here, where it can be killed. It ends with 0 when the source is through, 1 when it failed, 2 when trying
again would be of no use; the last line on standard error then says why.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading

from tflite_runtime_app import board
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.live import wire
from tflite_runtime_app.sources import live_kind
from tflite_runtime_app.sources.base import CaptureOptions

MOST_WAIT = 5.0  # seconds that the reader may keep a camera waiting


def main(argv: list[str] | None = None) -> int:
    """The source that `argv` names has been written out, as long as it lasted and somebody read; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tflite_runtime_app.live.capture", description=__doc__)
    parser.add_argument("word", metavar="WORD")
    parser.add_argument("--width", type=int, default=CaptureOptions().width)
    parser.add_argument("--height", type=int, default=CaptureOptions().height)
    parser.add_argument("--rate", type=float, default=CaptureOptions().rate)
    arguments = parser.parse_args(argv)
    _end_with_parent()
    # Libraries print what they like; from here on that goes to standard error, and the pipe is ours alone.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        word = os.environ.pop("CAPTURE_WORD", arguments.word)  # not said on a command line
        kind, options = live_kind(word), CaptureOptions(arguments.width, arguments.height, arguments.rate)
        for shot in kind.shots(word, options):
            before = board.clock()
            wire.write(pipe, shot)
            waited = board.clock() - before
            if kind.NATURE != "finite" and waited > MOST_WAIT:
                # What driver and network have kept meanwhile would come now, as if it were new. A new process begins with what is.
                print(f"nobody took its frames for {waited:.0f} s, so it is opened anew", file=sys.stderr)
                return 1
    except BrokenPipeError:
        return 0
    except AppError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except Exception as error:
        print(f"internal error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _end_with_parent() -> None:
    """From now on, the end of the process that started this one kills this one, and what it started."""
    lifeline = os.environ.pop("CAPTURE_LIFELINE", "")
    if lifeline:
        threading.Thread(target=_wait_for_end, args=(int(lifeline),), daemon=True).start()


def _wait_for_end(lifeline: int) -> None:
    os.read(lifeline, 1)  # nothing is ever written: this returns when the other end is closed
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # libraries of cameras hang in what they do at exit
