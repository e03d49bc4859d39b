"""One small model's weights, saved in the ways that people save them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]


def under(prefix: str, state: State) -> dict[str, Tensor]:
    """Every name with a prefix."""
    return {prefix + name: value for name, value in state.items()}


def averaged(state: State) -> dict[str, Tensor]:
    """Other weights of the same model."""
    return {name: value * 0.5 for name, value in state.items()}


class Settings(dict[str, Any]):
    """A dictionary of a class of its own, as Lightning's hyperparameters are."""


class Classifier(nn.Module):
    """WiSE-FT's, saved whole: the model is two modules deep, with a classifier's last layer beside it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.image_encoder = nn.Module()
        self.image_encoder.model = model
        self.classification_head = nn.Linear(24, 10)


# What is saved -> how it is made of a state dict; every one is the same model.
WRAPPED: dict[str, Callable[[State], Any]] = {
    "open_clip, trained on several cards": lambda s: {
        "epoch": 3,
        "name": "run",
        "state_dict": under("module.", s),
        "optimizer": {},
    },
    "torch.compile": lambda s: {"state_dict": under("_orig_mod.", s)},
    "torch.compile within DDP": lambda s: {"state_dict": under("module._orig_mod.", s)},
    "DDP within torch.compile": lambda s: under("_orig_mod.module.", s),
    "an image tower compiled by itself": lambda s: {k.replace("visual.", "visual._orig_mod."): v for k, v in s.items()},
    "model": lambda s: {"model": dict(s), "epoch": 1, "args": None},
    "model_state_dict": lambda s: {"model_state_dict": dict(s), "loss": np.float64(0.3)},
    "Lightning": lambda s: {
        "state_dict": under("model.", s),
        "pytorch-lightning_version": "2.1",
        "hyper_parameters": Settings(lr=1e-5),
    },
    "Lightning, compiled": lambda s: {"state_dict": under("model._orig_mod.", s)},
    "clip_model.": lambda s: {"state_dict": under("clip_model.", s)},
    "three wrappers": lambda s: {"checkpoint": {"model": {"state_dict": under("module.net.", s)}}},
    "numpy's scalars": lambda s: {"state_dict": dict(s), "best": np.float64(0.71), "step": np.int64(3), "curve": np.arange(4.0)},
    "argparse's settings": lambda s: {"state_dict": dict(s), "args": argparse.Namespace(lr=1, root=Path("data"))},
    "a classifier's last layer": lambda s: {**s, "classification_head.weight": torch.zeros(10, 24)},
    "WiSE-FT's names": lambda s: {**under("image_encoder.model.", s), "classification_head.weight": torch.zeros(10, 24)},
    "an average alone": lambda s: {"model_ema": dict(s)},
    "an averaged state dict alone": lambda s: {"ema_state_dict": under("module.", s), "epoch": 2},
    "an average beside the weights": lambda s: {"state_dict": dict(s), "state_dict_ema": averaged(s)},
    "one model under two names": lambda s: {"model": dict(s), "best": dict(s)},
    "an optimizer by names": lambda s: {"model": dict(s), "optimizer": {"exp_avg": averaged(s)}},
    "half precision": lambda s: {name: value.half() for name, value in s.items()},
    "logit_scale as a vector": lambda s: {**s, "logit_scale": s["logit_scale"].reshape(1)},
}


class Traced(nn.Module):
    """What OpenAI traced: the model, with three numbers beside it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.visual, self.transformer, self.token_embedding, self.ln_final = (
            model.visual,
            model.transformer,
            model.token_embedding,
            model.ln_final,
        )
        self.positional_embedding, self.text_projection = model.positional_embedding, model.text_projection
        self.logit_scale = model.logit_scale
        for name, number in {"input_resolution": 32, "context_length": 24, "vocab_size": 49408}.items():
            self.register_buffer(name, torch.tensor(number))

    def forward(self, images: Tensor) -> Tensor:
        """The image tower's embedding."""
        embedding: Tensor = self.visual(images)  # type: ignore[operator]
        return embedding


def save_torchscript(model: nn.Module, path: Path) -> None:
    """A TorchScript archive in half precision, made as OpenAI's are."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = torch.zeros(1, 3, 32, 32)
        traced = torch.jit.trace(Traced(model).eval(), images, check_trace=False)  # type: ignore[no-untyped-call]
        traced.half().save(str(path))


def transformers_names(state: State, layers: Mapping[str, int]) -> dict[str, Tensor]:
    """The weights as transformers' CLIPModel holds them; `layers` by the names of its two towers."""
    names = {
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "logit_scale": "logit_scale",
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    found = {theirs: state[ours] for ours, theirs in names.items()}
    found |= {f"{theirs}.{part}": state[f"{ours}.{part}"] for ours, theirs in norms.items() for part in ("weight", "bias")}
    found |= {"visual_projection.weight": state["visual.proj"].t(), "text_projection.weight": state["text_projection"].t()}
    found["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    inner = {"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2"}
    inner |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for tower, count in layers.items():
        for n in range(count):
            ours = ("visual." if tower == "vision_model" else "") + f"transformer.resblocks.{n}"
            theirs = f"{tower}.encoder.layers.{n}"
            for part in ("weight", "bias"):
                found |= {f"{theirs}.{b}.{part}": state[f"{ours}.{a}.{part}"] for a, b in inner.items()}
                thirds = zip("qkv", state[f"{ours}.attn.in_proj_{part}"].chunk(3), strict=True)
                found |= {f"{theirs}.self_attn.{letter}_proj.{part}": value for letter, value in thirds}
    return {name: value.contiguous() for name, value in found.items()}
