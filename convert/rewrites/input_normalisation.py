"""Pixels enter raw: mean and deviation of the preprocessing are folded into the patch convolution.

W((x - m) / s) + b = (W / s) x + (b - sum over colours and pixels of W m / s). Exact, since patches are never padded. The image tensor
then holds pixel / 255, so with scale 1/255 and zero point -128 a byte b enters as b - 128 and the host does no float work.
"""

from __future__ import annotations

import dataclasses

import torch

from calibration.phases import RewriteInputs
from convert.model.tower import Linear, Tower


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower that takes pixels in 0..1 as they are."""
    if tower.pixel_mean is None or tower.pixel_deviation is None:
        return "the tower takes raw pixels already"
    weight = tower.patch.weight.double() / torch.tensor(tower.pixel_deviation, dtype=torch.float64).reshape(1, 3, 1, 1)
    shift = (weight * torch.tensor(tower.pixel_mean, dtype=torch.float64).reshape(1, 3, 1, 1)).sum((1, 2, 3))
    patch = Linear(weight.float(), (tower.patch.bias.double() - shift).float())
    return dataclasses.replace(tower, patch=patch, pixel_mean=None, pixel_deviation=None)
