"""An ncnn network's Gemm and MultiHeadAttention layers in int8, as ncnn's own tool ncnn2int8 writes them without a calibration table.

ncnn's wheels bring its runtime but not that tool. What it does to these two kinds of layer, and is done here: weights become
round(weight * scale) in -127 .. 127 with scale = 127 / max|weight|, one scale per output channel for query, key and value, one for
all of a Gemm's and of the output projection's; activations are quantized by ncnn while it runs. Layers that need a calibration
table stay in float32: of an image tower the patch convolution and the last projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLOAT32, INT8 = b"\0\0\0\0", b"\x38\x4b\x0d\x00"  # what stands in front of a weight array and says how it is stored
QUANTIZE_TERM = "18=2"

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of a .param file: its words, and its parameters by number."""

    kind: str
    words: tuple[str, ...]
    parameters: dict[int, str]

    def number(self, key: int, default: int = 0) -> int:
        """An integer parameter."""
        return int(self.parameters.get(key, default))


def quantized(param: str, content: bytes) -> tuple[str, bytes, int]:
    """The network as .param and .bin with int8 layers, and how many there are. Raises ValueError for weights not stored as float32."""
    head, lines = param.splitlines()[:2], param.splitlines()[2:]
    reader, written, shown, count = _Reader(content), [], [], 0
    for line in lines:
        layer = _layer(line)
        if layer.kind == "MultiHeadAttention":
            written.append(_attention(layer, reader))
        elif layer.kind == "Gemm" and layer.number(5):
            written.append(_gemm(layer, reader))
        else:
            written.append(_copied(layer, reader))
            shown.append(line)
            continue
        shown.append(f"{line.rstrip()} {QUANTIZE_TERM}")
        count += 1
    reader.finish()
    return "\n".join((*head, *shown)) + "\n", b"".join(written), count


def _layer(line: str) -> Layer:
    kind, _, inputs, outputs, *rest = line.split()
    names = int(inputs) + int(outputs)
    parameters = dict(word.split("=", 1) for word in rest[names:])
    return Layer(kind, tuple(rest[:names]), {int(key): value for key, value in parameters.items()})


def _attention(layer: Layer, reader: _Reader) -> bytes:
    width, size = layer.number(0), layer.number(2)
    into = size // width
    parts, scales = [], []
    for depth in (into, layer.number(3, width), layer.number(4, width)):
        codes, scale = _per_row(reader.weights(width * depth).reshape(width, depth))
        parts += [_int8(codes), reader.plain(width)]
        scales.append(scale)
    codes, scale = _as_one(reader.weights(size))
    return b"".join((*parts, _int8(codes), reader.plain(into), *(s.tobytes() for s in (*scales, scale))))


def _gemm(layer: Layer, reader: _Reader) -> bytes:
    """y = a weight + bias, the weight stored [columns, depth]."""
    columns, depth = layer.number(8), layer.number(9)
    if layer.number(4) or not layer.number(3):
        raise ValueError(f"a Gemm with parameters {layer.parameters}, expected a constant right operand, transposed")
    codes, scale = _as_one(reader.weights(columns * depth))
    bias = b"" if not layer.number(6) or layer.number(10) == -1 else FLOAT32 + reader.weights(_bias_size(layer)).tobytes()
    return _int8(codes) + bias + scale.tobytes()


def _bias_size(layer: Layer) -> int:
    rows, columns = layer.number(7), layer.number(8)
    return {0: 1, 1: rows, 2: rows, 3: rows * columns, 4: columns}[layer.number(10)]


def _copied(layer: Layer, reader: _Reader) -> bytes:
    """The weights of a layer that stays as it is; layers not named here have none, or `finish` will tell."""
    if layer.kind in ("Convolution", "InnerProduct"):
        weights, bias = (6, 5) if layer.kind == "Convolution" else (2, 1)
        content = FLOAT32 + reader.weights(layer.number(weights)).tobytes()
        return content + (reader.plain(layer.number(0)) if layer.number(bias) else b"")
    if layer.kind == "LayerNorm":
        return reader.plain(2 * layer.number(0)) if layer.number(2, 1) else b""
    if layer.kind == "MemoryData":
        return reader.plain(int(np.prod([layer.number(key) or 1 for key in (0, 1, 11, 2)])))
    return b""


def _per_row(weights: Values) -> tuple[NDArray[np.int8], Values]:
    largest = np.abs(weights).max(1)
    scale = np.where(largest == 0, 1.0, 127 / np.where(largest == 0, 1.0, largest)).astype(np.float32)
    return np.rint(weights * scale[:, None]).clip(-127, 127).astype(np.int8), scale


def _as_one(weights: Values) -> tuple[NDArray[np.int8], Values]:
    codes, scale = _per_row(weights.reshape(1, -1))
    return codes.reshape(weights.shape), scale


def _int8(codes: NDArray[np.int8]) -> bytes:
    """Arrays of int8 are padded to four bytes."""
    content = codes.tobytes()
    return INT8 + content + bytes(-len(content) % 4)


class _Reader:
    """A .bin file from its start: weight arrays say how they are stored, other arrays are plain float32."""

    def __init__(self, content: bytes) -> None:
        self._content, self._position = content, 0

    def weights(self, count: int) -> Values:
        tag = self._take(4)
        if tag != FLOAT32:
            raise ValueError(f"weights stored as {tag.hex()}, expected float32; export with fp16=0")
        return np.frombuffer(self._take(4 * count), np.float32)

    def plain(self, count: int) -> bytes:
        return self._take(4 * count)

    def finish(self) -> None:
        left = len(self._content) - self._position
        if left:
            raise ValueError(f"{left} bytes are left over: the network has a kind of layer with weights that is not known here")

    def _take(self, size: int) -> bytes:
        found = self._content[self._position : self._position + size]
        if len(found) < size:
            raise ValueError("the file ends before its last layer")
        self._position += size
        return found
