"""Every place of a manifest is held to its type and range when it is read: what passes can be run, what does not is one line."""

import dataclasses
import json
import math
import re
import typing
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.tflite_runtime_app import tiny_bundle, tiny_text
from tests.tflite_runtime_app.admission.fuzz_mutants import sealed
from tflite_runtime_app.admission.open import checked_bundle
from tflite_runtime_app.bundle import calibration_outputs
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes
from tflite_runtime_app.bundle.manifest import Manifest, to_json
from tflite_runtime_app.bundle.ranges import BUNDLE, TEXT_TOWER, Range
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import BundleError, LabelError
from tflite_runtime_app.exits.refit import for_other_labels
from tflite_runtime_app.policies import POLICIES
from tflite_runtime_app.sources.base import Frame
from tflite_runtime_app.text.file import TextManifest
from tflite_runtime_app.text.trial import checked_text

ODD = (
    None,
    True,
    -1,
    0,
    2,
    1e308,
    -1e308,
    1e9,
    0.5,
    10**30,
    math.nan,
    math.inf,
    "",
    "x\n\x1b[31m",
    "A" * 10_000,
    [],
    {},
    [[]],
    [1] * 999,
)
TINY = tiny_bundle.build()
MEMBERS = {
    "labels.npz": labels_to_bytes(tiny_bundle.bank()),
    "remembered.npz": calibration_outputs.to_bytes(
        calibration_outputs.Remembered(
            np.random.default_rng(0).integers(-128, 128, (8, 3, tiny_bundle.EMBEDDING), np.int8),
            np.random.default_rng(1).integers(-128, 128, (8, 2), np.int8),
        )
    ),
}
OTHER = LabelBank(np.eye(tiny_bundle.EMBEDDING, dtype=np.float32)[:3], ("x", "y", "z"), ("{}",), tiny_bundle.SPACE)
PARAMETERS = {
    "always": {"exit": 1},
    "confidence": {"threshold": 0.5},
    "class-based": {str(label): 0.5 for label in range(len(tiny_bundle.bank().names))},
    "patience": {"in_a_row": 2},
    "lct": {"offset_0": 3, "offset_1": -3},
    "ltt-lct": {"offset_0": 3, "offset_1": -3},
    "never": {},
}


def full_manifest(policy: str) -> dict:
    """A manifest with something in every field."""
    manifest = json.loads(to_json(TINY.manifest))
    manifest["policy"] = {"name": policy, "parameters": PARAMETERS[policy]}
    manifest["calibration"] |= {"risk": {"alpha": 0.02, "delta": 0.1, "images": 8, "losses": 0}, "observers": {"stream": "mse"}}
    return manifest | {"ladder": ["ranges"], "limits": {"cosine_mean": 0.9}, "tools": {"numpy": "2"}}


def paths(value, path=()) -> Iterator[tuple]:
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from paths(value[key], (*path, key))


def changed(value, path: tuple, odd):
    """A copy of parsed JSON in which `odd` stands at `path`."""
    if not path:
        return odd
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], odd)
    return copy


def run_all_of_it(path) -> None:
    """What a bundle goes through once it is let in: its labels, others, and its own again."""
    bundle = checked_bundle(path)
    classifier = Classifier(bundle)
    for bank in filter(None, (bundle.labels, OTHER, bundle.labels)):
        classifier.use(bank)
        classifier.classify(Frame("x", 0, Image.new("RGB", (9, 9), "white").copy))


@pytest.mark.parametrize("policy", PARAMETERS)
def test_whatever_stands_in_a_manifest_is_refused_in_one_line_or_runs(tmp_path, policy):
    manifest, file, fates = full_manifest(policy), tmp_path / "odd.tflite", {"refused": 0, "runs": 0}
    file.write_bytes(sealed(TINY.flatbuffer, manifest, MEMBERS))
    run_all_of_it(file)
    # The other policies share all but their own part with the first.
    every = [path for path in paths(manifest) if path and (policy == "always" or path[0] in ("policy", "calibration"))]
    for path in every:
        for odd in ODD:
            file.write_bytes(sealed(TINY.flatbuffer, changed(manifest, path, odd), MEMBERS))
            try:
                run_all_of_it(file)
                fates["runs"] += 1
            except (BundleError, LabelError) as refusal:
                assert str(refusal).isprintable(), (path, odd)
                assert len(str(refusal)) < 700, (path, odd)
                assert refusal.exit_code == 3
                fates["refused"] += 1
    assert fates["refused"] > 5 * fates["runs"]


def test_whatever_stands_in_a_text_towers_manifest_is_refused_in_one_line_or_read(tmp_path):
    flatbuffer, file, refused = b"    TFL3" + bytes(100), tmp_path / "odd.text.tflite", 0
    manifest = json.loads(json.dumps(dataclasses.asdict(tiny_text.manifest())))
    for path in filter(None, paths(manifest)):
        for odd in ODD:
            file.write_bytes(sealed(flatbuffer, changed(manifest, path, odd), {}, "text.json"))
            try:
                checked_text(file)
            except BundleError as refusal:
                assert str(refusal).isprintable(), (path, odd)
                refused += 1
    assert refused > 200


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000, b"\xff\xfe", b"", b"[" + b" " * (17 << 20) + b"]"]
)
@pytest.mark.parametrize("described", ["manifest.json", "text.json", "report.json"])
def test_json_that_is_none_or_too_deep_is_one_line(tmp_path, monkeypatch, content, described):
    file = tmp_path / "odd.tflite"
    if described == "report.json":
        file.write_bytes(sealed(TINY.flatbuffer, full_manifest("lct"), {"report.json": content}))
    else:
        monkeypatch.setattr(json, "dumps", lambda *_, **__: content.decode("latin-1"))
        file.write_bytes(sealed(TINY.flatbuffer, {}, {}, described).replace("ÿþ".encode(), b"\xff\xfe"))
        monkeypatch.undo()
    door = checked_text if described == "text.json" else checked_bundle
    with pytest.raises(BundleError) as refusal:
        door(file)
    assert str(refusal.value).isprintable()


def numbers(kind, where: str) -> Iterator[str]:
    """The path of every number and list that a dataclass may hold, as the table writes it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        for name, hint in typing.get_type_hints(kind).items():
            yield from numbers(hint, f"{where}.{name}")
    elif origin in (tuple, dict):
        yield where
        yield from numbers(arguments[0] if origin is tuple else arguments[1], f"{where}[]" if origin is tuple else f"{where}.*")
    elif kind in (int, float):
        yield where


@pytest.mark.parametrize(("kind", "root", "table"), [(Manifest, "manifest", BUNDLE), (TextManifest, "text", TEXT_TOWER)])
def test_every_number_and_list_has_its_range(kind, root, table):
    wanted = set(numbers(kind, root))
    assert wanted <= set(table.ranges), "a field without a range"
    named = {path for path in table.ranges if f"{path.rpartition('.')[0]}.*" not in wanted}
    assert named == {path for path in wanted if not path.endswith(".*")}, "a range without a field"


def test_the_policies_parameters_are_those_of_the_policies():
    assert set(PARAMETERS) == {policy.name for policy in POLICIES}
    used = {re.sub(r"\d+$", "N", name) for parameters in PARAMETERS.values() for name in parameters}
    known = {path.rpartition(".")[2] for path in BUNDLE.ranges if ".parameters." in path}
    assert used | {"*"} == known


@pytest.mark.parametrize("name", ["a.b", ".", "x[3]", "9" * 150, "", "a\nb", "A" * 300, "*", "[]"])
@pytest.mark.parametrize("place", [("policy", "parameters"), ("calibration", "risk"), ("limits",), ("tools",), ("members",)])
def test_whatever_a_number_is_called_it_is_read_or_refused(tmp_path, name, place):
    file = tmp_path / "odd.tflite"
    file.write_bytes(
        sealed(TINY.flatbuffer, changed(full_manifest("lct"), place, {name: 1e300 if place != ("tools",) else "2"}), {})
    )
    try:
        checked_bundle(file)
    except BundleError as refusal:
        assert str(refusal).isprintable()


def test_a_range_knows_its_ends():
    assert Range(0, 1).holds(0) and Range(0, 1).holds(1) and not Range(0, 1).holds(1.1)
    assert not Range(0, 1, open=True).holds(0) and not Range(0, 1, open=True).holds(1)
    assert not Range(0, 1).holds(math.nan)
    assert (str(Range(0, 1)), str(Range(0, 1, open=True))) == ("from 0 to 1", "between 0 and 1")


def test_class_thresholds_serve_as_many_labels_as_there_are(tmp_path):
    manifest = full_manifest("class-based")
    file = tmp_path / "few.tflite"
    file.write_bytes(sealed(TINY.flatbuffer, changed(manifest, ("policy", "parameters"), {"0": 0.5, "1": 0.5}), MEMBERS))
    with pytest.raises(BundleError, match="2 thresholds for 4 labels"):
        checked_bundle(file)
    file.write_bytes(sealed(TINY.flatbuffer, manifest, MEMBERS))
    bundle = checked_bundle(file)
    fitted, said = for_other_labels(Classifier(bundle).cascade, bundle.manifest, None, OTHER)
    assert fitted.policy.name == "never"
    assert "full depth" in said
