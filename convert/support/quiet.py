"""Keeps the chatter of other people's libraries off the terminal, native code's included."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Standard output, descriptor 2, warnings and logs go nowhere; what went to descriptor 2 is shown after all when the body fails."""
    disabled, saved = logging.root.manager.disable, os.dup(2)
    logging.disable(logging.ERROR)
    with tempfile.TemporaryFile() as chatter, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except Exception:
            chatter.seek(0)
            os.write(saved, chatter.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            logging.disable(disabled)
