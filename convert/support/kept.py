"""What is kept on disk between calls, whole or not at all: arrays that took time, and checkpoints."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convert.support.files import write_atomically


def array(path: Path, values: NDArray[np.generic]) -> None:
    """The array at `path`, as np.load reads it."""
    content = io.BytesIO()
    np.save(content, values)
    write_atomically(path, content.getvalue())


def arrays(path: Path, values: Mapping[str, NDArray[np.generic]]) -> None:
    """Several by name at `path`, as np.load reads them."""
    content = io.BytesIO()
    np.savez(content, **values)
    write_atomically(path, content.getvalue())


def checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Tensors, numbers and dictionaries of them at `path`, as `restored` reads them; never twice in memory."""
    part = path.with_suffix(".part")
    torch.save(dict(state), part)
    os.replace(part, path)


def restored(path: Path) -> dict[str, Any]:
    """What `checkpoint` wrote, on the processor."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
