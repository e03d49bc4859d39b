"""Nothing takes more than seven arguments by position: what belongs together is a dataclass, or is named."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.clone import ROOT

MOST = 7
PACKAGES = ("calibration", "convert", "models", "targets", "tflite_runtime_app", "tools")
BY_NAME = ("convert/cli.py",)  # Typer calls its functions by the names of their options


def too_long(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of every function that takes, and every call that passes, more than `MOST` arguments by position."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            taken = [argument for argument in (*node.args.posonlyargs, *node.args.args) if argument.arg not in ("self", "cls")]
            if len(taken) > MOST:
                yield node.lineno, node.name
        elif isinstance(node, ast.Call) and len(node.args) > MOST:
            yield node.lineno, ast.unparse(node.func)


@pytest.mark.parametrize("package", PACKAGES)
def test_at_most_seven_arguments_are_passed_by_position(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in files
        if path.relative_to(ROOT).as_posix() not in BY_NAME
        for line, name in too_long(path.read_text("utf-8"))
    ]
    assert not found


def test_the_eighth_is_seen() -> None:
    assert not list(too_long("def f(self, a, b, c, d, e, f, g, *, h): ...\nf(1, 2, 3, 4, 5, 6, 7, h=8)"))
    assert [name for _, name in too_long("def f(a, b, c, d, e, f, g, h): ...\ng.f(1, 2, 3, 4, 5, 6, 7, 8)")] == ["f", "g.f"]
