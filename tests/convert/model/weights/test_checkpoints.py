"""Checkpoints as people save them: the same weights come out of all of them, and nothing that is theirs runs."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from convert.model.labels import embed_labels
from convert.model.load import ClipModel, load_model
from convert.support.errors import ModelError
from tests.convert import model_folder
from tests.convert.model.weights.checkpoints import WRAPPED, Classifier, averaged, save_torchscript, transformers_names, under
from tflite_runtime_app.text.label_list import LabelList

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder.write(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def small(folder: Path) -> ClipModel:
    return load_model(str(folder), None, None)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same shape with other weights, into which files are loaded."""
    return model_folder.write(tmp_path_factory.mktemp("other") / "other", seed=5)


@pytest.fixture
def state(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / WEIGHTS))


def refused(folder: Path, path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), str(path), None)
    told = str(caught.value)
    assert told.isprintable(), "one line without colours"
    assert str(path) in told
    return told


@pytest.mark.parametrize("way", WRAPPED)
def test_wrappers_and_prefixes_come_off(way, tmp_path, other, small, state):
    torch.save(WRAPPED[way](state), tmp_path / "w.pt")
    found = load_model(str(other), str(tmp_path / "w.pt"), None)
    if way == "half precision":
        assert torch.equal(found.module.visual.proj, small.module.visual.proj.half().float())
    else:
        assert found.weights_sha256 == small.weights_sha256
    assert found.text
    assert ("averaged" in "".join(found.notices)) == (way == "an average beside the weights")


@pytest.mark.parametrize("form", [{"pickle_protocol": 5}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("way", ["numpy's scalars", "argparse's settings", "Lightning"])
def test_other_forms_of_torch_save_are_read_too(way, form, tmp_path, other, small, state):
    torch.save(WRAPPED[way](state), tmp_path / "w.pt", **form)
    assert load_model(str(other), str(tmp_path / "w.pt"), None).weights_sha256 == small.weights_sha256


@pytest.mark.parametrize("form", [{}, {"_use_new_zipfile_serialization": False}])
def test_a_module_saved_whole_gives_its_weights(form, tmp_path, other, small):
    torch.save(Classifier(small.module), tmp_path / "w.pt", **form)
    assert load_model(str(other), str(tmp_path / "w.pt"), None).weights_sha256 == small.weights_sha256


def test_weights_in_a_model_folder_may_be_wrapped_too(tmp_path, folder, small, state):
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m" / WEIGHTS).unlink()
    torch.save(WRAPPED["Lightning"](state), tmp_path / "m" / "open_clip_pytorch_model.bin")
    assert load_model(str(tmp_path / "m"), None, None).weights_sha256 == small.weights_sha256


def test_a_model_folder_without_weights_says_which_are_expected(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m" / WEIGHTS).rename(tmp_path / "m" / "heads.safetensors")
    with pytest.raises(ModelError, match=rf"holds no weights: expected {WEIGHTS}"):
        load_model(str(tmp_path / "m"), None, None)


def test_the_suffix_says_nothing(tmp_path, other, small, state):
    save_file(state, tmp_path / "w.pt")
    torch.save(state, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        assert load_model(str(other), str(tmp_path / name), None).weights_sha256 == small.weights_sha256


def test_two_models_in_one_file_are_named(tmp_path, other, state):
    torch.save({"student": dict(state), "teacher": averaged(state)}, tmp_path / "w.pt")
    assert "2 models, under 'student' and 'teacher'" in refused(other, tmp_path / "w.pt")


def test_two_averages_alone_are_named(tmp_path, other, state):
    torch.save({"model_ema": dict(state), "swa_model": averaged(state)}, tmp_path / "w.pt")
    assert "2 models, under 'model_ema' and 'swa_model'" in refused(other, tmp_path / "w.pt")


class Evil:
    """Calls what it likes, were it unpickled as Python does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 5}])
def test_nothing_in_a_pickle_runs(form, tmp_path, other, small, state):
    ran = tmp_path / "ran"
    torch.save({"state_dict": state, "hook": Evil(ran)}, tmp_path / "w.pt", **form)
    assert load_model(str(other), str(tmp_path / "w.pt"), None).weights_sha256 == small.weights_sha256
    assert not ran.exists()


def test_a_bare_pickle_neither_runs_nor_loads(tmp_path, other):
    ran = tmp_path / "ran"
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Evil(ran)))
    refused(other, tmp_path / "w.pt")
    assert not ran.exists()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ClipModel]:
    """A TorchScript archive as OpenAI ships them, and the model of quick GELU that it was made from."""
    folder = model_folder.write(tmp_path_factory.mktemp("quick") / "quick")
    quick_gelu(folder)
    model = load_model(str(folder), None, None)
    path = tmp_path_factory.mktemp("archive") / "tiny.pt"
    module = load_model(str(folder), None, None).module
    save_torchscript(module, path)
    return path, model


def quick_gelu(folder: Path) -> None:
    configuration = (folder / "open_clip_config.json").read_text()
    (folder / "open_clip_config.json").write_text(configuration.replace('"embed_dim"', '"quick_gelu": true, "embed_dim"'))


def test_a_torchscript_archive_gives_its_weights_in_float(archive):
    path, model = archive
    found = load_model(str(model.folder), str(path), None)
    assert found.text
    assert found.notices == ()
    for name, value in found.module.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, model.module.state_dict()[name].half().float())


def test_a_torchscript_archive_says_that_its_gelu_is_quick(archive, other):
    told = refused(other, archive[0])
    assert "holds weights of quick GELU, as its TorchScript code says" in told
    assert "set quick_gelu to true" in told


def test_weights_named_as_in_transformers_are_converted(tmp_path, other, small, state):
    theirs = transformers_names(state, {"vision_model": 3, "text_model": 1})
    save_file(theirs, tmp_path / "model.safetensors")
    assert load_model(str(other), str(tmp_path / "model.safetensors"), None).weights_sha256 == small.weights_sha256
    torch.save({"state_dict": under("model.clip.", theirs)}, tmp_path / "w.pt")
    assert load_model(str(other), str(tmp_path / "w.pt"), None).weights_sha256 == small.weights_sha256


@pytest.mark.parametrize("prefix", ["visual.", "", "state_dict.visual.", "transformers"])
def test_an_image_tower_alone_is_one_without_labels(prefix, tmp_path, other, small, state):
    tower = {name: value for name, value in state.items() if name.startswith("visual.")}
    if prefix == "transformers":
        theirs = transformers_names(state, {"vision_model": 3, "text_model": 1})
        saved = {name: value for name, value in theirs.items() if name.startswith(("vision_model.", "visual_projection."))}
    else:
        saved = {prefix + name.removeprefix("visual."): value for name, value in tower.items()}
    torch.save(saved, tmp_path / "w.pt")
    found = load_model(str(other), str(tmp_path / "w.pt"), None)
    pixels = torch.rand(2, 32, 32, 3)
    assert torch.equal(found.encode(pixels), small.encode(pixels))
    assert found.weights_sha256 == load_model(str(other), str(tmp_path / "w.pt"), None).weights_sha256 != small.weights_sha256
    with pytest.raises(ModelError, match="hold the image tower alone, and label vectors need the text tower too"):
        embed_labels(LabelList(("a", "b"), ("a", "b")), found)


def edited(change):
    return lambda state: change(dict(state))


def without(name: str):
    return edited(lambda state: {key: value for key, value in state.items() if key != name})


OTHERS = {
    "one tensor short": (without("visual.ln_post.bias"), "lacks 1 of the model's"),
    "no logit_scale": (without("logit_scale"), "first logit_scale"),
    "a block too many": (
        edited(lambda s: {**s, "visual.transformer.resblocks.9.ln_1.weight": torch.ones(64)}),
        "that the model has not",
    ),
    "another width": (
        edited(lambda s: {**s, "visual.proj": torch.zeros(64, 12)}),
        "has visual.proj of shape (64, 12), expected (64, 24)",
    ),
    "a LoRA adapter": (lambda _: {"base.visual.mlp.lora_A.weight": torch.zeros(2, 2)}, "it is a LoRA adapter"),
    "an optimizer": (lambda _: {"optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}}, "holds no tensors"),
    "a ViT of timm's": (lambda _: {"cls_token": torch.zeros(1), "blocks.0.x": torch.zeros(1)}, "no image tower of CLIP's"),
    "one number": (lambda _: 3, "holds no tensors"),
    "nothing": (lambda _: {}, "holds no tensors"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_weights_of_something_else_are_named(case, tmp_path, other, state):
    make, named = OTHERS[case]
    torch.save(make(state), tmp_path / "w.pt")
    assert named in refused(other, tmp_path / "w.pt")


def zipped(names: tuple[str, ...]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return content.getvalue()


def arrays() -> bytes:
    content = io.BytesIO()
    np.savez(content, a=np.zeros(2))
    return content.getvalue()


FILES = {
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 605157884\n",
        "a Git LFS pointer",
        "git lfs pull",
    ),
    "a login page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page", "download or copy it again"),
    "a page with a mark": (b"\xef\xbb\xbf \n<html>", "a web page", "signed in"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page (HTML or XML)", "again"),
    "JSON": (b'{"error": "gated"}', "a JSON file", "expected .safetensors"),
    "text": (b"Access to this model is restricted.\n", "a text file", "expected"),
    "empty": (b"", "an empty file", "again"),
    "a zip": (zipped(("a.txt", "b.txt")), "a plain zip archive of 2 files", "unpack it"),
    "an npz": (arrays(), "NumPy arrays (.npz)", "expected"),
    "gzip": (b"\x1f\x8b\x08" + bytes(40), "a gzip archive", "unpack it"),
    "zeros": (bytes(600), "of no known kind", "expected"),
    "a TFLite file": (bytes(4) + b"TFL3" + bytes(40), "a TensorFlow Lite file", "expected"),
    "a header without end": ((2**40).to_bytes(8, "little") + b'{"a":', "cut short", "again"),
    "a header that is none": ((5).to_bytes(8, "little") + b"{abcd", "damaged header", "again"),
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_weights_are_named_for_what_they_are(case, suffix, tmp_path, other):
    content, what, remedy = FILES[case]
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content)
    told = refused(other, path)
    assert what in told
    assert remedy in told


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_files_cut_short_are_refused_as_such(share, suffix, tmp_path, other, state):
    path = tmp_path / f"w.{suffix}"
    torch.save(state, path) if suffix == "pt" else save_file(state, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "cut short" in refused(other, path)


def test_a_damaged_pickle_is_refused_in_one_line(tmp_path, other, state):
    torch.save(state, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as old, zipfile.ZipFile(tmp_path / "x.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"\x80\x02}q\x00(garbage" if name.endswith("data.pkl") else old.read(name))
    assert "cannot be read" in refused(other, tmp_path / "x.pt")
