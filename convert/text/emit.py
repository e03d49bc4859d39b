"""The text tower as a TensorFlow Lite file: token ids in, the embedding out, one signature for each length of sentence.

Positions behind the end-of-text token change nothing (the mask is causal and the embedding is read at that token), so a short sentence
runs through a graph that is no longer than it needs: the same weights, a fraction of the work. Activations are float32 throughout, since
INT8 activations ruin text towers; the weights are small (`WEIGHTS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convert.text.graph import File, Graph
from convert.text.text_tower import Floats, Linear, TextBlock, TextTower
from convert.tflite.flatbuffer import schema
from tflite_runtime_app.text.signature import EMBEDDING, IDS, key_of

# float16: stored in half, computed as float32. int8: a scale per row, activations made int8 per token while they run (dynamic range).
Weights = Literal["float32", "float16", "int8"]
WEIGHTS: tuple[Weights, ...] = ("int8", "float16")  # smallest first
_MASKED = np.float32(-1e9)  # finite: nothing of it is left behind a softmax, and no infinity meets a kernel
_FASTER_SIGMOID = np.float32(1.702)  # quick GELU's


def emit(tower: TextTower, weights: Weights, lengths: Sequence[int]) -> bytes:
    """The file with a signature `text_LENGTH` per length: int32 ids [1, length] -> float32 embedding [1, E], not normalised."""
    file = File()
    for length in lengths:
        _Emitter(file, tower, weights, length).emit()
    return file.content()


class _Emitter:
    """One signature; tokens are two-dimensional [length, width] wherever no head is involved."""

    def __init__(self, file: File, tower: TextTower, weights: Weights, length: int) -> None:
        self.graph, self.tower, self.weights, self.length = Graph(file), tower, weights, length

    def emit(self) -> None:
        graph, tower, length = self.graph, self.tower, self.length
        ids = graph.tensor((1, length), "int32")
        tokens = graph.add(
            "ADD",
            (self._looked_up(graph.reshape(ids, (length,))), graph.constant(tower.position[:length])),
            (length, tower.width),
        )
        mask = graph.constant(np.triu(np.full((length, length), _MASKED), 1)[None])
        for block in tower.blocks:
            tokens = self._block(tokens, block, mask)
        # The end-of-text token has the highest id of all.
        place = graph.add(
            "ARG_MAX", (ids, graph.constant(np.array(1, np.int32))), (1,), "int32", outputType=schema.TensorType.INT32
        )
        pooled = graph.add("GATHER", (tokens, place), (1, tower.width))
        embedding = self._linear(graph.norm(pooled, tower.epsilon), tower.projection)
        graph.signature(key_of(length), {IDS: ids}, {EMBEDDING: embedding})

    def _looked_up(self, ids: int) -> int:
        """The rows of the table: only those that the sentence names are ever made float32."""
        shape = (self.length, self.tower.width)
        if self.weights == "int8":
            codes, scales = rowwise(self.tower.table)
            return self.graph.add("EMBEDDING_LOOKUP", (ids, self.graph.constant(codes, scales)), shape)
        if self.weights == "float32":
            return self.graph.add("GATHER", (self.graph.constant(self.tower.table), ids), shape)
        half = self.graph.add("GATHER", (self.graph.constant(self.tower.table.astype(np.float16)), ids), shape, "float16")
        return self.graph.add("DEQUANTIZE", (half,), shape)

    def _block(self, tokens: int, block: TextBlock, mask: int) -> int:
        shape = self.graph.shape(tokens)
        tokens = self.graph.add("ADD", (tokens, self._attention(self.graph.norm(tokens, block.epsilon_1), block, mask)), shape)
        hidden = self._activated(self._linear(self.graph.norm(tokens, block.epsilon_2), block.fc_1))
        return self.graph.add("ADD", (tokens, self._linear(hidden, block.fc_2)), shape)

    def _attention(self, normed: int, block: TextBlock, mask: int) -> int:
        graph, heads, length, width = self.graph, self.tower.heads, self.length, self.tower.width

        def by_head(layer: Linear) -> int:
            return graph.transpose(graph.reshape(self._linear(normed, layer), (length, heads, width // heads)), (1, 0, 2))

        query, key, value = by_head(block.query), by_head(block.key), by_head(block.value)
        scores = graph.add("BATCH_MATMUL", (query, key), (heads, length, length), adjY=True)
        masked = graph.add("ADD", (scores, mask), (heads, length, length))
        shares = graph.add("SOFTMAX", (masked,), (heads, length, length), beta=1.0)
        mixed = graph.add("BATCH_MATMUL", (shares, value), (heads, length, width // heads))
        return self._linear(graph.reshape(graph.transpose(mixed, (1, 0, 2)), (length, width)), block.out)

    def _activated(self, value: int) -> int:
        shape = self.graph.shape(value)
        if self.tower.activation == "gelu":
            return self.graph.add("GELU", (value,), shape, approximate=False)
        steeper = self.graph.add("MUL", (value, self.graph.constant(np.array([_FASTER_SIGMOID]))), shape)
        return self.graph.add("MUL", (value, self.graph.add("LOGISTIC", (steeper,), shape)), shape)

    def _linear(self, value: int, layer: Linear) -> int:
        shape = (self.graph.shape(value)[0], len(layer.bias))
        return self.graph.add("FULLY_CONNECTED", (value, self._weights(layer), self.graph.constant(layer.bias)), shape)

    def _weights(self, layer: Linear) -> int:
        if self.weights == "int8":
            codes, scales = rowwise(layer.weight)
            return self.graph.constant(codes, scales)
        if self.weights == "float32":
            return self.graph.constant(layer.weight)
        return self.graph.add("DEQUANTIZE", (self.graph.constant(layer.weight.astype(np.float16)),), layer.weight.shape)


def rowwise(matrix: Floats) -> tuple[NDArray[np.int8], Floats]:
    """int8 codes and the scale of each row, whose largest number is code 127 or -127; a row of zeros has scale 1."""
    largest = np.abs(matrix).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(matrix / scales[:, None]).astype(np.int8), scales
