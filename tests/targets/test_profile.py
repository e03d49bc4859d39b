"""Boards as data: every profile loads with its sources, and a wrong one is refused in one line naming what is wrong."""

import tomllib

import pytest

from targets import profile as boards
from targets.profile import FOLDER, Profile, ProfileError, load, names, parse

GOOD = tomllib.loads((FOLDER / "rpi.toml").read_text("utf-8"))
MICRO = tomllib.loads((FOLDER / "mcu-esp32p4.toml").read_text("utf-8"))


def refusal(table) -> str:
    """The one line that refuses the table."""
    with pytest.raises(ProfileError) as caught:
        parse("x", table)
    message = str(caught.value)
    assert message.startswith("target x: ")
    assert "\n" not in message
    return message


def changed(**facts) -> dict:
    return {**GOOD, **facts}


def test_there_is_a_profile_for_every_board_named():
    assert list(names()) == ["host", "mcu-alif-e8", "mcu-esp32p4", "mcu-stm32n6", "rpi", "rpi3", "rpi4", "rpi5", "rpizero2w"]


@pytest.mark.parametrize("name", names())
def test_every_profile_loads_and_makes_sense(name):
    from convert.tflite.flatbuffer import OPERATOR_NAMES, TYPE_NAMES

    profile = load(name)
    assert isinstance(profile, Profile)
    assert profile.name == name
    assert profile.title
    assert profile.cpu
    assert 1 <= profile.threads <= profile.cores
    assert 0 < profile.peak_mb <= profile.memory_mb
    if profile.micro:
        assert 16 <= profile.arena_kb <= 1024 * profile.peak_mb
        assert "GELU" in profile.forbidden, "TensorFlow Lite Micro has none"
    else:
        assert 0 < profile.model_mb <= profile.peak_mb
        assert (profile.arena_kb, profile.vela) == (0, "")
    assert set(profile.forbidden) <= set(OPERATOR_NAMES.values()), "an operator misspelt would never be found"
    assert set(profile.types) <= set(TYPE_NAMES.values()), "no tensor would be of a type misspelt"
    assert {"SUM", "TILE", "L2_NORMALIZATION"} <= set(profile.forbidden)


@pytest.mark.parametrize("name", names())
def test_every_fact_that_a_file_states_has_its_source_in_the_same_file(name):
    table = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    stated = set(table) - {"title", "base", "sources"}
    assert stated
    assert stated <= set(table["sources"])
    assert all(load(name).sources[key] == table["sources"][key] for key in stated)


def test_shared_rules_stand_in_one_file():
    stating = [name for name in names() if "forbidden" in tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))]
    assert stating == ["mcu-esp32p4", "rpi"], "one for LiteRT, one for TensorFlow Lite Micro"
    shared = {"litert": tuple(GOOD["forbidden"]), "tflm": tuple(MICRO["forbidden"])}
    assert all(load(name).forbidden == shared[load(name).runtime] for name in names())
    assert set(GOOD["forbidden"]) < set(MICRO["forbidden"])


def test_the_default_target_is_no_more_than_its_weakest_board():
    """What is built for `rpi` runs on all of them."""
    default = load("rpi")
    for board in map(load, ("rpizero2w", "rpi3", "rpi4", "rpi5")):
        for limit in ("cores", "clock_mhz", "memory_mb", "peak_mb", "model_mb", "image_px", "bandwidth_gb_s"):
            assert getattr(default, limit) <= getattr(board, limit), (board.name, limit)
    assert (default.memory_mb, default.model_mb, default.stream, default.threads) == (512, 128, "two_term", 4)


@pytest.mark.parametrize("name", ["pi", "", "../rpi", "RPI", "rpi.toml"])
def test_an_unknown_target_is_named_with_those_there_are(name):
    with pytest.raises(ProfileError) as caught:
        load(name)
    assert repr(name) in str(caught.value)
    assert "rpi" in str(caught.value).split("there are:")[1]


@pytest.mark.parametrize(
    ("key", "nearest"), [("memory", "memory_mb"), ("forbiden", "forbidden"), ("latency", "latency_ms"), ("colour", None)]
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(key, nearest):
    message = refusal(changed(**{key: 3}))
    assert f"unknown key {key!r}" in message
    if nearest:
        assert message.endswith(f"the nearest known one is {nearest!r}")
    else:
        assert "known are" in message


def test_a_board_is_no_microcontroller_unless_it_says_so():
    assert not load("rpi").micro
    assert load("mcu-esp32p4").micro
    assert parse("x", MICRO).vela == ""
    assert load("mcu-alif-e8").vela.split()[0] == "ethos-u85-256"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"runtime": "onnx"}, "runtime 'onnx' is none of litert, tflm"),
        ({"runtime": 3}, "runtime should be a text"),
        ({"arena_kb": 8}, "arena_kb should be between 16 and"),
        ({"arena_kb": "512"}, "arena_kb should be a whole number"),
        ({"arena_kb": 40000}, "arena_kb is 40000, expected at most peak_mb, which is 32 MB"),
        ({"vela": "ethos-u85-256"}, "vela should name accelerator, system and memory mode"),
        ({"vela": 3}, "vela should name"),
        ({"memory_mb": 0, "peak_mb": 0}, "memory_mb should be between 1 and"),
    ],
)
def test_a_microcontrollers_own_facts_are_checked(facts, told):
    sources = {**MICRO["sources"], **dict.fromkeys(facts, "a test")}
    assert told in refusal({**MICRO, **facts, "sources": sources})


def test_a_microcontroller_may_have_more_flash_than_memory():
    assert load("mcu-stm32n6").model_mb > load("mcu-stm32n6").memory_mb


@pytest.mark.parametrize("key", sorted(set(GOOD) - {"sources"}))
def test_a_missing_key_is_named(key):
    assert f"missing {key};" in refusal({name: value for name, value in GOOD.items() if name != key})


def test_a_fact_without_a_source_is_refused():
    sources = {key: source for key, source in GOOD["sources"].items() if key != "cores"}
    assert "no source for cores" in refusal(changed(sources=sources))
    assert "no source for latency_ms" in refusal({"base": "rpi", "latency_ms": 50}), "a base's source is for a base's fact"
    assert "unknown fact 'core'; the nearest known one is 'cores'" in refusal(changed(sources={**sources, "core": "x"}))
    assert "sources should be" in refusal(changed(sources=["cores: somewhere"]))
    assert "sources should be" in refusal(changed(sources={**sources, "cores": " "}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("title", 3),
        ("title", " "),
        ("cores", "4"),
        ("cores", 4.0),
        ("cores", True),
        ("memory_mb", "512"),
        ("bandwidth_gb_s", "1"),
        ("forbidden", "SUM"),
        ("forbidden", ["SUM", 3]),
        ("exits", [True]),
        ("exits", "0.5"),
        ("published", [3]),
    ],
)
def test_values_of_another_type_are_refused(key, value):
    assert f"{key} should be" in refusal(changed(**{key: value}))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("memory_mb", 512 << 20, "between 64 and"),
        ("memory_mb", -1, "between 64 and"),
        ("clock_mhz", 1, "between 100 and"),
        ("bandwidth_gb_s", float("nan"), "between 0.01 and"),
        ("latency_ms", 0, "between 1 and"),
        ("threads", 5, "threads is 5, expected at most cores, which is 4"),
        ("model_mb", 400, "model_mb is 400, expected at most peak_mb, which is 320"),
        ("peak_mb", 513, "peak_mb is 513, expected at most memory_mb, which is 512"),
        ("stream", "int16", "stream 'int16' is none of two_term, int8"),
        ("simd", "sve", "simd 'sve' is none of"),
        ("exits", [0.5, 0.3], "growing shares"),
        ("exits", [0.5, 1.0], "growing shares"),
        ("exits", [4.0], "growing shares"),
        ("types", [], "types is empty"),
    ],
)
def test_values_that_cannot_be_are_refused(key, value, told):
    assert told in refusal(changed(**{key: value}))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"network": "AlexNet"}, "published network 'AlexNet' is none of ResNet-50"),
        ({"ms": 0}, "above 0"),
        ({"threads": "4"}, "published should give"),
        ({"ghz": 1}, "published should give"),
    ],
)
def test_published_times_are_checked_too(entry, told):
    assert told in refusal(changed(published=[{**GOOD["published"][0], **entry}]))


def test_a_table_as_in_the_file_is_taken():
    profile = parse("x", GOOD)
    assert profile.forbidden == tuple(GOOD["forbidden"])
    assert profile.cores == GOOD["cores"]
    assert [point.ms for point in profile.published] == [entry["ms"] for entry in GOOD["published"]]


def test_a_board_with_a_base_states_only_what_differs():
    profile = parse("x", {"base": "rpi5", "memory_mb": 8192, "sources": {"memory_mb": "the shop"}})
    base = load("rpi5")
    assert (profile.memory_mb, profile.cpu, profile.forbidden) == (8192, base.cpu, load("rpi").forbidden)
    assert profile.sources["memory_mb"] == "the shop"
    assert profile.sources["cpu"] == base.sources["cpu"]


def test_the_board_that_the_documentation_adds_is_one():
    page = (FOLDER.parent / "docs" / "targets.md").read_text("utf-8")
    profile = parse("rpi5-8gb", tomllib.loads(page.split("```toml\n")[1].split("```")[0]))
    assert profile.memory_mb > load("rpi5").memory_mb


def test_a_base_that_does_not_exist_or_leads_back_is_refused(tmp_path, monkeypatch):
    assert "base should be another board, one of host, mcu-alif-e8" in refusal({"base": "pi"})
    assert "base should be another board" in refusal({"base": 3})
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{one}.toml").write_text(f'base = "{other}"\n')
    monkeypatch.setattr(boards, "FOLDER", tmp_path)
    with pytest.raises(ProfileError, match="found 'a'"):
        load("a")


def test_a_file_that_is_no_toml_is_refused_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken.toml").write_text("cores = \n")
    (tmp_path / "latin.toml").write_bytes(b'title = "caf\xe9"\n')
    monkeypatch.setattr(boards, "FOLDER", tmp_path)
    for name in ("broken", "latin"):
        with pytest.raises(ProfileError, match=rf"^target {name}: {name}\.toml should be TOML in UTF-8: [^\n]*$"):
            load(name)


def test_a_boards_own_exits_are_shares_of_any_depth():
    assert load("rpi").exits_of(12) is None
    early = parse("x", changed(exits=[0.25, 0.5]))
    assert early.exits_of(12) == (3, 6)
    assert early.exits_of(24) == (6, 12)
    assert early.exits_of(2) == (1,), "two shares may meet in one block"
    assert parse("x", changed(exits=[0.9])).exits_of(3) is None, "the last block is no exit"
