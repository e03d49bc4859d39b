"""Whatever a reader raises on the bytes of a stranger becomes one refusal of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tflite_runtime_app.errors import AppError, in_one_line


@contextmanager
def refused_in_one_line(kind: type[AppError], where: str, remedy: str) -> Iterator[None]:
    """On the bytes of a stranger zip, JSON and npz readers raise nearly anything: RecursionError, zlib.error, SystemError, …"""
    try:
        try:
            yield
        except AppError as error:
            raise type(error)(_one_line(str(error))) from error
    except AppError:
        raise
    except Exception as error:
        raise kind(f"{_one_line(where)}: cannot be read ({in_one_line(error)}); {remedy}") from error


def _one_line(text: str) -> str:
    """Names in a file may hold line feeds and a terminal's commands."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
