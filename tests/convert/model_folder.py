"""Small random CLIP models as model folders on disk, as a user would bring them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from convert.model.torchvision_ops import open_clip
from tests.convert.small import perturb

VISION = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3, "head_width": 16}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32}
LABELS = ("red", "green", "blue", "grey")
TEMPLATES = ("a photo of something {}.", "{} it is")


def write(folder: Path, seed: int = 0, labels: bool = True, vision: dict = VISION, preprocess: dict | None = None) -> Path:
    """`folder` holds configuration, weights, and unless not wanted labels.txt and templates.txt."""
    folder.mkdir(parents=True)
    configuration = {
        "model_cfg": {"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT},
        "preprocess_cfg": {
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.25, 0.3],
            "interpolation": "bicubic",
            "resize_mode": "shortest",
            **(preprocess or {}),
        },
    }
    torch.manual_seed(seed)
    module = open_clip.model.CLIP(**configuration["model_cfg"])
    if vision is VISION:
        perturb(module.visual, seed)
    (folder / "open_clip_config.json").write_text(json.dumps(configuration))
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, folder / "open_clip_model.safetensors")
    if labels:
        (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
        (folder / "templates.txt").write_text("\n".join(TEMPLATES) + "\n")
    return folder


def write_pictures(folder: Path, each: int = 5) -> Path:
    """`folder` holds PNGs in one folder per label, of its colour with noise and blocks, so that they differ."""
    random = np.random.default_rng(0)
    colours = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 210), "grey": (128, 128, 128)}
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for k in range(each):
            coarse = random.normal(0, 45, (4, 4, 3)).repeat(12, 0).repeat(10, 1)
            values = np.array(colour) + coarse + random.normal(0, 12, coarse.shape)
            Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(folder / name / f"{k}.png")
    return folder
