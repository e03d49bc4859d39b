"""Names picked out of vectors that are there already: a bank's, or the bundle's own labels."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tflite_runtime_app.bundle.labels import LabelBank

SHOWN = 5  # missing names that a message lists
NEAR = 2  # similar names listed with each


class Ready:
    """A bank looked up by name, whatever the case: CLIP's tokenizer makes everything lower case."""

    def __init__(self, bank: LabelBank) -> None:
        self.bank = bank
        self._rows = {name.casefold(): row for row, name in reversed(list(enumerate(bank.names)))}  # the first of a name counts
        self._rows |= {name: row for row, name in enumerate(bank.names)}

    def row(self, name: str) -> int | None:
        """The row of `name`, as it is written if there is one, else without regard to case."""
        return self._rows.get(name, self._rows.get(name.casefold()))

    def near(self, missing: Sequence[str]) -> str:
        """The missing names in words, the first of them with what is near them."""
        by_lower = {name.casefold(): name for name in self.bank.names}
        parts = []
        for name in missing[:SHOWN]:
            found = [by_lower[near] for near in difflib.get_close_matches(name.casefold(), by_lower, NEAR)]
            parts.append(f"{name} (near: {', '.join(found)})" if found else name)
        more = len(missing) - SHOWN
        return ", ".join(parts) + (f" and {more} more" if more > 0 else "")
