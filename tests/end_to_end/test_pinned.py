"""What must not change by itself: the flatbuffers of the shipped models, what `make demo` shows, and the keys that programs read.

A change here is a decision: the commit that makes it says why, and writes the new values with

    python -m tests.end_to_end.test_pinned
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.programs import build, run

PINNED = Path(__file__).parent / "pinned"
PHOTOGRAPHS = "models/photographs"
MEASURED = ("left",)  # what LiteRT leaves to its plain kernels depends on the processor
TIMES = re.compile(r"\d+\.\d ms")


def flatbuffer_sha256(path: Path) -> str:
    return str(inspected(path)["manifest"]["flatbuffer_sha256"])


def inspected(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("convert", "inspect", path, "--json").stdout)
    return found


def demo(printed: str, path: Path) -> str:
    """What `make demo` shows: the build's words and the answers to the photographs, folders and times left out."""
    shown = printed + run("tflite_runtime_app", path, PHOTOGRAPHS).stdout
    shown = shown.replace(str(path), "BUNDLE").replace("BUNDLE-report", "REPORT")
    return "\n".join(re.sub(r" +", " ", TIMES.sub("MS", line)).strip() for line in shown.splitlines()) + "\n"


def paths(value: Any, before: str = "") -> Iterator[str]:
    """Every path of keys in a JSON value; the entries of a list share theirs."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{before}.{key}"
            if key not in MEASURED:
                yield from paths(inner, f"{before}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{before}[]")


def keys(path: Path) -> dict[str, list[str]]:
    """The keys that `convert inspect --json` (the manifest among them) and `classify --json` give."""
    answers = run("tflite_runtime_app", path, PHOTOGRAPHS, "--json").stdout.splitlines()
    return {
        "inspect": sorted(set(paths(inspected(path)))),
        "classify": sorted({found for line in answers for found in paths(json.loads(line))}),
    }


@pytest.fixture(scope="module")
def built(embedded_build: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Path and printed words of both shipped models' bundles."""
    path = tmp_path_factory.mktemp("pinned") / "pico.tflite"
    return {"pocket": embedded_build, "pico": (path, build("pico", path))}


@pytest.mark.parametrize("model", ["pocket", "pico"])
def test_a_shipped_models_flatbuffer_is_the_pinned_one(built: dict[str, tuple[Path, str]], model: str) -> None:
    pinned = json.loads((PINNED / "flatbuffers.json").read_text("utf-8"))
    assert flatbuffer_sha256(built[model][0]) == pinned[model]


def test_the_demo_shows_what_it_showed(built: dict[str, tuple[Path, str]]) -> None:
    path, printed = built["pocket"]
    assert demo(printed, path) == (PINNED / "demo.txt").read_text("utf-8")


def test_programs_find_the_keys_that_they_read(built: dict[str, tuple[Path, str]]) -> None:
    assert keys(built["pocket"][0]) == json.loads((PINNED / "keys.json").read_text("utf-8"))


def write_pinned() -> None:
    """The folder `pinned` holds what this code gives."""
    with tempfile.TemporaryDirectory() as name:
        bundles = {model: Path(name) / f"{model}.tflite" for model in ("pocket", "pico")}
        printed = {model: build(model, path) for model, path in bundles.items()}
        digests = {model: flatbuffer_sha256(path) for model, path in bundles.items()}
        (PINNED / "flatbuffers.json").write_text(json.dumps(digests, indent=1) + "\n", "utf-8")
        (PINNED / "demo.txt").write_text(demo(printed["pocket"], bundles["pocket"]), "utf-8")
        (PINNED / "keys.json").write_text(json.dumps(keys(bundles["pocket"]), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    write_pinned()
