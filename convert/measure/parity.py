"""The finished file against open_clip on images that nothing was fitted to: cosine, agreement, accuracy, exits taken, time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.samples import pixels
from convert.model.load import ClipModel
from convert.stages.run import BATCH, batches
from convert.support.progress import Progress
from tflite_runtime_app.bundle.labels import LabelBank, unit
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.exits.replay import Replay, answers, observe, replay
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.policies import policy_from_manifest

SAME = 1e-4  # of an embedding's length: what the rewrites of the float tower may move it by


@dataclass(frozen=True, slots=True)
class ExitParity:
    """One stage alone: its embedding against the float tower's final one, its top-1, and how many images leave there."""

    blocks_done: int
    cosine: float
    agreement: float
    top1: float | None
    share: float
    macs: int
    ms: float


@dataclass(frozen=True, slots=True)
class Parity:
    """All shares in 0..1; `top1_*` None where labels are not known. `cosines` are the images' own at full depth."""

    images: int
    cosine_mean: float
    cosine_p5: float
    agreement: float
    top1_float: float | None
    top1_int8: float | None
    top1_exits: float | None
    agreement_exits: float
    mean_macs: float
    full_macs: int
    exits: tuple[ExitParity, ...]
    cosines: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)


def float_embeddings(model: ClipModel, images: NDArray[np.int8], progress: Progress) -> NDArray[np.float32]:
    """open_clip's own embeddings [n, E] of int8 image tensors [n, H, W, 3]."""
    return np.concatenate([model.encode(batch).numpy() for batch in batches(images, progress, "float tower")])


def reference_of(
    model: ClipModel, images: NDArray[np.int8], floats: NDArray[np.float32], progress: Progress
) -> NDArray[np.float32]:
    """open_clip's embeddings [n, E]: the float stages' own `floats` where a first batch shows them to be the same, else computed anew.

    Rewrites are exact, so the two seldom differ and a pass of a heavy tower over the report's images is saved; where float32 itself makes
    them differ by more than SAME, every figure is held against open_clip's own.
    """
    first = model.encode(torch.from_numpy(pixels(images[:BATCH]))).numpy()
    apart = np.linalg.norm(floats[: len(first)] - first, axis=1) / np.linalg.norm(first, axis=1)
    return floats if apart.max() <= SAME else float_embeddings(model, images, progress)


def measure(
    cascade: Cascade,
    manifest: Manifest,
    bank: LabelBank,
    images: NDArray[np.int8],
    reference: NDArray[np.float32],
    labels: Sequence[int] | None,
    progress: Progress,
) -> Parity:
    """Every figure over `images`, with the manifest's thresholds; `reference` are the float tower's embeddings of the same images."""
    found = replay(cascade, progress.over(images, len(images), "integer file"))
    return compare(found, cascade, manifest, bank, reference, labels)


def compare(
    found: Replay,
    cascade: Cascade,
    manifest: Manifest,
    bank: LabelBank,
    reference: NDArray[np.float32],
    labels: Sequence[int] | None,
) -> Parity:
    """The figures of a replay that was run already."""
    ours = answers(found, bank, manifest.logit_scale)
    float_top1 = (unit(reference) @ bank.vectors.T).argmax(1)
    cosine = (unit(found.embeddings) * unit(reference)[:, None]).sum(-1)
    left = observe(ours, cascade, manifest, len(bank.names)).leaves(policy_from_manifest(manifest))
    chosen = ours.top1[np.arange(len(left)), left]
    truth = None if labels is None else np.asarray(labels)

    def right(top1: NDArray[np.int64]) -> float | None:
        return None if truth is None else float((top1 == truth).mean())

    exits = tuple(
        ExitParity(
            blocks_done=stage.blocks_done,
            cosine=float(cosine[:, k].mean()),
            agreement=float((ours.top1[:, k] == float_top1).mean()),
            top1=right(ours.top1[:, k]),
            share=float((left == k).mean()),
            macs=manifest.macs_until(k),
            ms=float(np.median(found.ms[:, : k + 1].sum(1))),
        )
        for k, stage in enumerate(manifest.stages)
    )
    return Parity(
        images=len(left),
        cosine_mean=float(cosine[:, -1].mean()),
        cosine_p5=float(np.percentile(cosine[:, -1], 5)),
        agreement=exits[-1].agreement,
        top1_float=right(float_top1),
        top1_int8=exits[-1].top1,
        top1_exits=right(chosen),
        agreement_exits=float((chosen == float_top1).mean()),
        mean_macs=float(np.mean([exits[k].macs for k in left])),
        full_macs=manifest.total_macs,
        exits=exits,
        cosines=tuple(round(float(c), 5) for c in cosine[:, -1]),
    )


@dataclass(frozen=True, slots=True)
class FullDepth:
    """Closeness to float at full depth alone; shares in 0..1, None where labels are not known."""

    cosine_mean: float
    cosine_p5: float
    agreement: float
    top1: float | None
    top1_float: float | None


def at_full_depth(found: Replay, bank: LabelBank, reference: NDArray[np.float32], labels: Sequence[int] | None) -> FullDepth:
    """The last stage's embeddings against the float tower's of the same images."""
    ours, exact = unit(found.embeddings[:, -1]), unit(reference)
    cosine = (ours * exact).sum(1)
    top1, float_top1 = (ours @ bank.vectors.T).argmax(1), (exact @ bank.vectors.T).argmax(1)
    truth = None if labels is None else np.asarray(labels)
    return FullDepth(
        cosine_mean=float(cosine.mean()),
        cosine_p5=float(np.percentile(cosine, 5)),
        agreement=float((top1 == float_top1).mean()),
        top1=None if truth is None else float((top1 == truth).mean()),
        top1_float=None if truth is None else float((float_top1 == truth).mean()),
    )
