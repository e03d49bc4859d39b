"""What many tests share: a tiny tower with its bundle and an image, and conversions that are made once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.programs import build
from tests.tflite_runtime_app import tiny_bundle

if TYPE_CHECKING:
    from tests.convert import conversion


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes what the user's own runs remember; all of them together admit the tiny bundle once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def tiny() -> tiny_bundle.Tiny:
    return tiny_bundle.build()


@pytest.fixture
def bundle_path(tmp_path: Path, tiny: tiny_bundle.Tiny) -> Path:
    return tiny_bundle.write(tmp_path / "tiny.tflite", tiny, tiny_bundle.bank())


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def tensor() -> np.ndarray:
    return np.random.default_rng(2).integers(-128, 128, (1, 8, 8, 3), np.int8)


# The conversions below import torch and open_clip, which the board's tests do without.


@pytest.fixture(scope="session")
def rotated() -> conversion.Conversion:
    from tests.convert import conversion

    return conversion.rotated()


@pytest.fixture(scope="session")
def plain() -> conversion.Conversion:
    from tests.convert import conversion

    return conversion.plain()


@pytest.fixture(scope="session")
def two_term(rotated: conversion.Conversion) -> conversion.Conversion:
    """`rotated` with a residual stream of two int8 terms."""
    from tests.convert import conversion

    return conversion.with_stream(rotated, "two_term")


@pytest.fixture(scope="session")
def plain_two_term(plain: conversion.Conversion) -> conversion.Conversion:
    """`plain` with a residual stream of two int8 terms."""
    from tests.convert import conversion

    return conversion.with_stream(plain, "two_term")


@pytest.fixture(scope="session")
def in_two_terms(two_term: conversion.Conversion) -> conversion.Conversion:
    """`two_term` with attention's probabilities in two terms as well."""
    from tests.convert import conversion

    return conversion.with_probabilities(two_term)


@pytest.fixture(scope="session", params=["rotated", "two_term", "plain", "plain_two_term"])
def converted(request: pytest.FixtureRequest) -> conversion.Conversion:
    found: conversion.Conversion = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def embedded_build(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The embedded model's bundle, built by the command with nothing but defaults, and what the command printed."""
    path = tmp_path_factory.mktemp("embedded") / "pocket.tflite"
    return path, build("pocket", path)


@pytest.fixture(scope="session")
def embedded(embedded_build: tuple[Path, str]) -> Path:
    return embedded_build[0]
