"""What `classify doctor` looks at, one module per part: each gives checks, and a check that is not well names its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: `found` in words; "note" is no fault but worth knowing; `remedy` is empty where nothing is to do."""

    name: str
    state: Literal["ok", "note", "bad"]
    found: str
    remedy: str = ""
