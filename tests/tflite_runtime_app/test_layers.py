"""The board's package is built in layers: every import, late ones too, goes to a layer below, and none of them in a circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.clone import ROOT

PACKAGE = "tflite_runtime_app"
# From the bottom; above all of them lies the package's own __init__.
LAYERS = (
    "version", "errors", "files", "board", "bundle", "policies", "inference", "exits", "admission", "text", "sources", "sinks",
    "classifier", "live", "checks", "commands", "cli", "__main__",
)  # fmt: skip


def modules() -> dict[str, str]:
    """The source of every module by its dotted name."""
    found = {}
    for path in (ROOT / PACKAGE).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path.read_text("utf-8")
    return found


def imported(source: str, known: set[str]) -> Iterator[str]:
    """The package's modules that `source` imports anywhere."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == PACKAGE:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in known else str(node.module)


def layer(module: str) -> int:
    return len(LAYERS) if module == PACKAGE else LAYERS.index(module.split(".")[1])


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    sources = modules()
    return {name: set(imported(source, set(sources))) for name, source in sources.items()}


def test_every_layer_is_there(imports):
    assert {name.split(".")[1] for name in imports if name != PACKAGE} == set(LAYERS)


def test_nothing_is_imported_from_above(imports):
    upward = [f"{name} -> {other}" for name, others in imports.items() for other in others if layer(other) > layer(name)]
    assert not upward


def test_there_is_no_circle(imports):
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_late_imports_and_modules_named_by_their_package_are_seen():
    known = {PACKAGE, f"{PACKAGE}.board", f"{PACKAGE}.live.loop"}
    source = (
        "from tflite_runtime_app import board\ndef f():\n    from tflite_runtime_app.live.loop import Loop\n    import numpy\n"
    )
    assert list(imported(source, known)) == [f"{PACKAGE}.board", f"{PACKAGE}.live.loop"]
