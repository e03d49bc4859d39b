"""A weight file as the tensors in it, whatever its suffix, and what it tells of its GELU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.model.weights import gelu
from convert.model.weights.file_kind import kind_of
from convert.model.weights.unpickling import load_checkpoint, load_torchscript
from tflite_runtime_app.errors import in_one_line

OPENAI = {"input_resolution", "context_length", "vocab_size"}  # what only OpenAI's archives hold beside weights


@dataclass(frozen=True, slots=True)
class Stored:
    """What was saved, nested as it was, and what its own code tells of the GELU."""

    content: Any
    gelu: gelu.Known | None = None


def read(path: Path) -> Stored:
    """What is in the file. Raises ValueError, telling what the file is, for one that cannot be read."""
    kind = kind_of(path)
    try:
        if kind == "safetensors":
            from safetensors.torch import load_file

            return Stored(load_file(path))
        if kind == "torch":
            return Stored(load_checkpoint(path))
        module, code = load_torchscript(path)
        return Stored(module, gelu.of_code(code, isinstance(module, dict) and module.keys() >= OPENAI))
    except MemoryError:
        raise
    except Exception as error:  # of damaged bytes pickle, zipfile, torch and safetensors make nearly any kind
        raise ValueError(f"it cannot be read ({in_one_line(error)}); download or copy it again") from error
