"""Exits fitted anew on the board: for other labels on what the bundle remembers, and for the images of its own camera."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.test_classify import words
from tests.tflite_runtime_app.exits.test_label_match import renamed
from tflite_runtime_app.bundle import calibration_outputs
from tflite_runtime_app.bundle.calibration_outputs import Remembered
from tflite_runtime_app.bundle.file import read_bundle, write_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.cli import main
from tflite_runtime_app.errors import BundleIncompatible
from tflite_runtime_app.exits.label_match import labels_digest
from tflite_runtime_app.exits.refit import refit
from tflite_runtime_app.exits.replay import Replay, remember, replay, replayed
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.policies import Never, policy_from_manifest


@pytest.fixture
def pictures(tmp_path):
    """Three hundred small images in a folder, and one broken one."""
    folder, random = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(300):
        coarse = random.integers(0, 256, (2, 2, 3), np.uint8)
        Image.fromarray(coarse).resize((8, 8), Image.Resampling.BICUBIC).save(folder / f"{number:03}.png")
    (folder / "broken.png").write_bytes(b"nothing")
    return folder


def seen(bundle, count=300):
    random = np.random.default_rng(1)
    cascade = load_cascade(bundle, policy=Never())
    return cascade, replay(cascade, (random.integers(-128, 128, (8, 8, 3), np.int8) for _ in range(count)))


def test_what_is_remembered_comes_back_exactly(bundle_path):
    bundle = read_bundle(bundle_path)
    _, found = seen(bundle, 20)
    memory = remember(found, bundle.manifest, 10)
    assert len(memory) == 10
    back = replayed(calibration_outputs.from_bytes(calibration_outputs.to_bytes(memory), bundle.manifest), bundle.manifest)
    chosen = np.linspace(0, 19, 10).astype(int)
    np.testing.assert_allclose(back.embeddings, found.embeddings[chosen], atol=1e-6)
    np.testing.assert_allclose(back.variances, found.variances[chosen], atol=1e-6)


def test_a_memory_of_another_shape_is_refused(bundle_path):
    bundle = read_bundle(bundle_path)
    for wrong in (
        Remembered(np.zeros((4, 2, 6), np.int8), np.zeros((4, 2), np.int8)),
        Remembered(np.zeros((4, 3, 6), np.int8), np.zeros((4, 1), np.int8)),
        Remembered(np.zeros((4, 3, 6), np.float32), np.zeros((4, 2), np.int8)),  # type: ignore[arg-type]
    ):
        with pytest.raises(BundleIncompatible, match="remembered"):
            calibration_outputs.from_bytes(calibration_outputs.to_bytes(wrong), bundle.manifest)
    with pytest.raises(BundleIncompatible, match="cannot be read"):
        calibration_outputs.from_bytes(b"garbage", bundle.manifest)


@pytest.mark.parametrize(("alpha", "delta"), [(0.02, 0.1), (0.3, 0.1), (0.9, 0.1)])
def test_the_bound_holds_on_the_images_it_was_walked_on(bundle_path, alpha, delta):
    """No more answers change than the bound says were lost, and a looser bound lets more leave."""
    bundle = read_bundle(bundle_path)
    cascade, found = seen(bundle)
    manifest, bound = refit(cascade, bundle.manifest, found, bundle.labels, alpha, delta)
    assert bound.risk <= alpha
    assert bound.images == 225, "the first quarter gives mean and deviation"
    fitted = policy_from_manifest(manifest)
    cascade = dataclasses.replace(bundle, manifest=manifest)
    changed = 0
    random = np.random.default_rng(1)
    runner = load_cascade(cascade)
    images = [random.integers(-128, 128, (1, 8, 8, 3), np.int8) for _ in range(300)]
    for image in images[75:]:
        early = runner.run(image, bundle.labels)
        full = load_full(runner).run(image, bundle.labels)
        changed += early.scores.top1 != full.scores.top1
    assert changed == bound.losses
    assert (fitted == Never()) == (bound.kept < 0)
    assert manifest.calibration.risk["label_free"] == 1.0


def load_full(cascade):
    return type(cascade)(cascade.engine, cascade.manifest, Never())


def test_too_few_images_and_every_exit_is_off(bundle_path):
    bundle = read_bundle(bundle_path)
    cascade, found = seen(bundle, 100)
    manifest, bound = refit(cascade, bundle.manifest, found, bundle.labels, 0.02, 0.1)
    assert bound.kept == -1
    assert manifest.policy.name == "never"
    assert {gate.threshold for gate in manifest.gates} == {128}


def test_recalibrate_writes_a_bundle_for_this_camera(bundle_path, pictures, tmp_path, capsys):
    out = tmp_path / "mine.tflite"
    assert main(words("recalibrate", bundle_path, pictures, "--out", out, "--risk", "0.5")) == 1, "one image was broken"
    told = capsys.readouterr()
    assert "broken.png" in told.err
    assert told.out.strip() == str(out)
    bundle = read_bundle(out)
    assert bundle.manifest.calibration.images == 300
    assert bundle.manifest.calibration.risk["alpha"] == 0.5
    assert bundle.manifest.calibration.labels == labels_digest(bundle.labels.names)
    assert len(bundle.remembered) == 300
    assert main(words(out, pictures / "000.png", "--json")) == 0
    assert main(words("recalibrate", bundle_path, pictures, "--out", out)) == 2, "it exists"


def test_recalibrate_with_a_handful_of_pictures_switches_exits_off_and_says_so(bundle_path, pictures, tmp_path, capsys):
    out = tmp_path / "mine.tflite"
    assert main(words("recalibrate", bundle_path, pictures / "00?.png", "--out", out)) == 0
    assert "exits are off: 10 images cannot show it, 153 are the least" in capsys.readouterr().err
    assert read_bundle(out).manifest.policy.name == "never"


def test_every_nth_picture_counts(bundle_path, pictures, tmp_path):
    out = tmp_path / "mine.tflite"
    (pictures / "broken.png").unlink()
    assert main(words("recalibrate", bundle_path, pictures, "--out", out, "--every", "3")) == 0
    assert read_bundle(out).manifest.calibration.images == 100


def test_recalibrate_without_a_picture_writes_nothing(bundle_path, tmp_path, capsys):
    out = tmp_path / "mine.tflite"
    assert main(words("recalibrate", bundle_path, tmp_path / "none.png", "--out", out)) == 2
    assert not out.exists()


def test_other_labels_are_fitted_on_what_the_bundle_remembers(bundle_path, picture, tmp_path, capsys):
    bundle = read_bundle(bundle_path)
    _, found = seen(bundle)
    risk = {"alpha": 0.6, "delta": 0.1}
    calibration = dataclasses.replace(bundle.manifest.calibration, labels=labels_digest(bundle.labels.names), risk=risk)
    manifest = dataclasses.replace(bundle.manifest, calibration=calibration)
    path, others = tmp_path / "fitted.tflite", tmp_path / "others.npz"
    members = {
        "labels.npz": labels_to_bytes(bundle.labels),
        "remembered.npz": calibration_outputs.to_bytes(remember(found, manifest)),
    }
    write_bundle(path, bundle.flatbuffer, manifest, members)
    others.write_bytes(labels_to_bytes(renamed(bundle.labels)))
    assert main(words(path, picture, "--json", "--labels", others)) == 0
    captured = capsys.readouterr()
    assert "fitted for other labels; they now change" in captured.err
    assert "at most 60.0%" in captured.err
    assert json.loads(captured.out)["top"]


def test_equal_pictures_count_once(bundle_path, pictures, tmp_path, capsys):
    out = tmp_path / "mine.tflite"
    (pictures / "broken.png").unlink()
    for copy in range(5):
        (pictures / f"copy{copy}.png").write_bytes((pictures / "000.png").read_bytes())
    assert main(words("recalibrate", bundle_path, pictures, "--out", out)) == 0
    assert "5 images equal others and are left out: 300 are distinct" in capsys.readouterr().err
    assert read_bundle(out).manifest.calibration.images == 300


def test_the_first_quarter_is_not_that_of_the_names(bundle_path, pictures, tmp_path, monkeypatch):
    """In a folder sorted by what its pictures show, the first quarter shows something else than the rest."""
    places = []
    chosen = Replay.chosen
    monkeypatch.setattr(Replay, "chosen", lambda self, order: (places.append(order), chosen(self, order))[1])
    main(words("recalibrate", bundle_path, pictures, "--out", tmp_path / "mine.tflite"))
    (order,) = places
    assert sorted(order) == list(range(300))
    assert abs(np.mean(order[:75]) - 150) < 30
