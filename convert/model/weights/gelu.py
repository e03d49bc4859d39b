"""Which GELU weights were trained with, where anything but the weights themselves tells it.

Weights alone do not tell: both GELUs load, and the wrong one only makes answers worse. What tells, in this order:

1. the code of a TorchScript archive (OpenAI's own files): certain;
2. a configuration that lies beside the file, open_clip's or transformers': certain, as far as the two belong together;
3. the file's name, where it is one under which open_clip's weights are published: a hint, since any file may be called so.

Of a plain state dict with a name of its own nothing is known, and nothing is said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUICK = "-quickgelu"  # how open_clip names the models with it
KINDS = {True: "quick GELU", False: "exact GELU"}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of weights: whether their GELU is the quick one, who says so, and whether that can be relied on."""

    quick: bool
    by: str
    certain: bool


def of_code(code: str, openai: bool) -> Known | None:
    """What the code of a TorchScript archive computes; `openai` says that it has the marks of OpenAI's archives."""
    quick = "QuickGELU" in code or "1.702" in code
    if not (quick or "torch.gelu(" in code or openai):
        return None
    return Known(quick or "torch.gelu(" not in code, "its TorchScript code", True)


def beside(path: Path, config: str) -> Known | None:
    """What the file's folder or name tells. `config` is the name of open_clip's configuration files."""
    own = _read(path.parent / config).get("model_cfg")
    if isinstance(own, dict):
        return Known(bool(own.get("quick_gelu")), f"{config} beside it", True)
    theirs = _read(path.parent / "config.json")
    if theirs.get("model_type") == "clip":
        vision = theirs.get("vision_config")
        activation = vision.get("hidden_act", "quick_gelu") if isinstance(vision, dict) else "quick_gelu"
        if activation in ("quick_gelu", "gelu"):
            return Known(activation == "quick_gelu", "config.json beside it", True)
    return _of_name(path.name)


def right_model(model: str, quick: bool) -> str:
    """What to do so that the model has that GELU."""
    from convert.model.torchvision_ops import open_clip

    name = f"{model.removesuffix(QUICK)}{QUICK}" if quick else model.removesuffix(QUICK)
    if name in open_clip.list_models():
        return f"give --model {name}"
    return f"set quick_gelu to {str(quick).lower()} in model_cfg of the model folder's configuration"


def _of_name(name: str) -> Known | None:
    from convert.model.torchvision_ops import open_clip

    found = set()
    for model, tag in open_clip.list_pretrained():
        settings: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
        if settings.get("url") and settings["url"].rpartition("/")[2] == name:
            found.add(bool(settings.get("quick_gelu")))
    if not found and "quickgelu" in name.lower():
        found.add(True)
    return Known(found.pop(), "its name", False) if len(found) == 1 else None


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's object, empty for any other file: it is a hint and no part of the weights."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
