"""One stage as one file: what TensorFlow Lite Micro runs, which knows neither signatures nor several subgraphs.

Inputs and outputs stand in one order in every file, so that C can name them by number:

    in:   image, or hidden and (two-term stream) hidden_lo
    out:  embedding, variance, hidden, hidden_lo; of the last stage the embedding alone
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from convert.micro import pointwise, short_scales
from convert.support.errors import EmitError
from convert.tflite.flatbuffer import TYPE_NAMES, operator_name, prune, read_model, signatures, write_model
from convert.tflite.merge import single

INPUTS, OUTPUTS = ("image", "hidden", "hidden_lo"), ("embedding", "variance", "hidden", "hidden_lo")
# TensorFlow Lite Micro's operators that bundles use, and what its resolver calls them (MicroMutableOpResolver::Add…).
TFLM = {
    "ADD": "Add",
    "BATCH_MATMUL": "BatchMatMul",
    "CONCATENATION": "Concatenation",
    "CONV_2D": "Conv2D",
    "FULLY_CONNECTED": "FullyConnected",
    "LOGISTIC": "Logistic",
    "MAXIMUM": "Maximum",
    "MEAN": "Mean",
    "MINIMUM": "Minimum",
    "MUL": "Mul",
    "QUANTIZE": "Quantize",
    "RESHAPE": "Reshape",
    "RSQRT": "Rsqrt",
    "SOFTMAX": "Softmax",
    "STRIDED_SLICE": "StridedSlice",
    "SUB": "Sub",
    "TRANSPOSE": "Transpose",
}


@dataclass(frozen=True, slots=True)
class StageFile:
    """A stage's file; `inputs` and `outputs` are the names of its tensors, in the order in which the file has them."""

    key: str
    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def stage_files(content: bytes) -> tuple[StageFile, ...]:
    """Every `stage_k` of a bundle's flatbuffer. Raises EmitError naming operators that TensorFlow Lite Micro lacks."""
    keys = [key for key, *_ in signatures(read_model(content)) if key.startswith("stage_")]
    return tuple(_stage(content, key) for key in sorted(keys, key=lambda key: int(key.removeprefix("stage_"))))


def lacking(content: bytes) -> tuple[str, ...]:
    """The operators of a file that TensorFlow Lite Micro lacks or that no bundle uses, by name."""
    model = read_model(content)
    names = {operator_name(model, operator) for graph in model.subgraphs for operator in graph.operators}
    return tuple(sorted(names - set(TFLM)))


def operators(contents: Iterable[bytes]) -> tuple[str, ...]:
    """The operators of all the files, by name, each once."""
    models = [read_model(content) for content in contents]
    return tuple(sorted({operator_name(m, operator) for m in models for graph in m.subgraphs for operator in graph.operators}))


def _stage(content: bytes, key: str) -> StageFile:
    model = read_model(single(content, key))
    ((_, graph, inputs, outputs),) = signatures(model)
    given = tuple(name for name in INPUTS if name in inputs)
    gives = tuple(name for name in OUTPUTS if name in outputs)
    if set(given) != set(inputs) or set(gives) != set(outputs):
        raise EmitError(f"{key} takes {', '.join(inputs)} and gives {', '.join(outputs)}; expected some of {', '.join(OUTPUTS)}")
    graph.inputs, graph.outputs = [inputs[name] for name in given], [outputs[name] for name in gives]
    model.signatureDefs, model.description = [], b"clip-rescue"
    pointwise.apply(model)
    short_scales.apply(model)
    prune(model)
    _drop_codes(model)
    result = write_model(model)
    missing = lacking(result)
    if missing:
        raise EmitError(f"{key}: TensorFlow Lite Micro has no {', '.join(missing)}; build with --target of a microcontroller")
    return StageFile(key, result, given, gives)


def _drop_codes(model: Any) -> None:
    """Operator codes that nothing uses any more are gone: a resolver would have to know them."""
    used = sorted({operator.opcodeIndex for graph in model.subgraphs for operator in graph.operators})
    place = {old: new for new, old in enumerate(used)}
    model.operatorCodes = [model.operatorCodes[old] for old in used]
    for graph in model.subgraphs:
        for operator in graph.operators:
            operator.opcodeIndex = place[operator.opcodeIndex]


def io_bytes(content: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Bytes of every input and output of a stage's file, in order. Raises EmitError for what is not int8."""
    (graph,) = read_model(content).subgraphs
    for index in (*graph.inputs, *graph.outputs):
        if TYPE_NAMES[graph.tensors[int(index)].type] != "INT8":
            raise EmitError(f"a stage should take and give int8, found {TYPE_NAMES[graph.tensors[int(index)].type]}")

    def sizes(indices: Iterable[int]) -> tuple[int, ...]:
        return tuple(int(np.prod(graph.tensors[int(index)].shape)) for index in indices)

    return sizes(graph.inputs), sizes(graph.outputs)
