"""The matrix products of the whole network that a file computes, whatever the file leaves out of it or adds to it.

Widths are read off the file's first block, which no file shortens; how many blocks there are, and what exits cost, off its manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from calibration.probabilities import FACTORS
from convert.bench.products import Attention, Linear, Product
from convert.support.errors import ConvertError
from tflite_runtime_app.bundle.manifest import StageSpec


@dataclass(frozen=True, slots=True)
class Shape:
    """A tower's sizes: `patches` of `patch` bytes each, `width` channels, `heads`, `mlp` channels inside the MLP.

    `rotated` says that a layer [width, width] stands behind the first norm.
    """

    patches: int
    patch: int
    width: int
    heads: int
    mlp: int
    rotated: bool

    @property
    def embedding(self) -> tuple[Product, ...]:
        """Of the patches, up to the first block."""
        behind = Linear(self.patches + 1, self.width, self.width)
        return (Linear(self.patches, self.patch, self.width), *([behind] if self.rotated else []))

    @property
    def block(self) -> tuple[Product, ...]:
        """Of one block for every token: queries, keys, values, the two of attention, its output, the MLP's two."""
        tokens, width, size = self.patches + 1, self.width, self.width // self.heads
        rows, scores = (1, self.heads, tokens, size), (1, self.heads, tokens, tokens)
        square = Linear(tokens, width, width)
        attention = (Attention(rows, rows, scores, False, True), Attention(scores, rows, rows, False, False))
        return (*[square] * 3, *attention, square, Linear(tokens, width, self.mlp), Linear(tokens, self.mlp, width))

    def second_terms(self, embeds: bool, blocks: int) -> frozenset[int]:
        """What multiply-accumulates may come to a stage's: of the patches' second term, of probabilities' in some blocks."""
        patches, attention = self.embedding[0].macs, self.block[4].macs + sum(layer.macs for layer in self.sums)
        return frozenset(a * patches + b * attention for a in range(embeds + 1) for b in range(blocks + 1))

    @property
    def sums(self) -> tuple[Linear, ...]:
        """The layers that add a row's exponentials where probabilities have two terms (`calibration/probabilities.py`)."""
        tokens = self.patches + 1
        return (Linear(self.heads * tokens, tokens, FACTORS), Linear(self.heads * tokens, FACTORS, 1))

    def in_a_block(self, product: Product) -> bool:
        """Whether the product is one of a block's or of the embedding, for however many rows."""
        if isinstance(product, Attention):
            # An exit's head may attend to as many tokens, but in one matrix, and its values have a width of their own.
            tokens, size = self.patches + 1, self.width // self.heads
            probabilities, mixed = product.result[-1] == tokens, product.depth == tokens and product.result[-1] == size
            return product.batch == self.heads and (probabilities or mixed)
        inside = {(self.width, self.width), (self.width, self.mlp), (self.mlp, self.width), (self.patch, self.width)}
        sums = {(layer.depth, layer.columns) for layer in self.sums}
        return (product.depth, product.columns) in inside | sums


def full_products(found: Sequence[Sequence[Product]], stages: Sequence[StageSpec]) -> tuple[Product, ...]:
    """What every file of this network and these exits would compute that leaves nothing out and adds nothing.

    Exits count as the manifest counts them: with the products that the file has for them, and with one product of the manifest's
    multiply-accumulates where those do not add up to it. Raises ConvertError when the file's blocks are not the manifest's.
    """
    shape = _shape(found[0])
    parts: list[tuple[Product, ...]] = []
    done = [0, *(stage.blocks_done for stage in stages)]
    for (before, after), stage, products in zip(pairwise(done), stages, found, strict=True):
        tower = (*(shape.embedding if not before else ()), *shape.block * (after - before))
        macs, last = sum(product.macs for product in tower), after == done[-1]
        added = shape.second_terms(not before, after - before)
        # The last block may be left out for what nobody reads.
        if stage.macs - macs not in added and not (last and stage.macs < macs + max(added)):
            raise ConvertError(
                f"{stage.signature} should have {stage.macs} multiply-accumulates by its manifest, its products' shapes say {macs}; "
                "convert bench does not understand this file: build it again with this version's convert build"
            )
        parts.append(tower + _head(products, shape, stage.head_macs))
    return tuple(chain.from_iterable(parts))


def _head(products: Sequence[Product], shape: Shape, macs: int) -> tuple[Product, ...]:
    own = tuple(product for product in products if not shape.in_a_block(product))
    return own if sum(product.macs for product in own) == macs else (Linear(1, shape.width, -(-macs // shape.width)),)


def _shape(products: Sequence[Product]) -> Shape:
    """Of the network that begins with these. Raises ConvertError when they are no transformer's."""
    first = next((product for product in products if isinstance(product, Linear)), Linear(0, 0, 0))
    width, rows = first.columns, first.rows + 1
    wide = [
        number
        for number, product in enumerate(products)
        if isinstance(product, Linear) and product.rows == rows and product.depth == width != product.columns
    ]
    attention = next((product for product in products if isinstance(product, Attention)), None)
    if not wide or attention is None or width % attention.batch:
        raise ConvertError(
            "stage_0 should begin with a whole transformer block, found none; build the bundle again: convert build"
        )
    behind = products[wide[0]]
    assert isinstance(behind, Linear)
    squares = sum(product == Linear(rows, width, width) for product in products[: wide[0]])
    return Shape(first.rows, first.depth, width, attention.batch, behind.columns, rotated=squares % 4 == 1)
