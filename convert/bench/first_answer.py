"""The process that `cold.py` measures: the libraries of the board's program, then its command line, with the clock after either.

Of the workshop nothing is loaded in it but this file. One process gives both, so that no noise makes the part longer than the whole.
"""

from __future__ import annotations

import sys
import time


def _now() -> str:
    """The monotonic clock, which is the machine's: it counts on from what the parent read. And this process's peak memory in bytes.

    That is VmHWM. The resource module's ru_maxrss would not do: a child inherits its parent's peak there.
    """
    clock = time.monotonic()
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    return f"{clock} {peak}"


def _main(words: list[str]) -> int:
    from tflite_runtime_app.inference.one_blas_thread import one_blas_thread

    with one_blas_thread():  # as the command line loads them
        import ai_edge_litert.interpreter  # noqa: F401
        import numpy  # noqa: F401
        import PIL.Image  # noqa: F401

        from tflite_runtime_app import cli

    imported = _now()
    code = cli.main(words)
    print(imported, _now())
    return code


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
