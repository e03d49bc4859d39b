"""What training images go through: a random crop, mirror and colours, and mixing in pairs.

Everything random comes from the generator handed in, so a run that goes on where it stopped sees the images it would have seen.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

RATIOS = (3 / 4, 4 / 3)
ERASED = 0.25  # share of images with a grey rectangle
GREY = 0.1


def views(pixels: Tensor, size: tuple[int, int], mean: Tensor, deviation: Tensor, smallest: float, source: Generator) -> Tensor:
    """Pixels uint8 [n, h, w, 3] as normalised crops [n, 3, *size], each of `smallest` to all of the image's area."""
    n = len(pixels)
    x = pixels.permute(0, 3, 1, 2).float() / 255
    x = F.grid_sample(x, _crops(n, size, smallest, source), "bilinear", "reflection", align_corners=False)
    grey = (_uniform((n, 1, 1, 1), 0, 1, source) < GREY).float()
    x = torch.lerp(x, x.mean(1, keepdim=True).expand_as(x), grey)
    x = (x - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    gain, shift = _uniform((n, 3, 1, 1), 0.9, 1.1, source), _uniform((n, 3, 1, 1), -0.1, 0.1, source)
    x = x * gain * _uniform((n, 1, 1, 1), 0.75, 1.3, source) + shift + _uniform((n, 1, 1, 1), -0.25, 0.25, source)
    return _erased(x, source)


def mixed(x: Tensor, targets: Tensor, source: Generator) -> tuple[Tensor, Tensor]:
    """Every image mixed with another one: half of the calls blend (mixup), half paste a rectangle (CutMix); targets [n, classes] too."""
    other = torch.randperm(len(x), generator=source)
    share = float(torch.rand(1, generator=source)) * 0.5
    if float(torch.rand(1, generator=source)) < 0.5:
        return torch.lerp(x, x[other], share), torch.lerp(targets, targets[other], share)
    size = x.shape[-2:]
    height, width = (max(1, round(side * math.sqrt(share))) for side in size)
    top, left = (
        int(torch.randint(0, side - part + 1, (1,), generator=source)) for side, part in zip(size, (height, width), strict=True)
    )
    x = x.clone()
    x[:, :, top : top + height, left : left + width] = x[other][:, :, top : top + height, left : left + width]
    return x, torch.lerp(targets, targets[other], height * width / (size[0] * size[1]))


def _crops(n: int, size: tuple[int, int], smallest: float, source: Generator) -> Tensor:
    """The sampling grids [n, *size, 2] of random rectangles, half of them mirrored."""
    area = _uniform((n,), smallest, 1, source)
    ratio = _uniform((n,), math.log(RATIOS[0]), math.log(RATIOS[1]), source).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    across, down = _uniform((n,), -1, 1, source) * (1 - width), _uniform((n,), -1, 1, source) * (1 - height)
    mirrored = torch.where(_uniform((n,), 0, 1, source) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2], theta[:, 1, 1], theta[:, 1, 2] = width * mirrored, across, height, down
    return F.affine_grid(theta, [n, 3, *size], align_corners=False)


def _erased(x: Tensor, source: Generator) -> Tensor:
    """Some of the images with a rectangle at the mean colour (random erasing, arXiv 1708.04896)."""
    n, size = len(x), torch.tensor(x.shape[-2:])
    part = _uniform((n, 2), 0.15, 0.5, source) * size
    start = _uniform((n, 2), 0, 1, source) * (size - part)
    down, across = (
        (place >= start[:, axis, None]) & (place < (start + part)[:, axis, None])
        for axis, place in enumerate(torch.arange(side, dtype=x.dtype) for side in x.shape[-2:])
    )
    gone = down[:, :, None] & across[:, None, :] & (_uniform((n, 1, 1), 0, 1, source) < ERASED)
    return x.masked_fill(gone[:, None], 0.0)


def _uniform(shape: tuple[int, ...], low: float, high: float, source: Generator) -> Tensor:
    return torch.rand(shape, generator=source) * (high - low) + low
