"""Programs of the machine, run to fetch what the emulation needs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


class CannotSetUp(Exception):
    """The emulation cannot be set up on this machine; the message is one line that says what to do."""


def needed(program: str) -> str:
    """The path of `program`. Raises CannotSetUp naming it and the remedy."""
    found = shutil.which(program)
    if found is None:
        raise CannotSetUp(f"expected {program}, found none; this needs Debian or a system made of it, with apt, dpkg and tar")
    return found


def call(*words: str | Path, remedy: str) -> str:
    """What the program wrote to standard output. Raises CannotSetUp with its last words and `remedy` when it fails."""
    done = subprocess.run(
        [needed(str(words[0])), *map(str, words[1:])], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise CannotSetUp(f"{words[0]} ended with {done.returncode}: {told[-1] if told else 'it said nothing'}; {remedy}")
    return done.stdout
