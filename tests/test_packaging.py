"""The wheel holds what the clone holds: every module and every data file of the four packages."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.clone import ROOT

PACKAGES = ("tflite_runtime_app", "calibration", "targets", "convert")
BUILD = "from setuptools.build_meta import build_wheel; build_wheel('wheels')"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is made of, outside the clone: building leaves folders behind."""
    folder = tmp_path_factory.mktemp("clone")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(copy: Path) -> Path:
    assert importlib.util.find_spec("setuptools"), "setuptools of the extra `dev` is missing: make setup"
    (copy / "wheels").mkdir()
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = (copy / "wheels").iterdir()
    return found


def test_the_wheel_holds_every_file_of_the_packages(copy: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {path.relative_to(copy).as_posix() for package in PACKAGES for path in (copy / package).rglob("*") if path.is_file()}
    missing = sorted(there - held)
    assert not missing, f"{missing}: a folder without __init__.py, or data that package-data of pyproject.toml does not name"
    assert held == there


def test_the_wheel_has_both_programs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        programs = archive.read(name).decode()
    assert "classify = tflite_runtime_app.cli:main" in programs
    assert "convert = convert.cli:main" in programs
