"""numpy's library for linear algebra, OpenBLAS, keeps to the thread that asks it.

As it is loaded it starts a thread for every further processor. They wait for work by spinning, which takes as long as all else that numpy's
import does. What classify asks of it, labels times embedding, is too small for two threads, and `--threads 1` is to mean one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "OPENBLAS_NUM_THREADS"
ENVIRONMENT = {VARIABLE: "1"}  # of a program of our own, under what the user's environment says


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A numpy first imported within has one thread, unless the environment says otherwise; programs started later hear nothing of it."""
    if VARIABLE in os.environ:
        yield
        return
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
