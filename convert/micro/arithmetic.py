"""What the C code computes after a stage, in Python's own integers: the reference that C must equal to the bit.

score      s_c = sum of (e_i - zero) L_ci                              int32
root       r = floor(sqrt(sum of (e_i - zero)^2 * 2^16)), at least 1    |e| in 2^-8
exponent   u_c = floor((s_1 - s_c) sharpness / (r 2^8))                 in 2^-16: logit_scale (cos_1 - cos_c) log2(e)
weight     w_c = 2^-u_c, in 2^-30, from a table of 64 steps, straight in between
share      p_c = floor(w_c 2^24 / sum of w)                             in 2^-24
gate       code = clip(floor((slope x + offset + 2^39) / 2^40)), then int8 layers as LiteRT's FULLY_CONNECTED
none       s_1 2^24 < none_limit r
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convert.micro.constants import TABLE, TABLE_BITS, GateNumbers, LayerNumbers, Numbers

ONE = 1 << 24  # a share of 1


@dataclass(frozen=True, slots=True)
class Shares:
    """One embedding against all labels: scores, |e|, and every label's share of the softmax; the best label is `top1`."""

    scores: tuple[int, ...]
    root: int
    shares: tuple[int, ...]
    top1: int

    @property
    def confidence(self) -> int:
        """The best label's share."""
        return self.shares[self.top1]

    @property
    def margin(self) -> int:
        """By how much the best label's share exceeds the second's; with one label its share."""
        others = [share for k, share in enumerate(self.shares) if k != self.top1]
        return self.confidence - max(others, default=0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What C answers: the stage, its gates' scores, the best labels with scores and shares, and whether none is believed."""

    stage: int
    gates: tuple[int, ...]
    top: tuple[int, ...]
    scores: tuple[int, ...]
    shares: tuple[int, ...]
    none: bool


def shares_of(codes: Sequence[int], zero: int, numbers: Numbers) -> Shares:
    """The shares of an embedding's int8 codes."""
    centred = [int(code) - zero for code in codes]
    scores = tuple(sum(a * int(b) for a, b in zip(centred, row, strict=True)) for row in numbers.labels.tolist())
    root = max(math.isqrt(sum(a * a for a in centred) << 32), 1)
    top1 = scores.index(max(scores))
    weights = [exponential((scores[top1] - score) * numbers.sharpness // root) for score in scores]
    total = sum(weights)
    return Shares(scores, root, tuple((weight << 24) // total for weight in weights), top1)


def exponential(exponent: int) -> int:
    """2^-exponent in units of 2^-30, `exponent` in units of 2^-16."""
    whole, place, rest = exponent >> 16, (exponent & 0xFFFF) >> (16 - TABLE_BITS), exponent & ((1 << (16 - TABLE_BITS)) - 1)
    if whole > 30:
        return 0
    value = TABLE[place] - ((TABLE[place] - TABLE[place + 1]) * rest >> (16 - TABLE_BITS))
    return value >> whole


def gate_codes(gate: GateNumbers, confidence: int, margin: int, variance: int) -> list[int]:
    """The gate's int8 input for shares and the variance's code."""
    values = (confidence, margin, variance - gate.variance_zero)
    return [
        _clip((slope * value + offset + (1 << 39)) >> 40, -128)
        for slope, value, offset in zip(gate.slopes, values, gate.offsets, strict=True)
    ]


def gate_score(gate: GateNumbers, confidence: int, margin: int, variance: int) -> int:
    """The gate's int8 score."""
    codes = gate_codes(gate, confidence, margin, variance)
    for layer in gate.layers:
        codes = layer_output(layer, codes)
    return codes[0]


def layer_output(layer: LayerNumbers, codes: Sequence[int]) -> list[int]:
    """One int8 layer, as LiteRT's reference FULLY_CONNECTED rounds."""
    found = []
    for row, bias in zip(layer.weights.tolist(), layer.bias.tolist(), strict=True):
        total = bias + sum(weight * (code - layer.input_zero) for weight, code in zip(row, codes, strict=True))
        found.append(_clip(layer.output_zero + rescaled(total, layer.multiplier, layer.shift), layer.least))
    return found


def rescaled(value: int, multiplier: int, shift: int) -> int:
    """value x multiplier x 2^(shift - 31), rounded once: halves towards plus infinity."""
    return (value * multiplier + (1 << (30 - shift))) >> (31 - shift)


def classify(embeddings: Sequence[NDArray[np.int8]], variances: Sequence[int], numbers: Numbers, top: int) -> Answer:
    """What C answers when the stages give these embeddings and variances (codes), stage by stage."""
    gates: list[int] = []
    for stage, found in enumerate(stage_shares(embeddings, numbers)):
        if stage < len(numbers.gates):
            gate = numbers.gates[stage]
            gates.append(gate_score(gate, found.confidence, found.margin, int(variances[stage])))
            if gates[-1] >= gate.threshold:
                break
    order = sorted(range(len(found.scores)), key=lambda k: (-found.scores[k], k))[:top]
    none = (found.scores[found.top1] << 32) < numbers.none_limit * found.root
    picked = tuple(order)
    return Answer(
        stage, tuple(gates), picked, tuple(found.scores[k] for k in picked), tuple(found.shares[k] for k in picked), none
    )


def stage_shares(embeddings: Sequence[NDArray[np.int8]], numbers: Numbers) -> Iterator[Shares]:
    """Every stage's shares in turn, each computed only when it is asked for."""
    for codes, zero in zip(embeddings, numbers.embedding_zero, strict=True):
        yield shares_of(codes.reshape(-1).tolist(), zero, numbers)


def _clip(value: int, least: int) -> int:
    return max(least, min(127, value))
