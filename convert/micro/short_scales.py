"""Scales of what BATCH_MATMUL multiplies, rounded so that their product is exact.

Where the product of two scales needs more than float32's 24 bits, the multipliers of LiteRT and TensorFlow Lite Micro differ in the last
one: four of 492,840 sums came out a code apart in one layer, which the layers behind carry on; with short scales none. Two scales of twelve
bits have a product of 24. It moves a scale by a four-thousandth at most: the largest code by a thirty-second of a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.tflite.flatbuffer import operator_name, schema

BITS = 12
MOVES = frozenset({"RESHAPE", "TRANSPOSE", "STRIDED_SLICE", "CONCATENATION"})  # what goes in and what comes out have one scale


def apply(model: Any) -> None:
    """Every product of activations has scales of `BITS` bits, and so has all that is only moved before it or beside it."""
    for graph in model.subgraphs:
        group = {index: {index} for index, tensor in enumerate(graph.tensors) if tensor.type == schema.TensorType.INT8}
        for operator in graph.operators:
            if operator_name(model, operator) in MOVES:
                moved = [group[int(index)] for index in (*operator.inputs, *operator.outputs) if int(index) in group]
                together = set().union(*moved)
                group.update(dict.fromkeys(together, together))
        products = (operator for operator in graph.operators if operator_name(model, operator) == "BATCH_MATMUL")
        wanted = set().union(*(group[int(index)] for operator in products for index in operator.inputs))
        for index in wanted:
            quantization = graph.tensors[index].quantization
            quantization.scale = shortened(np.asarray(quantization.scale))


def shortened(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest numbers of `BITS` significant bits."""
    mantissa, exponent = np.frexp(np.asarray(scale, np.float64))
    short: NDArray[np.float32] = np.ldexp(np.round(mantissa * 2**BITS) / 2**BITS, exponent).astype(np.float32)
    return short
