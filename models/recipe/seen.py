"""What a tower makes of photographs: unit embeddings, and what is on each by the name of its folder; kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.samples import Sample, load, samples
from convert.support import kept, precision
from convert.support.progress import OnTerminal
from models.recipe import score, tower
from models.recipe.images import is_sheets
from models.recipe.plan import Recipe
from tflite_runtime_app.bundle.manifest import Preprocessing

BATCH = 32


def embedded(visual: Any, recipe: Recipe, sources: Sequence[Path], cache: Path) -> tuple[Tensor, list[str]]:
    """Unit embeddings [n, E] of the photographs of all sources but sheets, and their folders' names.

    Each `held`th of a source is left out, as it is from training. The same tower and sources a second time cost nothing.
    """
    path = cache / f"seen-{_key(visual, recipe, sources)}.npz"
    if not path.is_file():
        shown = [sample for source in sources if not is_sheets(source) for sample in _taught(source, recipe.held)]
        taken = load(shown, Preprocessing(recipe.side, recipe.side))
        mean, deviation = torch.tensor(recipe.mean), torch.tensor(recipe.deviation)
        found, source = [], torch.Generator()
        batches = score.batches(taken, [0] * len(taken), mean, deviation, BATCH)
        for x, _ in OnTerminal().over(batches, -(-len(taken) // BATCH), f"embeddings, batches of {BATCH}"):
            with torch.no_grad(), precision.fast(torch.device("cpu"), len(visual.positional_embedding)):
                found.append(F.normalize(tower.run(visual, x, (), source).embedding.float(), dim=1))
        kept.arrays(path, {"embeddings": torch.cat(found).numpy(), "ids": np.asarray(taken.folders)})
    with np.load(path) as known:
        return torch.from_numpy(known["embeddings"]), known["ids"].tolist()


def _taught(source: Path, held: int) -> list[Sample]:
    return [sample for number, sample in enumerate(samples([source])) if not (held and number % held == 0)]


def _key(visual: Any, recipe: Recipe, sources: Sequence[Path]) -> str:
    found = hashlib.sha256(json.dumps([recipe.side, recipe.held, *(str(path.resolve()) for path in sources)]).encode())
    for value in visual.state_dict().values():
        found.update(value.numpy().tobytes())
    return found.hexdigest()[:16]
