"""The finished file, walked operator by operator: it is full integer and holds exactly what was decided, or the build stops.

Checked: no float tensor and no operator that the target forbids; each computed tensor on the grid that calibration decided; what one
stage hands over arrives on the same grid; the right operand of every product of two activations has zero point 0; inputs and outputs of
the signatures are int8; no weight is stored twice; no scales on which XNNPACK fails; and the board's own check of flatbuffers takes it.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from calibration.ranges import Grid
from convert.support.errors import AuditError
from convert.tflite import xnnpack
from convert.tflite.flatbuffer import TYPE_NAMES, constant, operator_name, read_model, signatures, squares, text
from tflite_runtime_app.admission.flatbuffer_check import check
from tflite_runtime_app.errors import BundleError

INTEGER_TYPES = frozenset({"INT8", "INT16", "INT32"})
SCALE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class SignatureAudit:
    """What one signature consists of: operators by name, multiply-accumulates, and those of them that XNNPACK takes by its rules.

    `left_by_scale` are the operators of a kind that XNNPACK takes, and whose scales lie too far apart for it: they run on plain kernels.
    """

    operators: dict[str, int]
    macs: int
    macs_xnnpack: int
    left_by_scale: tuple[str, ...] = ()


def audit(
    content: bytes, by_name: Mapping[str, str], grids: Mapping[str, Grid], forbidden: tuple[str, ...]
) -> dict[str, SignatureAudit]:
    """The census of every signature. Raises AuditError naming operator and tensor at the first broken rule."""
    model = read_model(content)
    for key, graph, inputs, outputs in signatures(model):
        _check_types(model, key, graph, forbidden)
        _check_grids(model, key, graph, by_name, grids)
        for name, index in (*inputs.items(), *outputs.items()):
            if TYPE_NAMES[graph.tensors[index].type] != "INT8":
                raise AuditError(f"{key}: {name} should be int8, found {TYPE_NAMES[graph.tensors[index].type]}")
    _check_hand_over(model)
    _check_stored_once(model)
    for key, graph, _, _ in signatures(model):
        _check_scales(model, key, graph)
    try:
        check(content)
    except BundleError as error:
        raise AuditError(f"a board would refuse this file: {error}") from error
    return census(content, by_name)


def census(content: bytes, by_name: Mapping[str, str] = MappingProxyType({})) -> dict[str, SignatureAudit]:
    """Operators and multiply-accumulates of every signature, without any check; tensors go by their roles where `by_name` has them."""
    model = read_model(content)
    return {key: count(model, graph, by_name) for key, graph, _, _ in signatures(model)}


def grid_of(tensor: Any) -> Grid | None:
    """The tensor's grid, None when it has none; of a per-channel one the first channel's."""
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
        return None
    return Grid(float(quantization.scale[0]), int(quantization.zeroPoint[0]))


def same_grid(a: Grid | None, b: Grid | None) -> bool:
    """Equal zero points, and scales equal to float32's precision."""
    return (
        a is not None
        and b is not None
        and a.zero_point == b.zero_point
        and math.isclose(a.scale, b.scale, rel_tol=SCALE_TOLERANCE)
    )


def _check_types(model: Any, key: str, graph: Any, forbidden: tuple[str, ...]) -> None:
    for operator in graph.operators:
        name = operator_name(model, operator)
        if name in forbidden:
            raise AuditError(
                f"{key}: operator {name} making {text(graph.tensors[operator.outputs[0]].name)} is not for this target"
            )
        for index in (*operator.inputs, *operator.outputs):
            kind = TYPE_NAMES[graph.tensors[index].type] if index >= 0 else "INT32"
            if kind not in INTEGER_TYPES:
                raise AuditError(
                    f"{key}: operator {name} has tensor {text(graph.tensors[index].name)} of type {kind}, expected integers"
                )
        if name == "BATCH_MATMUL" and not squares(model, graph, operator):  # those are better left to plain kernels
            right = graph.tensors[operator.inputs[1]]
            grid = grid_of(right)
            if grid is None or grid.zero_point != 0:
                raise AuditError(
                    f"{key}: right operand {text(right.name)} of BATCH_MATMUL has grid {grid}, expected zero point 0"
                )


def _check_scales(model: Any, key: str, graph: Any) -> None:
    for operator in graph.operators:
        if finding := xnnpack.fault(model, graph, operator):
            made = text(graph.tensors[operator.outputs[0]].name)
            raise AuditError(f"{key}: LiteRT would not start {operator_name(model, operator)} making {made}: {finding}")


def _check_grids(model: Any, key: str, graph: Any, by_name: Mapping[str, str], grids: Mapping[str, Grid]) -> None:
    for tensor in graph.tensors:
        name = text(tensor.name)
        if constant(model, tensor) is not None or key.startswith("gate_"):
            continue
        if name not in by_name:
            raise AuditError(f"{key}: tensor {name} is none of the tensors that ranges were decided for")
        decided, found = grids[by_name[name]], grid_of(tensor)
        if not same_grid(decided, found):
            raise AuditError(f"{key}: tensor {name} ({by_name[name]}) is on {found}, calibration decided {decided}")


def _check_hand_over(model: Any) -> None:
    stages = [found for found in signatures(model) if found[0].startswith("stage_")]
    stages.sort(key=lambda found: int(found[0].removeprefix("stage_")))
    for (key, graph, _, outputs), (next_key, next_graph, inputs, _) in itertools.pairwise(stages):
        for name, index in inputs.items():
            if name not in outputs:
                raise AuditError(f"{next_key} takes {name}, which {key} does not put out")
            given, taken = graph.tensors[outputs[name]], next_graph.tensors[index]
            if not same_grid(grid_of(given), grid_of(taken)) or given.type != taken.type:
                raise AuditError(f"{name} leaves {key} on {grid_of(given)} and enters {next_key} on {grid_of(taken)}")


def _check_stored_once(model: Any) -> None:
    seen: dict[bytes, int] = {}
    for number, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data) >= 1024:
            content = np.asarray(buffer.data, np.uint8).tobytes()
            if content in seen:
                raise AuditError(
                    f"buffers {seen[content]} and {number} hold the same {len(content)} bytes; weights should be stored once"
                )
            seen[content] = number


def count(model: Any, graph: Any, by_name: Mapping[str, str] = MappingProxyType({})) -> SignatureAudit:
    """Operators and multiply-accumulates of one subgraph."""
    operators: Counter[str] = Counter()
    macs = taken = 0
    left: list[str] = []
    for operator in graph.operators:
        name = operator_name(model, operator)
        operators[name] += 1
        if (ratio := xnnpack.left_by_scale(model, graph, operator)) is not None:
            made = text(graph.tensors[operator.outputs[0]].name)
            left.append(f"{name} making {by_name.get(made, made)}: scales {ratio:.3g} apart")
        tensors = [graph.tensors[i] for i in operator.inputs if i >= 0]
        output = int(np.prod(graph.tensors[operator.outputs[0]].shape))
        if name in ("FULLY_CONNECTED", "CONV_2D"):
            amount = output * int(np.prod(tensors[1].shape[1:]))
            fits = constant(model, tensors[1]) is not None and TYPE_NAMES[tensors[0].type] == "INT8"
        elif name == "BATCH_MATMUL" and not squares(model, graph, operator):
            inner = tensors[0].shape[-2 if operator.builtinOptions.adjX else -1]
            amount = output * int(inner)
            grid = grid_of(tensors[1])
            fits = grid is not None and grid.zero_point == 0 and TYPE_NAMES[tensors[0].type] == "INT8"
        else:
            continue
        macs += amount
        taken += amount if fits else 0
    return SignatureAudit(dict(operators.most_common()), macs, taken, tuple(left))
