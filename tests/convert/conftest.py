"""The conversions, made once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.convert import conversion


@pytest.fixture(scope="session")
def rotated() -> conversion.Conversion:
    return conversion.rotated()


@pytest.fixture(scope="session")
def plain() -> conversion.Conversion:
    return conversion.plain()


@pytest.fixture(scope="session")
def two_term(rotated) -> conversion.Conversion:
    """`rotated` with a residual stream of two int8 terms."""
    return conversion.with_stream(rotated, "two_term")


@pytest.fixture(scope="session")
def plain_two_term(plain) -> conversion.Conversion:
    """`plain` with a residual stream of two int8 terms."""
    return conversion.with_stream(plain, "two_term")


@pytest.fixture(scope="session", params=["rotated", "two_term", "plain", "plain_two_term"])
def converted(request) -> conversion.Conversion:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory) -> Path:
    """The embedded model's bundle, built by the command with nothing but defaults: minutes, for slow tests only."""
    path, root = tmp_path_factory.mktemp("embedded") / "pocket.tflite", Path(__file__).parents[2]
    command = [sys.executable, "-m", "convert", "build", "--target", "rpi", "--out", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    return path
