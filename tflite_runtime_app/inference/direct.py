"""A signature called by the places of its tensors.

LiteRT's own runner resizes its inputs and allocates anew before every call, and looks at no shape. Here a signature is allocated at
its first call and after a failure, and what is given must fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = dict[str, npt.NDArray[np.int8]]
Call = Callable[[Mapping[str, npt.NDArray[np.int8]]], Codes]


def direct(runner: Any) -> Call:
    """`runner` as a function of its named inputs, which have its shapes and types; outputs are copies.

    The function keeps the interpreter. It raises what LiteRT raises. A LiteRT that is built otherwise inside is called by its runner.
    """
    try:
        library, graph = runner._interpreter_wrapper, runner._subgraph_index
        inputs, outputs = dict(runner._inputs), dict(runner._outputs)
        allocate, put, invoke, take = library.AllocateTensors, library.SetTensor, library.Invoke, library.GetTensor
    except AttributeError:
        return lambda given: dict(runner(**given))
    ready = False

    def call(given: Mapping[str, npt.NDArray[np.int8]]) -> Codes:
        nonlocal ready
        if not ready:
            allocate(graph)
        ready = False  # until it is known that nothing failed
        for name, value in given.items():
            put(inputs[name], value, graph)
        invoke(graph)
        ready = True
        return {name: take(place, graph) for name, place in outputs.items()}

    return call
