"""What every number, text and list of a manifest may be: one table for the bundle, one for the text tower.

A number that is out of its range ends a run far from where it stands: an offset of 1e9 is a loop of hours, an alpha of 2 a traceback on the
first change of labels. So each is held to its range when the file is read. The ranges are wide: no model that can be built comes near them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible, in_one_line


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, both included, or neither where it is `open`."""

    low: float
    high: float
    open: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies in it; False for NaN."""
        return self.low < value < self.high if self.open else self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{'between' if self.open else 'from'} {self.low:g} {'and' if self.open else 'to'} {self.high:g}"


@dataclass(frozen=True, slots=True)
class Table:
    """Ranges by path, and what is to be done about a file that is outside of one."""

    ranges: Mapping[str, Range]
    remedy: str


SHARE, LEVEL, COUNT = Range(0, 1), Range(0, 1, open=True), Range(0, 1e9)
MACS = Range(0, 1e15)
SCALE, CODE = Range(1e-20, 1e20), Range(-128, 127)  # beyond, products and ratios of scales leave float32
ANY = Range(-1e15, 1e15)  # of numbers that are shown and never computed with
TEXT = 200  # characters of a text
OFTEN_EMPTY = frozenset(
    {
        "manifest.calibration.digest",
        "manifest.calibration.labels",
        "manifest.calibration.observer",
        "manifest.flatbuffer_sha256",
        "text.flatbuffer_sha256",
    }
)

# A path is written without the numbers in it: [] for a place in a list, N for a number in a name, * for the names that stand nowhere else.
_BUNDLE = {
    "manifest.schema": COUNT,
    "manifest.preprocessing.height": Range(1, 4096),
    "manifest.preprocessing.width": Range(1, 4096),
    "manifest.embedding_size": Range(1, 65536),
    "manifest.logit_scale": Range(1e-3, 1e4),
    "manifest.none_threshold": Range(-1, 1),
    "manifest.none_margin": Range(-2, 2),
    "manifest.stages": Range(0, 256),  # none at all has a message of its own
    "manifest.stages[].blocks_done": Range(0, 1000),
    "manifest.stages[].macs": MACS,
    "manifest.stages[].head_macs": MACS,
    **{
        f"manifest.{tensor}{field}": valid
        for tensor in ("stages[].inputs[]", "stages[].outputs[]", "gates[].features", "gates[].score")
        for field, valid in ((".shape", Range(0, 6)), (".shape[]", Range(1, 2**31 - 1)), (".scale", SCALE), (".zero_point", CODE))
    },
    "manifest.stages[].inputs": Range(1, 8),
    "manifest.stages[].outputs": Range(1, 8),
    "manifest.gates": Range(0, 255),
    "manifest.gates[].mean": Range(0, 8),
    "manifest.gates[].mean[]": Range(-1e9, 1e9),
    "manifest.gates[].deviation": Range(0, 8),
    "manifest.gates[].deviation[]": Range(1e-12, 1e9),
    "manifest.gates[].threshold": Range(-128, 128),
    "manifest.policy.parameters": Range(0, 100_000),  # a threshold a label, for one policy
    "manifest.policy.parameters.N": Range(-1, 2),
    "manifest.policy.parameters.threshold": Range(-1, 2),
    "manifest.policy.parameters.exit": Range(0, 255),
    "manifest.policy.parameters.in_a_row": Range(1, 256),
    "manifest.policy.parameters.offset_N": Range(-4096, 4096),
    "manifest.policy.parameters.*": ANY,
    "manifest.calibration.images": COUNT,
    "manifest.calibration.risk": Range(0, 100),
    "manifest.calibration.risk.alpha": LEVEL,
    "manifest.calibration.risk.delta": LEVEL,
    "manifest.calibration.risk.risk": SHARE,
    "manifest.calibration.risk.label_free": SHARE,
    "manifest.calibration.risk.*": COUNT,
    "manifest.calibration.observers": Range(0, 1000),
    "manifest.ladder": Range(0, 100),
    "manifest.limits": Range(0, 100),
    "manifest.limits.*": ANY,
    "manifest.tools": Range(0, 100),
    "manifest.members": Range(0, 100),
}
_TEXT_TOWER = {
    "text.schema": COUNT,
    "text.context": Range(3, 4096),
    "text.lengths": Range(1, 64),
    "text.lengths[]": Range(3, 4096),
    "text.vocabulary": Range(1, 10_000_000),
    "text.embedding_size": Range(1, 65536),
    "text.templates": Range(1, 1000),
    "text.check": Range(0, 100),
    "text.check.*": ANY,
    "text.tools": Range(0, 100),
}
BUNDLE = Table(_BUNDLE, BUILD_AGAIN)
TEXT_TOWER = Table(_TEXT_TOWER, "make the text tower again with: convert text BUNDLE")


def check_number(table: Table, where: str, value: float) -> None:
    """Returns when the number that stands at `where` lies in its range; raises BundleIncompatible."""
    valid = _range(table, where)
    if not valid.holds(value):
        raise BundleIncompatible(f"{in_one_line(where, TEXT)} should be {valid}, found {value!r:.30}; {table.remedy}")


def check_size(table: Table, where: str, size: int) -> None:
    """Returns when the list or object at `where` may have `size` entries; raises BundleIncompatible."""
    valid = _range(table, where)
    if not valid.holds(size):
        raise BundleIncompatible(f"{where} should have {valid} entries, found {size}; {table.remedy}")


def check_text(table: Table, where: str, value: str) -> None:
    """Returns when `value` is a line of 1 to TEXT characters that can be shown; raises BundleIncompatible."""
    least = 0 if where in OFTEN_EMPTY else 1
    if not (least <= len(value) <= TEXT and value.isprintable()):
        raise BundleIncompatible(
            f"{in_one_line(where, TEXT)} should be a line of {least} to {TEXT} characters, found {value!r:.40} of {len(value)}; "
            f"{table.remedy}"
        )


def _range(table: Table, where: str) -> Range:
    path = re.sub(r"\[\d+\]", "[]", where)
    outer = (f"{path[: dot.start()]}.*" for dot in re.finditer(r"\.", path))  # a name of the file's own may hold a dot
    names = (re.sub(r"\d+$", "N", path), path, *outer)
    found = next((table.ranges[name] for name in names if name in table.ranges), None)
    if found is None:
        raise KeyError(f"the table of ranges says nothing of {path}")
    return found
