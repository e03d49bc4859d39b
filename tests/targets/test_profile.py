"""Boards as data: every profile loads, and a wrong one is refused naming what is wrong."""

import tomllib

import pytest

from targets.profile import FOLDER, Profile, ProfileError, load, names, parse

GOOD = tomllib.loads((FOLDER / "rpi.toml").read_text("utf-8"))


def test_there_is_a_profile_for_the_raspberry_pi():
    assert "rpi" in names()
    assert list(names()) == sorted(names())


@pytest.mark.parametrize("name", names())
def test_every_profile_loads_and_makes_sense(name):
    from convert.flatbuffer import OPERATOR_NAMES

    profile = load(name)
    assert isinstance(profile, Profile)
    assert profile.name == name
    assert profile.title
    assert profile.cpu
    assert 1 <= profile.threads <= profile.cores
    assert 0 < profile.model_mb < profile.memory_mb
    assert set(profile.forbidden) <= set(OPERATOR_NAMES.values()), "an operator misspelt would never be found"
    assert {"SUM", "TILE", "L2_NORMALIZATION"} <= set(profile.forbidden)
    assert profile.sources, "facts need a source"


@pytest.mark.parametrize("name", ["pi", "", "../rpi", "RPI", "rpi.toml"])
def test_an_unknown_target_is_named_with_those_there_are(name):
    with pytest.raises(ProfileError) as caught:
        load(name)
    assert repr(name) in str(caught.value)
    assert "rpi" in str(caught.value).split("there are:")[1]


def test_unknown_keys_are_refused():
    with pytest.raises(ProfileError, match=r"target x: unknown keys \['colour'\]"):
        parse("x", {**GOOD, "colour": "green"})


@pytest.mark.parametrize("key", sorted(GOOD))
def test_missing_keys_are_refused(key):
    with pytest.raises(ProfileError, match=rf"missing \['{key}'\]"):
        parse("x", {name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("title", 3),
        ("cores", "4"),
        ("cores", 4.0),
        ("cores", True),
        ("memory_mb", None),
        ("forbidden", "SUM"),
        ("forbidden", ["SUM", 3]),
        ("sources", {}),
    ],
)
def test_values_of_another_type_are_refused(key, value):
    with pytest.raises(ProfileError, match=f"target x: {key} should be"):
        parse("x", {**GOOD, key: value})


def test_a_table_as_in_the_file_is_taken():
    profile = parse("x", GOOD)
    assert profile.forbidden == tuple(GOOD["forbidden"])
    assert profile.cores == GOOD["cores"]
