"""`--model hf-hub:ORGANISATION/NAME`, as open_clip documents it: from the hub's cache, and refused in one line where there is nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from convert.cli import main
from convert.model.load import load_model
from convert.support.errors import ModelError
from tests.convert import model_folder

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache on this machine, and no network."""
    from huggingface_hub import constants

    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def cached(cache: Path, model: Path, *names: str) -> None:
    """Files of a model folder as the hub's library keeps those of `nobody/tiny`."""
    commit = "0" * 40
    snapshot = cache / "models--nobody--tiny" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (cache / "models--nobody--tiny" / "refs").mkdir()
    (cache / "models--nobody--tiny" / "refs" / "main").write_text(commit)
    for name in names:
        shutil.copy(model / name, snapshot / name)


def test_a_model_of_the_hub_is_the_model_in_its_cache(tmp_path, cache):
    folder = model_folder.write(tmp_path / "m")
    cached(cache, folder, "open_clip_config.json", WEIGHTS)
    found, wanted = load_model("hf-hub:nobody/tiny", None, None), load_model(str(folder), None, None)
    assert (found.name, found.folder) == ("tiny", None)
    assert found.weights_sha256 == wanted.weights_sha256
    assert (found.mean, found.preprocessing) == (wanted.mean, wanted.preprocessing)


def test_its_configuration_takes_weights_of_a_file(tmp_path, cache):
    folder, other = model_folder.write(tmp_path / "m"), model_folder.write(tmp_path / "fine-tuned", seed=5)
    cached(cache, folder, "open_clip_config.json")
    shutil.move(other / WEIGHTS, tmp_path / "mine.safetensors")
    found = load_model("hf-hub:nobody/tiny", str(tmp_path / "mine.safetensors"), None)
    assert found.name == "tiny-mine"
    assert found.weights_sha256 != load_model(str(folder), None, None).weights_sha256


@pytest.mark.parametrize("there", ["nothing", "the configuration"])
def test_what_cannot_be_fetched_is_refused_in_one_line_with_the_way_out(there, tmp_path, cache, capsys):
    folder = model_folder.write(tmp_path / "m")
    if there == "the configuration":
        cached(cache, folder, "open_clip_config.json")
    images = model_folder.write_pictures(tmp_path / "images", 1)
    code = main(
        ["build", "--model", "hf-hub:nobody/tiny", "--images", str(images), "--labels", "a,b", "--out", str(tmp_path / "x")]
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 3
    assert line.isprintable()
    assert "could not load hf-hub:nobody/tiny" in line
    assert line.endswith("put its open_clip_config.json and weights into a folder and give that with --model FOLDER")


@pytest.mark.parametrize("name", ["hf-hub:", "hf-hub:tiny", "hf-hub:/tiny", "hf-hub:nobody/", "hf-hub:nobody/tiny/file.pt"])
def test_a_name_that_is_none_is_a_usage_error(name, capsys):
    assert main(["build", "--model", name, "--labels", "a,b"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected hf-hub:ORGANISATION/NAME" in line


def test_a_tag_beside_a_model_of_the_hub_is_no_file(capsys):
    assert main(["build", "--model", "hf-hub:nobody/tiny", "--pretrained", "openai", "--labels", "a,b"]) == 2
    assert "--pretrained openai: no such file" in capsys.readouterr().err


def test_open_clips_prefix_for_folders_is_understood(tmp_path):
    folder = model_folder.write(tmp_path / "m")
    assert load_model(f"local-dir:{folder}", None, None).folder == folder


def test_a_folder_of_transformers_says_what_it_lacks(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(
        ModelError, match=r"it has no open_clip_config\.json, but a config\.json, as transformers saves; put open_clip's"
    ):
        load_model(str(tmp_path), None, None)
