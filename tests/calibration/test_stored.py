"""A calibration comes back as it was written; anything else is refused in one way."""

import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest

from calibration.gates import fit_gate
from calibration.phases import (
    Calibrated,
    ExitCalibration,
    Origin,
    RangeCalibration,
    RewriteInputs,
    WeightCalibration,
)
from calibration.ranges import Grid
from calibration.stored import FORMAT, from_bytes, to_bytes
from calibration.stored_exits import EXITS_FORMAT, StoredError, from_json, to_json
from tflite_runtime_app.bundle.calibration_outputs import Remembered

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.random((200, 3)).astype(np.float32)
GATE, MLP = (fit_gate(FEATURES, FEATURES[:, 0] > FEATURES[:, 1], kind) for kind in ("logistic", "mlp"))
MEMORY = Remembered(RANDOM.integers(-128, 128, (5, 3, 8), np.int8), RANDOM.integers(-128, 128, (5, 2), np.int8))


def calibrated(**changes) -> Calibrated:
    """A calibration with something in every phase."""
    phases = {
        "origin": Origin("ab" * 32, (4, 6), ("input-normalisation", "rotation"), "two_term", "cd" * 32, 77, "mse"),
        "rewrites": RewriteInputs(
            {"block_01/key": RANDOM.normal(size=8).astype(np.float32)},
            {"block_01/value": RANDOM.random(8).astype(np.float32)},
            rotation_seed=2,
        ),
        "ranges": RangeCalibration(
            {"image": Grid(1 / 255, -128), "block_01/key": Grid(float(np.float32(0.0123)), 0), "b/λ": Grid(1e-8, 127)},
            {"image": 1.0, "block_01/key": 3.25},
            {"fc_1": "mse", "scores": "entropy"},
        ),
        "weights": WeightCalibration(
            {"block_01/query": RANDOM.integers(-2, 3, (3, 4), np.int8)},
            {"stage_1/final/embedding": RANDOM.normal(size=5).astype(np.float32)},
        ),
        "exits": ExitCalibration(
            gates=(GATE, MLP),
            thresholds=(100, 128),
            policy="ltt-lct",
            parameters={"offset_0": 3.0},
            risk={"alpha": 0.02, "images": 700.0},
            none_threshold=0.123,
            labels="ef" * 32,
            evidence={"lct": {"inr": [3.5, 4.5]}},
            remembered=MEMORY,
        ),
        "measured": {"cosine_mean": 0.99, "exits": [{"blocks_done": 4}]},
    }
    return Calibrated(**{**phases, **changes})


def rewritten(**arrays) -> bytes:
    """A calibration whose arrays are replaced; None takes one out."""
    with np.load(io.BytesIO(to_bytes(calibrated())), allow_pickle=False) as found:
        kept = {name: found[name] for name in found.files}
    kept.update(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in kept.items() if value is not None})
    return buffer.getvalue()


def facts_with(**changes) -> bytes:
    with np.load(io.BytesIO(to_bytes(calibrated()))) as found:
        facts = json.loads(str(found["facts"]))
    facts.update(changes)
    return rewritten(facts=np.array(json.dumps({k: v for k, v in facts.items() if v is not None})))


def assert_same(found, wanted, where="") -> None:
    """Equal all the way down; arrays in their types too."""
    assert type(found) is type(wanted), where
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype, where
        np.testing.assert_array_equal(found, wanted, where)
    elif dataclasses.is_dataclass(wanted):
        for field in dataclasses.fields(wanted):
            assert_same(getattr(found, field.name), getattr(wanted, field.name), f"{where}.{field.name}")
    elif isinstance(wanted, dict):
        assert set(found) == set(wanted), where
        for key, value in wanted.items():
            assert_same(found[key], value, f"{where}[{key}]")
    else:
        assert found == wanted, where


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"exits": ExitCalibration()},
        {"rewrites": RewriteInputs(), "measured": {}},
        {"weights": WeightCalibration()},
        {"origin": Origin(), "ranges": RangeCalibration()},
    ],
    ids=lambda changes: " and ".join(changes) or "whole",
)
def test_round_trip(changes):
    wanted = calibrated(**changes)
    assert_same(from_bytes(to_bytes(wanted)), wanted)


def test_a_file_from_before_the_search_has_no_choice_of_observers():
    assert from_bytes(facts_with(observers=None)).ranges.observers == {}


def test_former_names_of_policies_are_todays_wherever_they_stand():
    evidence = {"lact": {"inr": [3.5]}, "leaving": {"policies": [{"family": "ltt-lact"}], "curves": {"lact": []}}}
    found = from_bytes(facts_with(policy="ltt-lact", evidence=evidence)).exits
    assert found.policy == "ltt-lct"
    assert found.evidence == {"lct": {"inr": [3.5]}, "leaving": {"policies": [{"family": "ltt-lct"}], "curves": {"lct": []}}}


def test_it_holds_no_images():
    with np.load(io.BytesIO(to_bytes(calibrated()))) as found:
        assert sum(found[name].size for name in found.files if name.startswith("mean:")) == 8 + 8 + 1
        assert {name for name in found.files if ":" not in name} == {
            "facts",
            "roles",
            "scales",
            "zero_points",
            "largest",
            "largest_roles",
            "rounding",
            "embeddings",
            "variances",
        }


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 nothing", b"\x93NUMPY broken", b"\x80\x04N."])
def test_garbage_is_refused(content):
    with pytest.raises(StoredError, match="no calibration"):
        from_bytes(content)


def test_every_truncation_is_refused():
    content = to_bytes(calibrated())
    for length in range(0, len(content) - 1, max(1, len(content) // 60)):
        with pytest.raises(StoredError):
            from_bytes(content[:length])


def equal(one: Calibrated, other: Calibrated) -> bool:
    """Whether two calibrations are the same in everything."""
    try:
        np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(other))
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("bits", [0x01, 0xFF])
def test_a_damaged_byte_is_refused_or_changes_nothing(bits):
    """Nothing of the zip's that goes unnoticed, as a date, says anything of the calibration."""
    content = to_bytes(calibrated())
    whole, refused = from_bytes(content), 0
    for position in range(len(content)):
        broken = bytearray(content)
        broken[position] ^= bits
        try:
            found = from_bytes(bytes(broken))
        except StoredError:
            refused += 1
        else:
            assert equal(found, whole), f"byte {position} of {len(content)} is damaged, and what it says is believed"
    assert refused > len(content) / 2, "the arrays themselves are most of the file"


def test_an_array_alone_is_no_calibration():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    with pytest.raises(StoredError):
        from_bytes(buffer.getvalue())


def test_pickles_are_not_loaded():
    buffer = io.BytesIO()
    np.savez(buffer, facts=np.array([{"a": 1}], object))
    with pytest.raises(StoredError):
        from_bytes(buffer.getvalue())


def test_a_zip_of_something_else():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(StoredError):
        from_bytes(buffer.getvalue())


@pytest.mark.parametrize("name", ["facts", "roles", "scales", "zero_points", "largest", "largest_roles"])
def test_a_missing_array_is_named(name):
    with pytest.raises(StoredError, match=name):
        from_bytes(rewritten(**{name: None}))


@pytest.mark.parametrize(
    "name", ["weights_sha256", "exits", "gates", "thresholds", "none_threshold", "measured", "format", "stream"]
)
def test_a_missing_fact_is_named(name):
    with pytest.raises(StoredError, match=name):
        from_bytes(facts_with(**{name: None}))


def test_another_format_is_refused_by_number():
    with pytest.raises(StoredError, match=f"format {FORMAT + 1}"):
        from_bytes(facts_with(format=FORMAT + 1))


def test_facts_of_another_shape():
    for wrong in ("[]", '"text"', "3", "null"):
        with pytest.raises(StoredError):
            from_bytes(rewritten(facts=np.array(wrong)))


def test_scales_and_roles_must_be_as_many():
    with pytest.raises(StoredError):
        from_bytes(rewritten(scales=np.zeros(2)))


def test_exits_for_another_list_come_back_beside_their_calibration():
    base, other = calibrated(), dataclasses.replace(calibrated().exits, gates=(GATE,), thresholds=(90,), labels="12" * 32)
    whole = dataclasses.replace(base, exits=other, measured={"top1": 0.7})
    found = from_json(to_json(whole), base)
    assert found.exits.gates == (GATE,) and found.exits.thresholds == (90,) and found.exits.labels == "12" * 32
    assert found.exits.remembered is base.exits.remembered, "outputs know of no label"
    assert found.measured == {"top1": 0.7} and found.ranges is base.ranges


def test_exits_of_another_calibration_and_what_is_none_are_refused():
    base = calibrated()
    other = dataclasses.replace(base, origin=dataclasses.replace(base.origin, digest="00" * 32))
    with pytest.raises(StoredError, match="another calibration"):
        from_json(to_json(other), base)
    facts = json.loads(to_json(base))
    for content in (b"", b"[]", b"{}", json.dumps({**facts, "gates": 3}).encode(), to_json(base)[:-20]):
        with pytest.raises(StoredError, match="no exits"):
            from_json(content, base)
    with pytest.raises(StoredError, match=f"reads {EXITS_FORMAT}"):
        from_json(json.dumps({**facts, "format": EXITS_FORMAT + 1}).encode(), base)
