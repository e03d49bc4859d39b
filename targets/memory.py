"""How large a tower's file will be and how much memory `classify` will take with it, from the tower's shapes alone.

    file = weights + 4 bytes a bias + 8 bytes a channel's scales + GRAPH a block + EXTRAS
    peak = IMPORTS + file + PACKED x weights + arena + RUNTIME

Weights are int8, one byte each. A channel has a float32 scale for its weights and one for its bias. At the peak the process holds
the file, XNNPACK's packed copy of the weights, and an arena for every stage. The constants were measured on finished files of width
384 and 768, in fresh processes of LiteRT 2.3.0 on x86: files were within 0.5 % of the formula, peaks within 2 %. Of files of a few
hundred kilobytes a tenth more is graph.
"""

from __future__ import annotations

from dataclasses import dataclass

MB = 1 << 20
GRAPH = 15_000  # bytes a block: operators, tensors and their names
EXTRAS = 500_000  # bytes of labels, report, manifest and what is remembered of the calibration images
IMPORTS = 49 * MB  # Python, numpy, Pillow and LiteRT
PACKED = 1.05  # XNNPACK's copy holds scales and sums of weights beside them
RUNTIME = 7 * MB  # interpreter, signatures, labels
# Of a microcontroller, measured with TensorFlow Lite Micro on x86, 64-bit pointers:
LABELS = 100_000  # bytes of labels and constants in flash
CHANNEL = 8  # bytes of arena that a product keeps for each of its outputs: multiplier and shift
BLOCK, EXIT = 20_500, 9_000  # bytes of arena that a block's operators keep, and those of a head


@dataclass(frozen=True, slots=True)
class Shape:
    """A ViT image tower's sizes. `hidden` is the MLP's width, `patch` the weights of a patch's pixels to one channel.

    `head_weights` and `head_outputs` count all heads together, the projection and the exits' own; `pre_norm` says that a norm stands
    before the first block: its weights and the rotation become one product of width x width.
    """

    image_px: int
    tokens: int
    width: int
    hidden: int
    blocks: int
    heads: int
    patch: int
    head_weights: int
    head_outputs: int
    pre_norm: bool
    stages: int = 4

    @property
    def weights(self) -> int:
        """Numbers in all matrices and in the position embedding."""
        block = 4 * self.width**2 + 2 * self.width * self.hidden
        before = self.width * (self.patch + self.tokens) + (self.width**2 if self.pre_norm else 0)
        return self.blocks * block + before + self.head_weights

    @property
    def channels(self) -> int:
        """Outputs of all matrices: each has a bias and two scales."""
        return self.blocks * (5 * self.width + self.hidden) + self.width * (2 if self.pre_norm else 1) + self.head_outputs

    @property
    def macs(self) -> int:
        """Multiply–accumulates at full depth, without heads."""
        block = 4 * self.width**2 + 2 * self.width * self.hidden
        return self.blocks * (self.tokens * block + 2 * self.tokens**2 * self.width) + self.tokens * self.width * self.patch

    @property
    def arena(self) -> int:
        """Bytes of activations: in every stage the widest layer's input and output, three attention maps, and the image."""
        widest = 2 * self.tokens * self.hidden + 4 * self.tokens * self.width + 3 * self.heads * self.tokens**2
        return self.stages * widest + 3 * self.image_px**2


def flatbuffer_bytes(shape: Shape) -> int:
    """Estimated size of the bundle's flatbuffer."""
    return shape.weights + (4 + 8) * shape.channels + GRAPH * shape.blocks


def file_bytes(shape: Shape) -> int:
    """Estimated size of the whole bundle."""
    return flatbuffer_bytes(shape) + EXTRAS


def peak_bytes(shape: Shape) -> int:
    """Estimated peak memory of `classify` with that bundle, its libraries included."""
    return IMPORTS + file_bytes(shape) + int(PACKED * shape.weights) + shape.arena + RUNTIME


def flash_bytes(shape: Shape) -> int:
    """Estimated bytes of stages and labels in a microcontroller's flash, the program not counted."""
    return flatbuffer_bytes(shape) + LABELS


def arena_bytes(shape: Shape) -> int:
    """Estimated bytes of TensorFlow Lite Micro's arena for the first stage, by default a third of the blocks: the largest.

    Activations at their widest, in the MLP with GELU's two factors and both terms of the stream or in the attention, or the image cut
    into patches; and what every operator keeps.
    """
    stream = 2 * shape.tokens * shape.width
    perceptron = 3 * shape.tokens * shape.hidden
    attention = 2 * shape.heads * shape.tokens**2 + 3 * shape.tokens * shape.width
    widest = max(stream + perceptron, stream + attention, 6 * shape.image_px**2)
    block = CHANNEL * (5 * shape.width + shape.hidden) + BLOCK
    return widest + -(-shape.blocks // 3) * block + EXIT + CHANNEL * (shape.width + shape.head_outputs // shape.stages)
