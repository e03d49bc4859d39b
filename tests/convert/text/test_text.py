"""The text tower's file says what open_clip says, of every kind of tower in scope; others are refused by name."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convert.cli import main
from convert.model.labels import embed_labels, read_label_list, read_templates
from convert.model.load import ClipModel, load_model
from convert.model.torchvision_ops import open_clip
from convert.support.errors import EmitError, UnsupportedTower, UsageError
from convert.support.progress import Silent
from convert.text import make as module
from convert.text.agreement import float_vectors, sentences_of
from convert.text.emit import emit, rowwise
from convert.text.make import build_text
from convert.text.text_tower import text_tower
from tests.clone import ROOT
from tests.convert import model_folder
from tests.convert.small import perturb
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.inference.engine import LiteRtEngine
from tflite_runtime_app.text.beside import text_path
from tflite_runtime_app.text.file import read_text
from tflite_runtime_app.text.label_list import LabelList
from tflite_runtime_app.text.tower import TextTower

NAMES = ("a red mug", "my cat", "an empty desk", "goldfish", "O'Brien's café", "snow leopard", "3 wet dogs")


@pytest.fixture(scope="module")
def pocket() -> ClipModel:
    return load_model(None, None, None)


@pytest.fixture(scope="module")
def pocket_file(pocket, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pocket") / "pocket.text.tflite"
    path.write_bytes(build_text(pocket, None, Silent()).content)
    return path


def small(pocket: ClipModel, custom: bool = False, **options) -> ClipModel:
    """A random model with a small text tower: `options` are those of its text_cfg, `quick` picks the activation."""
    quick = bool(options.pop("quick", False))
    text = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2, **options}
    torch.manual_seed(0)
    make = open_clip.model.CustomTextCLIP if custom else open_clip.model.CLIP
    module_ = make(embed_dim=24, vision_cfg=model_folder.VISION, text_cfg=text, quick_gelu=quick)
    perturb(getattr(module_, "text", module_), 0)
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=text["context_length"])
    return dataclasses.replace(pocket, module=module_.eval(), tokenizer=tokenizer, folder=None)


VARIANTS = {
    "exact GELU": {},
    "quick GELU": {"quick": True},
    "LayerScale": {"ls_init_value": 0.5},
    "one head": {"heads": 1},
    "projection with bias": {"proj_bias": True},
    "narrow MLP": {"mlp_ratio": 2.5},
    "a text tower of its own": {"custom": True},
    "context below the short length": {"context_length": 12},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_float_weights_are_open_clip(pocket, variant):
    model = small(pocket, **VARIANTS[variant])
    tower = text_tower(model)
    sentences = ["a cat", "", "a photo of a red fox.", "one two three four five six seven eight nine ten " * 3]
    wanted = model.module.encode_text(model.tokenizer(sentences)).detach().numpy()
    engine = LiteRtEngine(emit(tower, "float32", (tower.context,)))
    tokens = model.tokenizer(sentences).numpy().astype(np.int32)
    found = np.concatenate([engine.invoke(f"text_{tower.context}", {"ids": row[None]})["embedding"] for row in tokens])
    np.testing.assert_allclose(found, wanted, atol=2e-4 * np.abs(wanted).max())


def test_xnnpack_and_reference_kernels_agree(pocket):
    """What runs on the board is either; dynamic-range kernels round differently, so the bound is on the cosine."""
    model = small(pocket, quick=True)
    tokens = model.tokenizer(["a photo of a red fox."]).numpy().astype(np.int32)
    for weights in ("float16", "int8"):
        content = emit(text_tower(model), weights, (24,))
        first, second = (
            LiteRtEngine(content, op_resolver=kernels).invoke("text_24", {"ids": tokens})["embedding"][0]
            for kernels in ("xnnpack", "builtin")
        )
        assert first @ second / np.linalg.norm(first) / np.linalg.norm(second) > 0.999


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"pool_type": "last"}, "pool_type 'last'"),
        ({"no_causal_mask": True}, "causal mask"),
        ({"embed_cls": True, "custom": True}, "class embedding"),
        ({"qk_norm": True, "block_type": "custom"}, "CustomResidualAttentionBlock"),
        ({"vocab_size": 100}, "100 tokens with a tokenizer of 49408"),
        ({"act_kwargs": {"approximate": "tanh"}}, "activation GELU"),
    ],
)
def test_other_towers_are_refused_by_name(pocket, options, named):
    with pytest.raises(UnsupportedTower, match=named) as caught:
        text_tower(small(pocket, **options))
    assert "what can be converted: open_clip's text transformer" in str(caught.value)


def test_other_tokenizers_and_modules_are_refused(pocket):
    canonical = open_clip.tokenizer.SimpleTokenizer(clean="canonicalize")
    for tokenizer in (canonical, lambda texts: texts):
        with pytest.raises(UnsupportedTower, match="not CLIP's"):
            text_tower(dataclasses.replace(pocket, tokenizer=tokenizer))
    foreign = nn.Module()
    foreign.text = nn.Linear(2, 2)
    with pytest.raises(UnsupportedTower, match="type Linear"):
        text_tower(dataclasses.replace(pocket, module=foreign))


def test_rowwise_codes():
    matrix = np.array([[1.0, -2.0, 0.5], [0, 0, 0], [1e-3, 2e-3, -1e-3]], np.float32)
    codes, scales = rowwise(matrix)
    np.testing.assert_array_equal(np.abs(codes).max(1), [127, 0, 127])
    np.testing.assert_allclose(codes * scales[:, None], matrix, atol=2 / 127 / 2 + 1e-7)


def test_the_embedded_models_labels_are_those_of_convert(pocket, pocket_file):
    """Every label that the board makes lies on the one that `convert labels` makes."""
    names = (*NAMES, *read_label_list(None, pocket).names[::10])
    wanted = embed_labels(LabelList(names, names), pocket).vectors
    found = TextTower(read_text(pocket_file)).label_vectors(names, read_templates(pocket))
    assert (found * wanted).sum(1).min() >= 0.999


def test_the_smallest_weights_that_hold_are_taken(pocket, pocket_file):
    manifest = read_text(pocket_file).manifest
    assert (manifest.name, manifest.space_id, manifest.weights_sha256) == ("pocket", pocket.space_id, pocket.weights_sha256)
    assert (manifest.context, manifest.lengths, manifest.templates) == (32, (16, 32), read_templates(pocket))
    assert manifest.weights == "int8"
    assert manifest.check["least"] >= 0.999
    assert manifest.check["sentences"] >= 300
    assert pocket_file.stat().st_size < 13_000_000


def test_where_the_smallest_does_not_hold_the_next_is_taken(pocket, monkeypatch):
    monkeypatch.setattr(module, "LEAST_COSINE", 0.99999)
    built = build_text(pocket, None, Silent())
    assert [check.weights for check in built.checks] == ["int8", "float16"]
    assert built.checks[0].least < 0.99999 <= built.checks[1].least
    monkeypatch.setattr(module, "LEAST_COSINE", 1.1)
    with pytest.raises(EmitError, match=r"with int8 weights, .* with float16 weights; make label matrices"):
        build_text(small(pocket), None, Silent())


def test_wishes_are_heeded_or_refused(pocket):
    assert [check.weights for check in build_text(small(pocket), "float16", Silent()).checks] == ["float16"]
    with pytest.raises(EmitError, match=r"found 0\.9\d+ with int8 weights; leave --weights out"):
        build_text(small(pocket), "int8", Silent())
    with pytest.raises(UsageError, match="'int4' is none of int8, float16"):
        build_text(pocket, "int4", Silent())


def test_sentences_reach_both_signatures(pocket):
    sentences = sentences_of(pocket)
    lengths = [int((row != 0).sum()) for row in pocket.tokenizer(list(sentences))]
    assert len(sentences) > 300
    assert min(lengths) <= 16
    assert max(lengths) == 32
    norms = np.linalg.norm(float_vectors(pocket, sentences), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)


def test_equal_models_give_equal_bytes(pocket):
    model = small(pocket)
    assert build_text(model, "float16", Silent()).content == build_text(model, "float16", Silent()).content


@pytest.fixture
def bundle(pocket, tmp_path, tiny) -> Path:
    """A tiny bundle that says it was built from the embedded model."""
    facts = {"name": "pocket", "space_id": pocket.space_id, "weights_sha256": pocket.weights_sha256}
    return tiny_bundle.write(tmp_path / "pocket-rpi.tflite", tiny, **facts)


@pytest.fixture(scope="module")
def tiny() -> tiny_bundle.Tiny:
    return tiny_bundle.build()


def test_the_command_writes_beside_the_bundle(bundle, capsys, tmp_path):
    assert main(["text", str(bundle)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == str(text_path(bundle))
    assert "cosine with float at least 0.999" in out[0]
    assert main(["text", str(bundle)]) == 2
    assert "exists" in capsys.readouterr().err
    other = tiny_bundle.write(tmp_path / "other.tflite", tiny_bundle.build())
    assert main(["text", str(other), "--model", "pocket"]) == 3
    assert "was built from weights" in capsys.readouterr().err


def test_build_refuses_to_write_over_a_text_tower(tmp_path, capsys):
    (tmp_path / "pocket.text.tflite").write_bytes(b"")
    arguments = ["build", "--with-text", "--out", str(tmp_path / "pocket.tflite")]
    assert main(arguments) == 2
    assert "pocket.text.tflite exists; write over it with --force" in capsys.readouterr().err


def test_thousands_of_ready_names_are_a_small_file():
    """Five thousand labels of the embedded model's width, as `convert labels` writes them."""
    names = tuple(f"label number {k}" for k in range(5000))
    assert len(labels_to_bytes(tiny_bundle.bank(names, width=256))) < 4_000_000


def test_a_board_without_the_workshop_makes_vectors(pocket, pocket_file, tmp_path):
    """In a process that can import neither torch nor open_clip, ftfy or regex: the same vectors, from names to numbers."""
    program = f"""
import json, sys
class Blocked:
    names = {{"torch", "open_clip", "ftfy", "regex", "tensorflow", "convert", "calibration", "targets", "scipy", "transformers"}}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ImportError(name + " is not on the board")
sys.meta_path.insert(0, Blocked())
from pathlib import Path
from tflite_runtime_app.text.file import read_text
from tflite_runtime_app.text.tower import TextTower
tower = TextTower(read_text(Path({str(pocket_file)!r})))
print(json.dumps(tower.label_vectors({list(NAMES)!r}, {list(read_templates(pocket))!r}).tolist()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    wanted = embed_labels(LabelList(NAMES, NAMES), pocket).vectors
    assert (np.array(json.loads(done.stdout)) * wanted).sum(1).min() >= 0.999
