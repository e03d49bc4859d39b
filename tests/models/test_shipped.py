"""The models that the repository ships: their sizes, and a label list of names that pass."""

import csv
import json

import numpy as np
import pytest
import torch

from calibration.samples import load, pixels, samples
from convert.model.labels import embed_labels, read_label_list
from convert.model.load import load_model
from tests.clone import ROOT
from tflite_runtime_app.text.label_list import read_label_file
from tools.choose_labels import Found

VALIDATION = ROOT.parent / "shared" / "data" / "tiny-imagenet" / "val.tar"  # where the data of this project lie, if they do
MODELS = ROOT / "models"
LARGEST = {"pocket": (22.0e6, 68e6), "pico": (6.0e6, 68e6)}  # parameters of the image tower, bytes of both towers in float16


@pytest.mark.parametrize("name", LARGEST)
def test_shipped_models_keep_their_sizes(name):
    parameters, size = LARGEST[name]
    visual = load_model(name, None, MODELS).module.visual
    assert sum(p.numel() for p in visual.parameters()) <= parameters
    assert (MODELS / name / "open_clip_model.safetensors").stat().st_size <= size
    configuration = json.loads((MODELS / name / "open_clip_config.json").read_text())["model_cfg"]["vision_cfg"]
    assert configuration["layers"] == 12
    assert 64 <= configuration["image_size"] <= 112


@pytest.mark.parametrize("name", LARGEST)
def test_the_default_labels_are_those_of_the_candidates_that_passed(name):
    model = load_model(name, None, MODELS)
    told = (model.folder / "labels.csv").read_text("utf-8").splitlines()
    assert told[0] == f"# of the model whose space is {model.space_id}", "chosen for other weights: run tools/choose_labels.py"
    rows = list(csv.DictReader(told[1:]))
    candidates = read_label_file(MODELS / "everyday.tsv")
    assert [row["name"] for row in rows] == list(candidates.names)
    kept = [row for row in rows if row["kept"] == "yes"]
    of = dict(zip(candidates.names, candidates.ids, strict=True))
    listed = read_label_list(None, model)
    assert listed.names == tuple(row["name"] for row in kept)
    assert listed.ids == tuple(of[name] for name in listed.names)
    found = [Found(*(int(row[key]) for key in ("pictures", "right", "answered"))) for row in kept]
    assert all(one.passes(len(kept)) for one in found)


@pytest.mark.slow
def test_the_default_labels_are_found_on_pictures_that_nothing_was_chosen_by():
    """The last 2,020 of the validation tar, some ten of a class; without it there is nothing to look at."""
    if not VALIDATION.is_file():
        pytest.skip(f"needs {VALIDATION.name}: these images may not be copied into the repository")
    model = load_model(None, None, None)
    listed = read_label_list(None, model)
    shown = load(samples([VALIDATION]), model.preprocessing).part(3030, None)
    shown = shown.chosen(listed.known(shown.folders))
    of, bank = np.array(listed.indices(shown.folders)), embed_labels(listed, model).vectors
    with torch.inference_mode():
        seen = np.concatenate(
            [model.encode(torch.from_numpy(pixels(shown.images[k : k + 101]))) for k in range(0, len(shown), 101)]
        )
    answers = (seen @ bank.T).argmax(1)
    right = np.bincount(of[answers == of], minlength=len(listed.names))
    there = np.bincount(of, minlength=len(listed.names))
    assert (answers == of).mean() >= 0.7
    never = [name for name, n, k in zip(listed.names, there, right, strict=True) if n >= 5 and not k]
    assert len(never) <= 2, never
