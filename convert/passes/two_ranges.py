"""A norm whose tokens differ a hundredfold in energy measures them on two grids: one for the many, one for the few bold ones.

One int8 grid over all energies leaves the quiet tokens a code or two, and 1/|h| is off by a third. With c the end of the finer grid,

    1/|h| = 1/sqrt(min(E, c)) * sqrt(c) / sqrt(max(E, c))

and the finer grid's own clipping is the minimum: in float the pass changes bold tokens, in int8 it is exact. The second factor is 1, its
highest code, for every token under c, so they lose nothing; a bold token's 1/|h| is small and keeps what codes it has.
Such tokens: "Vision Transformers Need Registers", arXiv 2309.16588. Fires where calibration gave the norm a second grid
(`calibration/ranges.py`, role `…/energy_fine`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from calibration.ranges import Grid, never_negative
from convert.passes.editing import Editor
from convert.passes.state import GraphState
from convert.tflite.flatbuffer import operator_name


def apply(state: GraphState) -> GraphState:
    """Every norm with a second grid has both factors; everything after its RSQRT is as it was."""
    model, grids, fired = state.model, state.grids, 0
    for graph in model.subgraphs:
        edit = Editor(model, graph, state.roles)
        bold: dict[str, int] = {}  # norm -> the energy on the coarse grid, at least c
        for operator in graph.operators:
            output = int(operator.outputs[0])
            norm, _, name = edit.role(output).rpartition("/")
            fine = grids.get(f"{norm}/energy_fine")
            if fine is None or name not in ("energy", "energy_eps", "rsqrt"):
                edit.emit(operator)
            elif operator_name(model, operator) == "BATCH_MATMUL":
                bold[norm] = _measured(edit, operator, norm, fine, grids)
            elif name == "rsqrt":
                _factors(edit, operator, norm, bold[norm], fine, grids)
                fired += 1
            else:
                edit.rename(output, f"{norm}/energy_fine_eps")
                grids[f"{norm}/energy_fine_eps"] = fine
                edit.emit(operator)
        edit.finish()
    return replace(state, fired=fired)


def _measured(edit: Editor, operator: Any, norm: str, fine: Grid, grids: dict[str, Grid]) -> int:
    """The energy on both grids, the coarse one raised to c where it is less; gives the latter."""
    output, coarse = int(operator.outputs[0]), grids[f"{norm}/energy"]
    edit.rename(output, f"{norm}/energy_fine")
    edit.emit(operator)
    whole = edit.again(operator, [int(i) for i in operator.inputs], edit.tensor(f"{norm}/energy", output))
    shape = (1,) * len(edit.graph.tensors[output].shape)
    grids[f"{norm}/energy_bold"] = grids[f"{norm}/energy_bold/least"] = coarse
    least = edit.constant(f"{norm}/least", np.full(shape, fine.maximum, np.float32), role=f"{norm}/energy_bold/least")
    return edit.add("MAXIMUM", [whole, least], edit.tensor(f"{norm}/energy_bold", output))


def _factors(edit: Editor, operator: Any, norm: str, bold: int, fine: Grid, grids: dict[str, Grid]) -> None:
    """1/|h| as the product of both factors."""
    output = int(operator.outputs[0])
    end = float(fine.maximum)
    grids |= {
        f"{norm}/rsqrt_fine": grids[f"{norm}/rsqrt"],
        f"{norm}/rsqrt_bold": never_negative(end**-0.5),
        f"{norm}/root": Grid(float(np.float32(end**0.5 / 127)), 0),
        f"{norm}/damping": never_negative(1.0),
    }
    quiet = edit.again(operator, [int(operator.inputs[0])], edit.tensor(f"{norm}/rsqrt_fine", output))
    loud = edit.again(operator, [bold], edit.tensor(f"{norm}/rsqrt_bold", output))
    root = edit.constant(f"{norm}/root", np.full((1, 1), end**0.5, np.float32), role=f"{norm}/root")
    damping = edit.add("MUL", [loud, root], edit.tensor(f"{norm}/damping", output))
    edit.add("MUL", [quiet, damping], output)
