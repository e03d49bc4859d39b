"""The small recipe and its classes, read from files."""

import pytest

from models.recipe import names, plan
from tests.models.little import CLASSES, RECIPE


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return plan.read(path)


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / "classes.tsv"
    path.write_text(CLASSES)
    return names.read(path)
