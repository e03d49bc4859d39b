"""Finding and loading models: where the default lies, what is said when it does not, and that a model is its weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from calibration.samples import load, pixels, samples
from convert.model import load as models
from convert.model.load import ENVIRONMENT, load_model, models_folder
from convert.model.torchvision_ops import open_clip
from convert.stages.cut import default_exits
from convert.stages.stage import build_stages
from convert.support.errors import ModelError, UsageError
from tests.clone import ROOT
from tests.convert import model_folder
from tests.convert.small import run_stages

CLONE = ROOT / "models"
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return model_folder.write(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def small(folder) -> models.ClipModel:
    return load_model(str(folder), None, None)


def test_the_folder_of_models_by_option_environment_and_clone(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert models_folder(None) == CLONE
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "b"))
    assert models_folder(None) == tmp_path / "b"
    assert models_folder(tmp_path / "a") == tmp_path / "a"


def test_a_folder_of_models_that_is_none_is_named_with_its_origin(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=rf"--models names {tmp_path}/x, which is no folder"):
        models_folder(tmp_path / "x")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "y"))
    with pytest.raises(ModelError, match=rf"{ENVIRONMENT} names {tmp_path}/y"):
        models_folder(None)


def test_installed_without_the_clone_all_ways_out_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "__file__", str(tmp_path / "site" / "convert" / "models.py"))
    with pytest.raises(ModelError) as caught:
        load_model(None, None, None)
    for remedy in ("--models", ENVIRONMENT, "--model"):
        assert remedy in str(caught.value)


@pytest.mark.parametrize("way", ["option", "environment"])
def test_the_default_model_is_found(tmp_path, folder, monkeypatch, way):
    shutil.copytree(folder, tmp_path / "pocket")
    if way == "environment":
        monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    found = load_model(None, None, tmp_path if way == "option" else None)
    assert (found.name, found.folder) == ("pocket", tmp_path / "pocket")


def test_a_missing_default_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"pocket/open_clip_config\.json.*--model"):
        load_model(None, None, tmp_path)


def test_an_embedded_model_by_its_name(folder):
    assert load_model("small", None, folder.parent).folder == folder


def test_a_folder_that_is_no_model_folder(tmp_path):
    with pytest.raises(ModelError, match=r"has no open_clip_config\.json"):
        load_model(str(tmp_path), None, None)


def test_an_unknown_name():
    with pytest.raises(UsageError, match=r"'ViT-Nothing'.*open_clip\.list_models") as caught:
        load_model("ViT-Nothing", None, None)
    assert caught.value.exit_code == 2


def test_a_name_of_open_clips_needs_weights_and_the_tags_are_told():
    with pytest.raises(UsageError) as caught:
        load_model("ViT-B-32", None, None)
    assert "--pretrained" in str(caught.value)
    for tag in ("openai", "laion2b_s34b_b79k", "random"):
        assert tag in str(caught.value)


@pytest.mark.parametrize(("tag", "quick"), [("openai", True), ("laion2b_s34b_b79k", False), ("random", False)])
def test_gelu_follows_the_tag_of_the_weights(monkeypatch, tag, quick):
    """OpenAI's weights were trained with quick GELU whatever the configuration says."""
    asked = {}

    def create_model(name, **options):
        asked.update(options, name=name)
        raise RuntimeError("no hub here")

    monkeypatch.setattr(open_clip, "create_model", create_model)
    with pytest.raises(ModelError, match=f"could not load ViT-B-32 with weights {tag}: no hub here") as caught:
        load_model("ViT-B-32", tag, None)
    assert asked["name"] == "ViT-B-32"
    assert asked["pretrained"] == (None if tag == "random" else tag)
    assert bool(asked.get("force_quick_gelu")) is quick
    assert ("path/to/weights.safetensors" in str(caught.value)) is (tag != "random")


def test_a_folder_without_weights_is_refused(tmp_path, folder):
    """It must not become a random network without a word."""
    target = tmp_path / "bare"
    target.mkdir()
    shutil.copy(folder / "open_clip_config.json", target)
    with pytest.raises(ModelError, match="weights"):
        load_model(str(target), None, None)


def test_broken_weights_are_refused(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / WEIGHTS).write_bytes(b"not weights")
    with pytest.raises(ModelError, match="could not load"):
        load_model(str(tmp_path / "broken"), None, None)


def test_a_broken_configuration_is_refused(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "open_clip_config.json").write_text("{")
    with pytest.raises(ModelError):
        load_model(str(tmp_path / "broken"), None, None)


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "wrapped.pt"])
def test_weights_from_a_file_are_the_same_weights(tmp_path, folder, small, suffix):
    """Into a folder whose own weights are others."""
    other = model_folder.write(tmp_path / "other", seed=5)
    state, path = load_file(folder / WEIGHTS), tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if "wrapped" in suffix else state, path)
    assert load_model(str(other), None, None).weights_sha256 != small.weights_sha256
    assert load_model(str(other), str(path), None).weights_sha256 == small.weights_sha256


def test_weights_stored_in_half_precision_are_judged_by_their_values(tmp_path, folder):
    state = {name: value.half() for name, value in load_file(folder / WEIGHTS).items()}
    one, other = tmp_path / "half.safetensors", tmp_path / "float.safetensors"
    save_file(state, one)
    save_file({name: value.float() for name, value in state.items()}, other)
    assert len({load_model(str(folder), str(path), None).weights_sha256 for path in (one, other)}) == 1


def test_a_weight_file_that_does_not_exist(folder):
    with pytest.raises(UsageError, match=r"nothing\.pt: no such file"):
        load_model(str(folder), "nothing.pt", None)


def test_weights_of_another_shape_are_refused(tmp_path, folder):
    state = load_file(folder / WEIGHTS)
    state["visual.proj"] = state["visual.proj"][:, :12].contiguous()
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"could not load weights .*other\.safetensors"):
        load_model(str(folder), str(tmp_path / "other.safetensors"), None)


def test_the_digest_is_of_the_weights_alone(tmp_path, folder, small):
    shutil.copytree(folder, tmp_path / "renamed")
    renamed = load_model(str(tmp_path / "renamed"), None, None)
    assert renamed.weights_sha256 == small.weights_sha256
    assert renamed.name == "renamed"
    state = load_file(folder / WEIGHTS)
    state["visual.class_embedding"][3] += 1e-3
    save_file(state, tmp_path / "renamed" / WEIGHTS)
    assert load_model(str(tmp_path / "renamed"), None, None).weights_sha256 != small.weights_sha256


def test_the_space_is_the_weights_not_the_folders_name(tmp_path, folder, small):
    """`convert labels --model` takes any folder with the right weights; what it makes must then fit the bundle."""
    shutil.copytree(folder, tmp_path / "renamed")
    assert load_model(str(tmp_path / "renamed"), None, None).space_id == small.space_id


def test_preprocessing_is_the_configurations(tmp_path, small):
    assert (small.preprocessing.height, small.preprocessing.width) == (32, 32)
    assert (small.preprocessing.resize_mode, small.preprocessing.interpolation) == ("shortest", "bicubic")
    assert (small.mean, small.deviation) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    wide = {**model_folder.VISION, "image_size": [24, 40]}
    other = model_folder.write(tmp_path / "wide", vision=wide, preprocess={"resize_mode": "squash", "interpolation": "bilinear"})
    found = load_model(str(other), None, None).preprocessing
    assert (found.height, found.width, found.resize_mode, found.interpolation) == (24, 40, "squash", "bilinear")


def test_encode_is_open_clips_own(small):
    from torchvision.transforms import Normalize

    images = torch.rand(2, 32, 32, 3)
    with torch.no_grad():
        wanted = small.module.encode_image(Normalize(small.mean, small.deviation)(images.permute(0, 3, 1, 2)))
    torch.testing.assert_close(small.encode(images), wanted)
    assert small.logit_scale == pytest.approx(float(small.module.logit_scale.detach().exp()))


@pytest.fixture(scope="module")
def pocket() -> models.ClipModel:
    return load_model(None, None, None)


def test_the_embedded_model_loads_without_a_word(pocket, capfd):
    assert (pocket.name, pocket.folder) == ("pocket", CLONE / "pocket")
    load_model(None, None, None)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_the_embedded_models_stages_equal_open_clip_on_photographs(pocket):
    """The whole ladder, on real images as the board preprocesses them."""
    from convert.rewrites import rewrite
    from tests.convert.small import random_inputs

    photographs = sorted(CLONE.joinpath("photographs").rglob("*.jpg"))[:4]
    images = torch.from_numpy(pixels(load(samples(photographs), pocket.preprocessing).images))
    assert len(images) == 4
    tower, log = rewrite(pocket.tower(), random_inputs(pocket.tower()))
    assert [entry.name for entry in log if entry.refusal is None] == [entry.name for entry in log]
    found = run_stages(build_stages(tower, default_exits(12)), images)[-1]["embedding"]
    wanted = pocket.encode(images)
    assert float(((found - wanted).abs().amax(-1) / wanted.norm(dim=-1)).max()) < 1e-4


def test_the_embedded_models_preprocessing_equals_open_clips_transform(pocket):
    from PIL import Image

    from tflite_runtime_app.inference.preprocess import image_to_tensor

    path = sorted(CLONE.joinpath("photographs").rglob("*.jpg"))[0]
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**open_clip.get_model_preprocess_cfg(pocket.module)), is_train=False
    )
    with Image.open(path) as image:
        wanted = transform(image).numpy()
        found = pixels(image_to_tensor(image, pocket.preprocessing))[0].transpose(2, 0, 1)
    back = wanted * np.array(pocket.deviation)[:, None, None] + np.array(pocket.mean)[:, None, None]
    assert np.abs(found - back).max() <= 1.01 / 255


def test_the_embedded_model_has_what_a_folder_needs():
    configuration = json.loads((CLONE / "pocket" / "open_clip_config.json").read_text())
    assert configuration["model_cfg"]["vision_cfg"]["layers"] == 12
    for name in ("labels.txt", "templates.txt", WEIGHTS):
        assert (CLONE / "pocket" / name).is_file()


def test_the_default_model_builds_for_its_own_labels_with_exits():
    """Its calibration was fitted on its labels.txt: were they others, every image would go to full depth."""
    from calibration.stored import from_bytes
    from convert.model.labels import read_label_list
    from tflite_runtime_app.exits.label_match import labels_digest

    pocket = load_model(None, None, None)
    stored = from_bytes((pocket.folder / "calibration.npz").read_bytes())
    assert stored.exits.labels == labels_digest(read_label_list(None, pocket).names)
    assert stored.origin.weights_sha256 == pocket.weights_sha256
    assert min(stored.exits.thresholds) < 128
