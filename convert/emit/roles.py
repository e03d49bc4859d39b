"""Which tensor of the float file is which intermediate result of the stages: recognised by their values on one probe image.

The converter names, fuses and orders tensors as it likes, so names say little; values do not change. A tensor's fingerprint
(size, mean, deviation, cube root of the third moment, minimum, maximum) does not depend on how its axes are ordered, so a key and
its transpose get one role. That every tensor finds its twin also proves the conversion, tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convert.stages.run import walk
from convert.stages.stage import Stage
from convert.support.errors import EmitError
from convert.tflite.flatbuffer import constant, operator_name, read_model, signatures, text
from convert.tflite.interpreter import preserving_interpreter

TOLERANCE = 1e-3  # of the tensor's largest value; the float kernels of torch and LiteRT differ by a few 1e-6


@dataclass(frozen=True, slots=True)
class Roles:
    """`by_name`: each computed tensor's role, by the tensor's name in the float file. `difference`: the largest one found."""

    by_name: dict[str, str]
    difference: float


def recognise(content: bytes, stages: Sequence[Stage], seed: int = 0) -> Roles:
    """Every computed tensor of the float file with the role of the result that it equals. Raises EmitError naming one that has none."""
    generator = torch.Generator().manual_seed(seed)
    value = torch.rand(stages[0].input_shape(), generator=generator)
    model = read_model(content)
    interpreter = preserving_interpreter(content)
    index = {key: model.subgraphs.index(graph) for key, graph, _, _ in signatures(model)}
    by_name: dict[str, str] = {}
    worst = 0.0
    for stage in stages:
        taps = _taps(stage, value)
        key = f"stage_{stage.part.index}"
        runner = interpreter.get_signature_runner(key)
        outputs = runner(**{stage.input_name: value.numpy()})
        graph = model.subgraphs[index[key]]
        for number, tensor in enumerate(graph.tensors):
            if constant(model, tensor) is not None:
                continue
            found = interpreter.get_tensor(number, index[key])
            role, difference = _closest(found, taps)
            if difference > TOLERANCE:
                where = f"{key}, made by {_maker(model, graph, number)} with shape {list(found.shape)}"
                raise EmitError(
                    f"tensor {text(tensor.name)} of {where}, equals no result of the float stage "
                    f"(closest: {role}, off by {difference:.2g} of its largest value)"
                )
            by_name[text(tensor.name)] = role
            worst = max(worst, difference)
        if not stage.part.last:
            value = torch.from_numpy(outputs["hidden"].copy())
    return Roles(by_name, worst)


def _taps(stage: Stage, value: torch.Tensor) -> dict[int, tuple[list[str], NDArray[np.float64]]]:
    """Roles and fingerprints of all results of the stage, by their number of elements."""
    found: dict[int, tuple[list[str], list[NDArray[np.float64]]]] = {}

    def tap(role: str, x: torch.Tensor) -> None:
        names, prints = found.setdefault(x.numel(), ([], []))
        names.append(role)
        prints.append(_fingerprint(x.numpy()))

    walk((stage,), value, tap)
    return {size: (names, np.stack(prints)) for size, (names, prints) in found.items()}


def _fingerprint(values: NDArray[np.float64]) -> NDArray[np.float64]:
    x = values.astype(np.float64).ravel()
    return np.array([x.mean(), x.std(), np.cbrt(np.mean(x**3)), x.min(), x.max()])


def _closest(values: NDArray[np.float64], taps: dict[int, tuple[list[str], NDArray[np.float64]]]) -> tuple[str, float]:
    """The role whose fingerprint lies closest, and how far, relative to the largest absolute value."""
    if values.size not in taps:
        return "none of this size", float("inf")
    names, prints = taps[values.size]
    wanted = _fingerprint(values)
    differences = np.abs(prints - wanted).max(1) / max(float(np.abs(values).max()), 1e-12)
    best = int(differences.argmin())
    return names[best], float(differences[best])


def _maker(model: Any, graph: Any, number: int) -> str:
    for operator in graph.operators:
        if number in operator.outputs:
            return operator_name(model, operator)
    return "nothing"
