"""What the workshop prints: tables and lines in which names are only names, whatever a stranger has called a file or a model."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from tflite_runtime_app.escaping.terminal import escaped, escaped_lines


class Terminal(Console):
    """Standard output as tables want it: no text is markup, emoji or a command of the terminal. `options` are rich's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """All of rich's texts pass through here."""
        return super().render_str(escaped_lines(text), **options)


def say(*lines: object) -> None:
    """The lines stand on standard output, such as the paths with which a command ends."""
    for line in lines:
        print(escaped(line))
