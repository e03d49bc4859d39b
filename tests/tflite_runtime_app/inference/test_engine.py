"""The interpreter runs what the manifest states, on every kind of kernel, and nothing else."""

import collections
import importlib.metadata
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import ai_edge_litert
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.errors import BundleIncompatible
from tflite_runtime_app.inference.direct import direct
from tflite_runtime_app.inference.engine import LiteRtEngine, check_litert, check_platform, installed_litert
from tflite_runtime_app.inference.signatures import check_signatures


class OfAnotherMachine(ModuleType):
    """A module that ends its import as ctypes does with a library of another machine."""

    def __getattr__(self, name):
        raise OSError("libLiteRt.so: wrong ELF class: ELFCLASS32")


class Counter:
    """LiteRT's library, with a count of what is asked of it."""

    def __init__(self, library):
        self._library, self.calls = library, collections.Counter()

    def __getattr__(self, name):
        def counted(*given):
            self.calls[name] += 1
            return getattr(self._library, name)(*given)

        return counted


def codes_of(real: np.ndarray, spec) -> np.ndarray:
    return np.clip(np.rint(real / spec.scale) + spec.zero_point, -128, 127)


def stage_by_hand(tiny, name: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """A stage of the tiny tower in floating point, rounded to int8 where the graph is; `rows` are real values [4, columns]."""

    def product(values, use):
        return values @ (tiny.weights[f"{name}.{use}"].astype(float) * tiny_bundle.WEIGHT_SCALE).T

    hidden = codes_of(product(rows, "hidden"), tiny_bundle.HIDDEN)
    mean = (np.rint(hidden.mean(axis=0)) - tiny_bundle.HIDDEN.zero_point) * tiny_bundle.HIDDEN.scale
    return {"hidden": hidden, "embedding": codes_of(product(mean, "embedding"), tiny_bundle.VECTOR)}


@pytest.mark.parametrize("op_resolver", ["xnnpack", "builtin", "reference"])
def test_a_stage_computes_what_arithmetic_says(tiny, tensor, op_resolver):
    outputs = LiteRtEngine(tiny.flatbuffer, 1, op_resolver).invoke("stage_0", {"image": tensor})
    rows = (tensor.astype(float).reshape(4, 48) + 128) / 255
    expected = stage_by_hand(tiny, "stage_0", rows)
    assert np.unique(outputs["hidden"]).size > 10, "a constant output would prove nothing"
    assert np.abs(outputs["hidden"].reshape(4, 8) - expected["hidden"]).max() <= 1
    # One code of the mean is up to 127 * WEIGHT_SCALE * HIDDEN.scale / VECTOR.scale = 0.95 codes of the embedding.
    assert np.abs(outputs["embedding"][0] - expected["embedding"]).max() <= 2


def test_outputs_are_copies(tiny, tensor):
    engine = LiteRtEngine(tiny.flatbuffer)
    first = engine.invoke("stage_0", {"image": tensor})
    kept = first["hidden"].copy()
    engine.invoke("stage_0", {"image": ~tensor})
    np.testing.assert_array_equal(first["hidden"], kept)


def test_inputs_of_another_shape_type_or_name_are_refused(tiny, tensor):
    engine = LiteRtEngine(tiny.flatbuffer)
    for inputs in ({"image": tensor[:, :4]}, {"image": tensor.astype(np.uint8)}, {"picture": tensor}, {}):
        with pytest.raises(ValueError, match="stage_0 takes"):
            engine.invoke("stage_0", inputs)


def test_a_direct_call_gives_what_literts_own_runner_gives_with_less_asked_of_it(tiny, tensor):
    interpreter = Interpreter(model_content=tiny.flatbuffer)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("stage_0")
    asked = Counter(runner._interpreter_wrapper)
    direct_call = direct(SimpleNamespace(**{**vars(runner), "_interpreter_wrapper": asked}))
    for image in (tensor, ~tensor, tensor):
        found, expected = direct_call({"image": image}), runner(image=image)
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert asked.calls == {"AllocateTensors": 1, "SetTensor": 3, "Invoke": 3, "GetTensor": 3 * len(expected)}


def test_a_call_that_failed_is_allocated_anew(tiny, tensor):
    runner = LiteRtEngine(tiny.flatbuffer)._loaded()["stage_0"]
    asked = Counter(runner._interpreter_wrapper)
    direct_call = direct(SimpleNamespace(**{**vars(runner), "_interpreter_wrapper": asked}))
    with pytest.raises(ValueError, match="Dimension mismatch"):
        direct_call({"image": tensor[:, :4]})
    assert direct_call({"image": tensor})
    assert asked.calls["AllocateTensors"] == 2


def test_a_litert_that_is_built_otherwise_is_called_by_its_runner(tensor):
    asked = []

    def runner(**given):
        asked.append(list(given))
        return {"embedding": given["image"]}

    assert direct(runner)({"image": tensor})["embedding"] is tensor
    assert asked == [["image"]]


def test_the_signatures_are_those_of_the_manifest(tiny):
    check_signatures(LiteRtEngine(tiny.flatbuffer).signatures, tiny.manifest)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signature": "stage_9"}, "stage_9"),
        ({"name": "hide"}, "hide"),
        ({"shape": (1, 4, 9)}, "hidden should be int8"),
        ({"scale": 0.0300001}, "hidden should be int8"),
        ({"zero_point": 6}, "hidden should be int8"),
    ],
)
def test_a_manifest_that_differs_from_the_model_is_refused(tiny, changes, message):
    stage = tiny.manifest.stages[0]
    if "signature" in changes:
        stage = replace(stage, **changes)
    else:
        stage = replace(stage, outputs=(replace(stage.outputs[0], **changes), *stage.outputs[1:]))
    manifest = replace(tiny.manifest, stages=(stage, *tiny.manifest.stages[1:]))
    with pytest.raises(BundleIncompatible, match=message):
        check_signatures(LiteRtEngine(tiny.flatbuffer).signatures, manifest)


def test_old_versions_are_refused_by_name(tiny, monkeypatch):
    for version in ("2.3.0", "2.3.1", "2.10.0", "3.0.0"):
        check_litert(version)
    for version in ("1.4.0", "2.1.2", "2.2.9"):
        with pytest.raises(BundleIncompatible, match=rf"2\.3\.0 or newer, found {version}.*BATCH_MATMUL"):
            check_litert(version)
    monkeypatch.setattr(ai_edge_litert, "__version__", "2.1.0")
    with pytest.raises(BundleIncompatible, match=r"2\.1\.0"):
        LiteRtEngine(tiny.flatbuffer)


def test_a_litert_that_does_not_say_its_version_is_looked_up(monkeypatch):
    """Older ones do not, and one whose library is another machine's cannot; what pip wrote down does."""
    known = installed_litert()
    assert known == ai_edge_litert.__version__
    monkeypatch.delattr(ai_edge_litert, "__version__")
    assert installed_litert() == known
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)  # an import of it fails
    assert installed_litert() == known
    monkeypatch.setattr(importlib.metadata, "version", lambda name: importlib.metadata.distribution("no-such-" + name).version)
    with pytest.raises(BundleIncompatible, match="expected ai-edge-litert, found none"):
        installed_litert()


def test_a_library_of_another_machine_is_one_line(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", OfAnotherMachine("ai_edge_litert.interpreter"))
    with pytest.raises(BundleIncompatible, match=r"does not load here \(libLiteRt\.so: wrong ELF class"):
        LiteRtEngine(tiny.flatbuffer)


def test_a_32_bit_python_is_refused():
    check_platform(64)
    with pytest.raises(BundleIncompatible, match="64-bit"):
        check_platform(32)


def test_unknown_kernels(tiny):
    with pytest.raises(ValueError, match="op_resolver"):
        LiteRtEngine(tiny.flatbuffer, 1, "quick")
