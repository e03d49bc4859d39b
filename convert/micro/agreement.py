"""What TensorFlow Lite Micro makes of the stages, held against LiteRT's reference kernels, stage by stage.

Every stage gets what LiteRT's stage before it gave, on both sides, so a difference belongs to the stage that it is found in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convert.micro.split import StageFile
from convert.micro.tflm import Arena, Codes, run
from convert.support.quiet import quiet


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many int8 values were compared, on how many images, how many differ, and by how many codes at most."""

    pictures: int
    values: int
    different: int
    largest: int


@dataclass(frozen=True, slots=True, eq=False)
class StageRun:
    """A stage on some images: what LiteRT gives by name (int8 [images, bytes]), TensorFlow Lite Micro's arena, and their agreement."""

    outputs: Mapping[str, Codes]
    arena: Arena
    agreement: Agreement


def run_stages(stages: Sequence[StageFile], images: NDArray[np.int8]) -> tuple[StageRun, ...]:
    """Both sides on `images`, int8 [n, H, W, 3]. Raises ConvertError when TensorFlow Lite Micro refuses a stage."""
    given: dict[str, Codes] = {"image": images.reshape(len(images), -1)}
    found = []
    for stage in stages:
        inputs = [given[name] for name in stage.inputs]
        reference = litert(stage.content, inputs)
        micro = run(stage.content, inputs)
        given = dict(zip(stage.outputs, reference, strict=True))
        found.append(StageRun(given, micro.arena, compare(reference, micro.outputs)))
    return tuple(found)


def litert(content: bytes, inputs: Sequence[Codes]) -> tuple[Codes, ...]:
    """What LiteRT's reference kernels give for the file: int8 [images, bytes] for each output, in the file's order."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet():
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        interpreter.allocate_tensors()
    takes, gives = interpreter.get_input_details(), interpreter.get_output_details()
    outputs: list[list[Codes]] = [[] for _ in gives]
    for image in range(len(inputs[0])):
        for detail, values in zip(takes, inputs, strict=True):
            interpreter.set_tensor(detail["index"], values[image].reshape(detail["shape"]))
        interpreter.invoke()
        for detail, kept in zip(gives, outputs, strict=True):
            kept.append(interpreter.get_tensor(detail["index"]).reshape(-1))
    return tuple(np.stack(kept) for kept in outputs)


def compare(one: Sequence[Codes], other: Sequence[Codes]) -> Agreement:
    """How far both sides' outputs agree."""
    apart = np.concatenate([np.abs(a.astype(np.int16) - b).ravel() for a, b in zip(one, other, strict=True)])
    return Agreement(len(one[0]), int(apart.size), int(np.count_nonzero(apart)), int(apart.max(initial=0)))
