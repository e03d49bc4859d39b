"""DeiT-tiny, weights that others trained: what full integer costs there, naively and with the whole ladder, beside TFLite's dynamic range.

    pytest -m slow -s tests/end_to_end/test_real_weights.py

prints the tables. The weights and photographs are not in the repository: without ../shared the tests fail and say so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from safetensors.torch import load_file

from calibration.samples import SampleSet, pixels
from convert.bench.float_files import dynamic_range
from convert.build import Build, build
from convert.emit.manifest import cascade_of
from convert.measure import parity
from convert.model.labels import embed_labels
from convert.model.load import load_model
from convert.options import BuildOptions, ModelOptions
from convert.request import make_request
from convert.rewrites.recipe import STEPS
from convert.support.images import load_images
from convert.support.progress import Silent
from tests.clone import ROOT
from tests.end_to_end.programs import run
from tests.end_to_end.test_stress import FINAL, NAIVE, TENS, measure, plant
from tflite_runtime_app.bundle.labels import unit
from tflite_runtime_app.exits.replay import replay
from tflite_runtime_app.text.label_list import read_label_file
from tools.deit_tiny import class_vectors, make

SHARED = ROOT.parent / "shared"
WEIGHTS = SHARED / "models" / "deit-tiny" / "deit_tiny_patch16_224.safetensors"
SAMPLES = SHARED / "data" / "imagenet-samples" / "samples.tar"
OTHERS = SHARED / "data" / "photographs" / "nips17.tar"
IDS = SHARED / "data" / "imagenet-samples" / "wnids.txt"
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Judged:
    """One network on the held images, against open_clip's float: shares in 0..1."""

    name: str
    cosine: float
    first_percentile: float
    agreement: float
    top1: float


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    if not WEIGHTS.is_file():
        pytest.fail(f"{WEIGHTS} is not here: these tests need the weights of DeiT-tiny and the photographs beside them")
    folder = tmp_path_factory.mktemp("deit") / "deit-tiny"
    make(load_file(WEIGHTS), folder, IDS.read_text().split())
    return folder


def test_cosines_stand_in_the_order_of_the_classifiers_logits(model):
    """The embedding's cosines are the logits W f + b, centred over the classes, over the length of (f, 1) and M."""
    theirs = load_file(WEIGHTS)
    loaded = load_model(str(model), None, None)
    images = load_images((SAMPLES,), loaded.preprocessing, Silent()).part(0, 8).images
    embedding = loaded.encode(torch.from_numpy(pixels(images)))
    weight, bias = theirs["head.weight"], theirs["head.bias"]
    logits = embedding[:, :192] @ weight.T + bias
    vectors, length = class_vectors(weight, bias)
    mine = embedding @ vectors.T * length
    assert float((mine - (logits - logits.mean(1, keepdim=True))).abs().max()) < 1e-3
    assert np.allclose(embedding[:, 192].numpy(), 1, atol=1e-4), "the constant that reads the bias"


def made(model: Path, images: Path, step: str | None = None) -> Build:
    options = BuildOptions(model=ModelOptions(model=str(model)), images=(images,), ladder=step)
    return build(make_request(options, Silent()), Silent())


@pytest.mark.parametrize(("calibrated_on", "judged_on"), [(SAMPLES, OTHERS), (OTHERS, SAMPLES)], ids=["nips17", "imagenet"])
def test_the_ladder_holds_what_naive_full_integer_loses(model, calibrated_on, judged_on, capsys):
    whole, naive = made(model, calibrated_on), made(model, calibrated_on, STEPS[0])
    loaded = load_model(str(model), None, None)
    held = load_images((judged_on,), loaded.preprocessing, Silent())
    reference = parity.float_embeddings(loaded, held.images, Silent())
    names = [line.split("\t")[0] for line in (model / "labels.txt").read_text().splitlines()]
    truth = np.array([names.index(folder) for folder in held.folders])
    found = {
        "float32, open_clip": reference,
        "full integer, naive": integer(naive, held),
        "full integer, whole ladder": integer(whole, held),
        "TFLite, dynamic range": dynamic(whole, held),
    }
    judged = {name: judge(name, value, reference, truth, whole.bank.vectors) for name, value in found.items()}
    assert whole.report.noise is not None
    nsr = whole.report.noise["nsr"]
    with capsys.disabled():
        show(judged, nsr, judged_on.stem, len(held))
    exact, ours, before = (judged[name] for name in ("float32, open_clip", "full integer, whole ladder", "full integer, naive"))
    assert before.top1 < exact.top1 - 0.03, "the collapse is there on real weights"
    assert exact.top1 - ours.top1 <= 0.2 * (exact.top1 - before.top1), "and the ladder takes back four fifths of it at least"
    assert ours.cosine > 0.993
    assert ours.first_percentile > 0.98
    assert ours.agreement > 0.955
    assert nsr[-1] < 0.12


def test_its_culprits_its_ladder_and_its_report(model, tmp_path):
    """The three pages that show where the noise comes from, made by the commands on a tower that nobody made for them."""
    run("convert", "culprit", "--model", model, "--images", SAMPLES, "--count", 16, "--out", tmp_path / "culprit")
    found = json.loads((tmp_path / "culprit" / "culprit.json").read_text())
    assert found["everything"] < 0.008 and {block["name"] for block in found["blocks"]} >= {
        f"block_{n:02d}" for n in range(1, 13)
    }
    assert {one["name"] for one in found["classes"]} >= {"gelu", "softmax", "norm", "weight"}

    words = ("--model", model, "--images", SAMPLES, "--count", 100, "--no-factorial", "--out", tmp_path / "ladder")
    run("convert", "ladder", *words)
    steps = json.loads((tmp_path / "ladder" / "ladder.json").read_text())["ladder"]
    assert steps[0]["name"].startswith("naive")
    assert steps[-1]["cosine_mean"] > 0.993 > 0.9 > steps[0]["cosine_mean"], "from the collapse to the whole ladder"

    bundle = tmp_path / "deit.tflite"
    run("convert", "build", "--model", model, "--images", SAMPLES, "--out", bundle)
    page = (tmp_path / "deit-report" / "index.html").read_text("utf-8")
    assert "two-term-probabilities" in page and "block 12" in page


@pytest.mark.parametrize(
    ("kind", "cosine", "points"),
    [("outlier channels", 0.99, 0.02), ("high-norm tokens", 0.975, 0.04)],
    ids=["channels", "tokens"],
)
def test_it_under_stress(model, kind, cosine, points, capsys):
    """A planted channel or token as large CLIP towers grow them, on real weights: naive collapses, the ladder takes nearly all of it back.

    Measured on 300 photographs: with channels float 73.3 %, naive 63.3, ladder 72.7 at a cosine of 0.9918; with tokens 75.0, 14.3 and
    72.3 at 0.982. The embedded model keeps 0.99 and a point under both (`test_stress.py`); with tokens this tower does not.
    """
    loaded = load_model(str(model), None, None)
    images, held = (load_images((where,), loaded.preprocessing, Silent()) for where in (SAMPLES, OTHERS))
    held = held.part(0, 300)
    labels = read_label_file(model / "labels.txt")
    bank, truth = embed_labels(labels, loaded), np.array(labels.indices(held.folders))
    changed = plant(loaded, kind, images.images[:64], held.images, TENS).model
    naive, final = (measure(changed, bank, recipe, images.part(0, 256), held, truth) for recipe in (NAIVE, FINAL))
    with capsys.disabled():
        print(f"\n{kind}: naive {naive}; ladder {final}")
    assert naive.top1 < naive.float_top1 - 0.08, f"naive {naive}"
    assert final.cosine >= cosine and final.top1 >= final.float_top1 - points, f"naive {naive}; ladder {final}"


def integer(bundle: Build, held: SampleSet) -> NDArray[np.float32]:
    cascade = cascade_of(bundle.flatbuffer, bundle.manifest)
    return replay(cascade, held.images).embeddings[:, -1]


def dynamic(bundle: Build, held: SampleSet) -> NDArray[np.float32]:
    interpreter = Interpreter(model_content=dynamic_range(bundle.float_file), num_threads=1)
    stages = [interpreter.get_signature_runner(f"stage_{k}") for k in range(len(bundle.manifest.stages))]
    found = []
    for image in held.images:
        given: dict[str, Any] = {"image": pixels(image[None])}
        for stage in stages:
            given = stage(**{name: given[name] for name in stage.get_input_details()})
        found.append(given["embedding"])
    return np.concatenate(found)


def judge(
    name: str, found: NDArray[np.float32], reference: NDArray[np.float32], truth: NDArray[np.int64], vectors: NDArray[np.float32]
) -> Judged:
    cosines = (unit(found) * unit(reference)).sum(1)
    mine, exact = (unit(value) @ vectors.T for value in (found, reference))
    return Judged(
        name,
        float(cosines.mean()),
        float(np.percentile(cosines, 1)),
        float((mine.argmax(1) == exact.argmax(1)).mean()),
        float((mine.argmax(1) == truth).mean()),
    )


def show(judged: dict[str, Judged], nsr: list[float], where: str, count: int) -> None:
    error = 1.96 * (0.25 / count) ** 0.5
    print(f"\n{where}, {count} photographs, 1,000 names; a share has an interval of at most ± {error:.1%}")
    for one in judged.values():
        print(
            f"{one.name:28} cosine {one.cosine:.4f}  1st percentile {one.first_percentile:.4f}  "
            f"same answer {one.agreement:.1%}  top-1 {one.top1:.1%}"
        )
    print("NSR after each block: " + ", ".join(f"{value:.1%}" for value in nsr))
