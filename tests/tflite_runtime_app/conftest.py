"""One tiny tower, a bundle of it, and a picture, for every test of the board's half."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tflite_runtime_app import tiny_bundle


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
