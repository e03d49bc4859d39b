"""Thresholds hold for the labels that they were fitted on."""

import dataclasses
import json

import numpy as np

from tests.end_to_end.test_classify import words
from tflite_runtime_app.bundle.file import read_bundle, write_bundle
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes
from tflite_runtime_app.cli import main
from tflite_runtime_app.exits.label_match import for_labels, labels_digest, labels_match


def renamed(bank: LabelBank) -> LabelBank:
    return dataclasses.replace(bank, names=tuple(f"other {name}" for name in bank.names))


def test_a_digest_knows_names_and_order():
    assert len({labels_digest(names) for names in (("a", "b"), ("b", "a"), ("a",), ("a", "b", "c"))}) == 4


def test_other_labels_close_every_exit(bundle_path):
    bundle = read_bundle(bundle_path)
    own = dataclasses.replace(
        bundle.manifest, calibration=dataclasses.replace(bundle.manifest.calibration, labels=labels_digest(bundle.labels.names))
    )
    assert labels_match(own, bundle.labels) and for_labels(own, bundle.labels) is own
    closed = for_labels(own, renamed(bundle.labels))
    assert closed.policy.name == "never" and closed.none_threshold == -1.0
    assert {gate.threshold for gate in closed.gates} == {128}


def test_classify_says_so_and_goes_to_full_depth(bundle_path, picture, tmp_path, capsys):
    bundle = read_bundle(bundle_path)
    calibration = dataclasses.replace(bundle.manifest.calibration, labels=labels_digest(bundle.labels.names))
    gates = tuple(dataclasses.replace(gate, threshold=-128) for gate in bundle.manifest.gates)
    policy = dataclasses.replace(bundle.manifest.policy, name="lct", parameters={})
    manifest = dataclasses.replace(bundle.manifest, calibration=calibration, gates=gates, policy=policy)
    path, others = tmp_path / "fitted.tflite", tmp_path / "others.npz"
    write_bundle(path, bundle.flatbuffer, manifest, {"labels.npz": labels_to_bytes(bundle.labels)})
    others.write_bytes(labels_to_bytes(renamed(bundle.labels)))
    assert np.allclose(renamed(bundle.labels).vectors, bundle.labels.vectors)
    left = []
    for options in ((), ("--labels", others)):
        assert main(words(path, picture, "--json", *options)) == 0
        captured = capsys.readouterr()
        left.append(json.loads(captured.out)["exit"])
        assert ("fitted for other labels" in captured.err) is bool(options)
    assert left == [0, len(manifest.stages) - 1]
