"""What a command says to people, beside its answers."""

from __future__ import annotations

import sys

from tflite_runtime_app.escaping.terminal import escaped


def tell(line: str) -> None:
    """The line stands on standard error under the program's name; nothing does for an empty one."""
    if line:
        print(f"classify: {escaped(line)}", file=sys.stderr, flush=True)
