"""Where a text tower lies."""

from __future__ import annotations

from pathlib import Path


def text_path(bundle: Path) -> Path:
    """Where a bundle's text tower lies: beside it, `pocket-rpi.tflite` -> `pocket-rpi.text.tflite`."""
    return bundle.with_name(f"{bundle.stem}.text.tflite")
