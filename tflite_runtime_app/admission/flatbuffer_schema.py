# ruff: noqa: RUF009 - the calls make dataclass fields
"""The part of TensorFlow Lite's schema that our bundles use, slot for slot; what is missing here is refused when it is met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.admission.flatbuffer_reader import scalar, table, tables, text, union, vector

IDENTIFIER, VERSION = b"TFL3", 3
FLOAT32, FLOAT16, INT32, INT8 = 0, 1, 2, 9
NO_ACTIVATION, RELU = 0, 1

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class FullyConnectedOptions:
    fused_activation: int = scalar(0, "b")
    weights_format: int = scalar(1, "b")
    keep_num_dims: bool = scalar(2, "?", False)
    asymmetric_quantize_inputs: bool = scalar(3, "?", False)
    quantized_bias_type: int = scalar(4, "b")


@dataclass(frozen=True, slots=True)
class SoftmaxOptions:
    beta: float = scalar(0, "f", 0.0)


@dataclass(frozen=True, slots=True)
class ConcatenationOptions:
    axis: int = scalar(0, "i")
    fused_activation: int = scalar(1, "b")


@dataclass(frozen=True, slots=True)
class AddOptions:
    fused_activation: int = scalar(0, "b")
    pot_scale_int16: bool = scalar(1, "?", True)


@dataclass(frozen=True, slots=True)
class SubOptions:
    fused_activation: int = scalar(0, "b")
    pot_scale_int16: bool = scalar(1, "?", True)


@dataclass(frozen=True, slots=True)
class MulOptions:
    fused_activation: int = scalar(0, "b")


@dataclass(frozen=True, slots=True, eq=False)
class ReshapeOptions:
    new_shape: Ints = vector(0, "i")


@dataclass(frozen=True, slots=True)
class TransposeOptions:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class ReducerOptions:
    keep_dims: bool = scalar(0, "?", False)


@dataclass(frozen=True, slots=True)
class StridedSliceOptions:
    begin_mask: int = scalar(0, "i")
    end_mask: int = scalar(1, "i")
    ellipsis_mask: int = scalar(2, "i")
    new_axis_mask: int = scalar(3, "i")
    shrink_axis_mask: int = scalar(4, "i")
    offset: bool = scalar(5, "?", False)


@dataclass(frozen=True, slots=True)
class MaximumMinimumOptions:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class BatchMatMulOptions:
    adj_x: bool = scalar(0, "?", False)
    adj_y: bool = scalar(1, "?", False)
    asymmetric_quantize_inputs: bool = scalar(2, "?", False)


@dataclass(frozen=True, slots=True)
class GeluOptions:
    approximate: bool = scalar(0, "?", False)


@dataclass(frozen=True, slots=True)
class GatherOptions:
    axis: int = scalar(0, "i")
    batch_dims: int = scalar(1, "i")


@dataclass(frozen=True, slots=True)
class DequantizeOptions:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class ArgMaxOptions:
    output_type: int = scalar(0, "b")


# The schema's BuiltinOptions: what stands in an operator's union, by its number.
OPTIONS: dict[int, type] = {
    8: FullyConnectedOptions,
    9: SoftmaxOptions,
    10: ConcatenationOptions,
    11: AddOptions,
    17: ReshapeOptions,
    21: MulOptions,
    23: GatherOptions,
    26: TransposeOptions,
    27: ReducerOptions,
    28: SubOptions,
    32: StridedSliceOptions,
    38: DequantizeOptions,
    39: MaximumMinimumOptions,
    40: ArgMaxOptions,
    89: QuantizeOptions,
    101: BatchMatMulOptions,
    116: GeluOptions,
}


@dataclass(frozen=True, slots=True, eq=False)
class Quantization:
    """`minimum` and `maximum` are a note of the quantizer's that LiteRT does not read."""

    minimum: Floats = vector(0, "f")
    maximum: Floats = vector(1, "f")
    scale: Floats = vector(2, "f")
    zero_point: npt.NDArray[np.int64] = vector(3, "q")
    details_type: int = scalar(4, "B")
    quantized_dimension: int = scalar(6, "i")


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    shape: Ints = vector(0, "i")
    type: int = scalar(1, "b")
    buffer: int = scalar(2, "I")
    name: str = text(3)
    quantization: Quantization | None = table(4, Quantization)
    is_variable: bool = scalar(5, "?", False)
    has_rank: bool = scalar(8, "?", False)


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    opcode_index: int = scalar(0, "I")
    inputs: Ints = vector(1, "i")
    outputs: Ints = vector(2, "i")
    builtin_options_type: int = scalar(3, "B")
    builtin_options: Any = union(4, "builtin_options_type", OPTIONS)


@dataclass(frozen=True, slots=True)
class OperatorCode:
    deprecated_builtin_code: int = scalar(0, "b")
    version: int = scalar(2, "i", 1)
    builtin_code: int = scalar(3, "i")


@dataclass(frozen=True, slots=True, eq=False)
class SubGraph:
    tensors: tuple[Tensor, ...] = tables(0, Tensor)
    inputs: Ints = vector(1, "i")
    outputs: Ints = vector(2, "i")
    operators: tuple[Operator, ...] = tables(3, Operator)
    name: str = text(4)


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """Its constants stand inside: `offset` and `size`, by which a buffer may point behind the flatbuffer, are not known here."""

    data: npt.NDArray[np.uint8] = vector(0, "B")


@dataclass(frozen=True, slots=True)
class TensorMap:
    name: str = text(0)
    tensor_index: int = scalar(1, "I")


@dataclass(frozen=True, slots=True)
class SignatureDef:
    inputs: tuple[TensorMap, ...] = tables(0, TensorMap)
    outputs: tuple[TensorMap, ...] = tables(1, TensorMap)
    signature_key: str = text(2)
    subgraph_index: int = scalar(4, "I")


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    version: int = scalar(0, "I")
    operator_codes: tuple[OperatorCode, ...] = tables(1, OperatorCode)
    subgraphs: tuple[SubGraph, ...] = tables(2, SubGraph)
    description: str = text(3)
    buffers: tuple[Buffer, ...] = tables(4, Buffer)
    signature_defs: tuple[SignatureDef, ...] = tables(7, SignatureDef)
