"""What the cascade asks of an exit policy."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt


class Policy(Protocol):
    """`needs_score` tells whether the gates have to be run for it."""

    @property
    def needs_score(self) -> bool: ...

    def decide(self, exit: int, features: npt.NDArray[Any], score: int | None, top1: int, history: tuple[int, ...]) -> bool:
        """True to stop at `exit` (stage index), False to go on.

        `features` float [3] are confidence, margin and variance, `score` the gate's int8 code (None unless `needs_score`),
        `top1` the index of the best label here, `history` those of the exits before, in order.
        """
