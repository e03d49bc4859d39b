"""The ladder as a whole: the exact rewrites, then the quantizer's own steps; any prefix of it is a recipe for a file.

    rewrites (`rewrites/`) -> ranges -> two-term-stream -> two-term-probabilities -> rounding -> bias-correction

What comes after the last step asked for takes its naive form: min-max ranges, one int8 tensor for the stream, SOFTMAX, every weight its own
nearest code, no correction.
"""

from __future__ import annotations

from dataclasses import dataclass

from calibration.search import SEARCH
from convert.rewrites import LADDER, Rewrite
from convert.support.errors import UsageError

QUANTIZER_STEPS = ("ranges", "two-term-stream", "two-term-probabilities", "rounding", "bias-correction")
STEPS = (*(step.name for step in LADDER), *QUANTIZER_STEPS)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a float tower becomes an integer file.

    `probabilities` says whether attention may have them in two terms (where that pays: `convert/calibrate/probabilities.py`), `rounding`
    whether GPTQ rounds weights, `correction` whether biases are corrected.
    """

    rewrites: tuple[Rewrite, ...]
    observer: str
    stream: str
    probabilities: bool
    rounding: bool
    correction: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The steps taken, by name; an observer or stream named on the command line does not count as a step."""
        taken = (self.observer != "min-max", self.stream == "two_term", self.probabilities, self.rounding, self.correction)
        return (*(step.name for step in self.rewrites), *(name for name, on in zip(QUANTIZER_STEPS, taken, strict=True) if on))


def prefix(last: str | None, stream: str = "two_term", probabilities: bool = True) -> Recipe:
    """The ladder up to and including that step, the whole by default, with the target's stream, and no step that its kernels lack.

    Raises UsageError naming the steps.
    """
    if last is not None and last not in STEPS:
        raise UsageError(f"--ladder {last!r} is no step; the steps are, in order: {', '.join(STEPS)}")
    count = len(STEPS) if last is None else STEPS.index(last) + 1
    ranges, two_term, terms, rounding, correction = (count > len(LADDER) + k for k in range(len(QUANTIZER_STEPS)))
    observer, kind = SEARCH if ranges else "min-max", stream if two_term else "int8"
    return Recipe(LADDER[:count], observer, kind, terms and probabilities, rounding, correction)
