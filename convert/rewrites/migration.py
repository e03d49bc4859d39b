"""Values give up what their channels differ by to the layer behind them: one int8 scale then fits all channels of V.

W_v <- diag(1/s) W_v, b_v <- b_v / s, W_o <- W_o diag(s): exact, since softmax mixes tokens and not channels. SmoothQuant (arXiv 2211.10438)
with s_j = (|v_j| / geometric mean of |v|)^a, |v_j| the largest value seen in channel j. a = 0 does nothing, a = 1 makes all channels equal
and the columns of W_o as unequal as the values were, which widens the steps of its rows: a is swept, for each block, by the noise that
rounding would add to the attention's output.

A norm's output is not migrated into its readers: RMS norms have one factor a token, so it would cost a multiplication of the whole tensor
each, and after the rotation its channels differ by a few percent only (`convert culprit`).

Must not fire where the values' largest are not known.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from calibration.phases import RewriteInputs
from convert.model.tower import Linear, Tower

TOLERANCE = 1e-4  # of the embedding's norm
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def value_role(block: int) -> str:
    """The role of a block's values, blocks counted from 1."""
    return f"block_{block:02d}/value"


def apply(tower: Tower, inputs: RewriteInputs) -> Tower | str:
    """The tower whose values' channels are as alike as is best for each block."""
    roles = [value_role(number) for number in range(1, len(tower.blocks) + 1)]
    missing = [role for role in roles if role not in inputs.channel_maxima]
    if missing:
        return f"the largest of {missing[0]} is not known"
    blocks = []
    for role, block in zip(roles, tower.blocks, strict=True):
        largest = torch.from_numpy(inputs.channel_maxima[role]).double().clamp_min(1e-6)
        strength = min(STRENGTHS, key=lambda a: predicted_noise(block.out.weight.double(), largest, a))
        scale = _scale(largest, strength).float()
        value = Linear(block.value.weight / scale[:, None], block.value.bias / scale)
        blocks.append(dataclasses.replace(block, value=value, out=Linear(block.out.weight * scale, block.out.bias)))
    return dataclasses.replace(tower, blocks=tuple(blocks))


def predicted_noise(weight: Tensor, largest: Tensor, strength: float) -> float:
    """The variance that rounding V, what softmax mixes of it, and W_o adds to the attention's output, summed over channels.

    V and the mixture share about one step d = max |v / s| / 127 and add d^2 / 12 times |W_o diag(s)|^2 each; row i of W_o adds
    (max_j |w_ij s_j| / 127)^2 / 12 times |v / s|^2, a value being about a quarter of its channel's largest.
    """
    scale = _scale(largest, strength)
    values, scaled = largest / scale, weight * scale
    of_values = 2 * (values.max() / 127) ** 2 * (scaled**2).sum()
    of_weights = ((scaled.abs().amax(1) / 127) ** 2).sum() * ((values / 4) ** 2).sum()
    return float(of_values + of_weights) / 12


def _scale(largest: Tensor, strength: float) -> Tensor:
    return (largest / largest.log().mean().exp()) ** strength
