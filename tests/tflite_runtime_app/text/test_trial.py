"""A text tower passes a door of its own: walked, tried in a child, and only then run by the program that a label was typed into."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from convert.text.emit import WEIGHTS
from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle, tiny_text
from tests.tflite_runtime_app.admission.test_flatbuffer_check import edited, no_such_subgraph
from tests.tflite_runtime_app.admission.test_open import sign
from tflite_runtime_app.admission import child
from tflite_runtime_app.admission.signing import read_public_key
from tflite_runtime_app.bundle.container import appended
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.errors import BundleError, BundleIncompatible, LabelError
from tflite_runtime_app.text import trial
from tflite_runtime_app.text.beside import text_path
from tflite_runtime_app.text.file import pack_text
from tflite_runtime_app.text.label_source import LabelSource
from tflite_runtime_app.text.trial import admit_text, check_text, checked_text, try_tower


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bundle(tmp_path, tiny):
    return read_bundle(tiny_bundle.write(tmp_path / "tiny.tflite", tiny, tiny_bundle.bank()))


def flatbuffer(form: str = "float16", **changes) -> bytes:
    return tiny_text.emit(dataclasses.replace(tiny_text.tower(), **changes), form, tiny_text.LENGTHS)


def written(tmp_path, content: bytes, **changes):
    path = tmp_path / "tiny.text.tflite"
    path.write_bytes(pack_text(content, tiny_text.manifest(**changes)))
    return path


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@pytest.mark.parametrize("form", ["float32", *WEIGHTS])
def test_every_form_of_tower_is_let_in_and_tried_once(tmp_path, monkeypatch, form, activation):
    file = checked_text(written(tmp_path, flatbuffer(form, activation=activation)))
    check_text(file)
    admit_text(file)
    monkeypatch.setattr(child.sys, "executable", "/nonexistent")  # a second try would fail
    admit_text(file)


def test_a_tower_that_ends_litert_by_a_signal_is_refused_by_the_label_that_asks_for_it(tmp_path, bundle):
    """As it was typed into the page of a live run: signatures that name no subgraph of the file, all digests made anew."""
    written(tmp_path, edited(flatbuffer(), no_such_subgraph))
    with pytest.raises(LabelError, match="one signature") as refusal:
        LabelSource(bundle, "a red mug").read()
    assert "convert text BUNDLE" in str(refusal.value)
    assert "convert build" not in str(refusal.value)


def test_what_the_walk_does_not_find_ends_in_the_child(tmp_path, bundle, monkeypatch):
    written(tmp_path, edited(flatbuffer(), no_such_subgraph))
    monkeypatch.setattr(trial, "check", lambda flatbuffer, rules: None)
    with pytest.raises(LabelError, match="SIGSEGV"):
        LabelSource(bundle, "a red mug").read()


def test_deep_json_is_one_line(tmp_path, bundle):
    path = text_path(bundle.path)
    path.write_bytes(appended(flatbuffer(), {"text.json": b"[" * 100_000}))
    with pytest.raises(LabelError, match="nested too deeply") as refusal:
        LabelSource(bundle, "a red mug").read()
    assert str(refusal.value).isprintable()


def no_rows(model):
    """The table of tokens has one row less than there are tokens."""
    for tensor in model.subgraphs[0].tensors:
        if tuple(tensor.shape) == (tiny_text.VOCABULARY, tiny_text.WIDTH):
            tensor.shape = [tiny_text.VOCABULARY - 1, tiny_text.WIDTH]
            buffer = model.buffers[tensor.buffer]
            buffer.data = np.asarray(buffer.data, np.uint8)[: -2 * tiny_text.WIDTH]


def along_the_batch(model):
    """The largest id is looked for along the axis of length 1: its place is no place in the sentence."""
    codes = [code.builtinCode for code in model.operatorCodes]
    graph = model.subgraphs[0]
    operator = next(op for op in graph.operators if codes[op.opcodeIndex] == schema.BuiltinOperator.ARG_MAX)
    model.buffers[graph.tensors[operator.inputs[1]].buffer].data = np.zeros(4, np.uint8)


def not_a_number(model):
    largest = max(model.buffers, key=lambda buffer: 0 if buffer.data is None else len(buffer.data))
    data = np.array(largest.data, np.uint8)
    data[:2] = (0, 0x7E)  # NaN in float16
    largest.data = data


def a_state(model):
    model.subgraphs[0].tensors[3].isVariable = True


def other_operator(model):
    for code in model.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.RSQRT:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_rows, "go into 49407 rows"),
        (along_the_batch, "shape"),
        (not_a_number, "not finite"),
        (a_state, "variable"),
        (other_operator, "which no text tower has"),
    ],
)
def test_what_no_text_tower_has_is_named(tmp_path, change, message):
    file = checked_text(written(tmp_path, edited(flatbuffer(), change)))
    with pytest.raises(BundleError, match=message) as refusal:
        check_text(file)
    assert str(refusal.value).endswith("make it with: convert text BUNDLE")
    assert str(file.path) in str(refusal.value)


def test_a_bundle_is_no_text_tower_and_a_text_tower_no_bundle(tmp_path, tiny):
    with pytest.raises(BundleError):
        check_text(checked_text(written(tmp_path, tiny.flatbuffer)))
    with pytest.raises(BundleError):
        trial.check(flatbuffer())


def test_a_tower_that_says_other_shapes_than_it_has_is_refused(tmp_path):
    with pytest.raises(BundleIncompatible, match="has no signature text_16"):
        try_tower(checked_text(written(tmp_path, flatbuffer(), lengths=(16, 20))))
    with pytest.raises(BundleIncompatible, match="should have"):
        try_tower(checked_text(written(tmp_path, flatbuffer(), embedding_size=tiny_bundle.EMBEDDING + 1)))


def test_a_tower_whose_numbers_run_away_gives_no_direction(tmp_path, bundle):
    huge = tiny_text.tower()
    wide = dataclasses.replace(huge, projection=dataclasses.replace(huge.projection, weight=huge.projection.weight * 1e38))
    written(tmp_path, tiny_text.emit(wide, "float32", tiny_text.LENGTHS))
    with pytest.raises(LabelError, match="not finite"):
        LabelSource(bundle, "a red mug").read()


def test_a_remembered_vector_counts_only_for_a_tower_that_passes_today(tmp_path, bundle, tiny):
    """Names cached from an unsigned tower were accepted under --require-signature."""
    path = written(tmp_path, flatbuffer())
    private = Ed25519PrivateKey.generate()
    (tmp_path / "public.pem").write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    key = read_public_key(tmp_path / "public.pem")
    LabelSource(bundle, "a red mug").read()
    with pytest.raises(LabelError, match="signature"):
        LabelSource(bundle, "a red mug", key=key).read()
    sign(path, private, "text-tower")
    assert LabelSource(bundle, "a red mug", key=key).read().names == ("a red mug",)


def test_a_damaged_tower_does_not_pass_by_the_digest_at_its_end(tmp_path, bundle):
    path = written(tmp_path, flatbuffer())
    LabelSource(bundle, "a red mug").read()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(LabelError, match="altered or damaged"):
        LabelSource(bundle, "a red mug").read()


def test_by_hand_it_tells_the_same(tmp_path):
    path = written(tmp_path, flatbuffer())
    command = [sys.executable, "-m", "tflite_runtime_app.text.trial"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([*command, path], capture_output=True, check=False, env=environment).returncode == 0
    path.write_bytes(b"")
    done = subprocess.run([*command, path], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
