"""The direction of imports: models -> convert -> calibration -> tflite_runtime_app, convert -> targets, and the board's short list."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clone import ROOT

MAY_IMPORT = {
    "tflite_runtime_app": set(),
    "calibration": {"tflite_runtime_app"},
    "targets": set(),
    "convert": {"calibration", "targets", "tflite_runtime_app"},
    "models": {"calibration", "convert", "tflite_runtime_app"},
}
BOARD = {"numpy", "PIL", "ai_edge_litert", "tflite_runtime_app"}
# What is not of the board's short list, and the one file or folder that may import it.
EXTRAS = {
    "av": "tflite_runtime_app/sources/libav.py",
    "picamera2": "tflite_runtime_app/sources/picamera.py",
    "bottle": "tflite_runtime_app/sinks/web",
    "waitress": "tflite_runtime_app/sinks/web",
    "paho": "tflite_runtime_app/sinks/mqtt.py",
    "cryptography": "tflite_runtime_app/admission/signing.py",
}


def imported(source: str) -> Iterator[str]:
    """The modules that `source` imports anywhere, late imports too; "." for a relative one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level else str(node.module)


def roots(package: str) -> dict[Path, set[str]]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} has no files: this test would pass on nothing"
    return {path: {name.split(".")[0] for name in imported(path.read_text("utf-8"))} for path in files}


def may_import(path: Path, name: str) -> bool:
    place = EXTRAS.get(name)
    return place is not None and path.relative_to(ROOT).as_posix().startswith(place)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_downwards_only(package: str) -> None:
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] - {package} | {"", "tests"}
    wrong = {str(path.relative_to(ROOT)): names & forbidden for path, names in roots(package).items() if names & forbidden}
    assert not wrong


def test_the_board_needs_numpy_pillow_litert_and_the_standard_library_only() -> None:
    allowed = BOARD | sys.stdlib_module_names
    extra = {
        str(path.relative_to(ROOT)): wrong
        for path, names in roots("tflite_runtime_app").items()
        if (wrong := {name for name in names - allowed if not may_import(path, name)})
    }
    assert not extra


def test_late_and_relative_imports_are_seen() -> None:
    source = "def f():\n    import torch.nn\n    from convert.cli import main\nfrom . import x\n"
    assert sorted(imported(source)) == [".", "convert.cli", "torch.nn"]
