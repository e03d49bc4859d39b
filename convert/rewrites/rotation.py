"""The residual stream is rotated, h' = R h with R orthogonal, so that no channel stands out and one int8 scale fits them all.

Writers get R W and R b, readers W R^T; RMSNorm only looks at the length of a token, so R passes through it: exact. QuaRot (arXiv
2404.00456), SpinQuant (2405.16406). R is a randomised Hadamard matrix, which spreads every channel over all; where the width is no
power of two, its Kronecker product with a small random orthogonal matrix (384 = 32 x 12, 768 = 64 x 12).
"""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor

from calibration.phases import RewriteInputs
from convert.model.tower import Tower
from convert.rewrites.stream_map import map_readers, map_writers

TOLERANCE = 1e-4  # of the embedding's norm


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower on a rotated stream."""
    if not tower.norm_post.centred:
        return "the stream is not centred: LayerNorm does not commute with a rotation"
    if tower.norm_post.weight is not None or any(
        b.norm_1.weight is not None or b.norm_2.weight is not None for b in tower.blocks
    ):
        return "a norm has a weight of its own; fold it first"
    rotation = orthogonal(tower.width, inputs.rotation_seed)
    rotated = map_readers(map_writers(tower, rotation), rotation.T)
    return dataclasses.replace(rotated, mean_direction=(rotation @ tower.mean_direction.double()).float())


def orthogonal(width: int, seed: int) -> Tensor:
    """A random orthogonal matrix [width, width] in float64: Hadamard kron small orthogonal, times random signs."""
    generator = torch.Generator().manual_seed(seed)
    power = width & -width  # the largest power of two that divides the width
    small = width // power
    while small > 1 and small < 8 and power > 1:
        small, power = small * 2, power // 2
    mixing = (
        torch.linalg.qr(torch.randn(small, small, generator=generator, dtype=torch.float64))[0].contiguous()
        if small > 1
        else torch.ones(1, 1).double()
    )
    signs = torch.randint(0, 2, (width,), generator=generator).double() * 2 - 1
    return torch.kron(_hadamard(power), mixing) * signs


def _hadamard(size: int) -> Tensor:
    """Sylvester's Hadamard matrix of a power of two, scaled to be orthogonal."""
    step = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 2**0.5
    return functools.reduce(torch.kron, [step] * (size.bit_length() - 1), torch.ones(1, 1, dtype=torch.float64))
