"""HEIC, what telephones of Apple write: read where pillow-heif is installed."""

from __future__ import annotations

import importlib.util

REMEDY = "pip install 'clip-rescue[heic]'"


def available() -> bool:
    """Whether pillow-heif is there."""
    return importlib.util.find_spec("pillow_heif") is not None


def register() -> None:
    """Pillow opens the format HEIF from here on, where it is asked for by name. Raises ImportError without pillow-heif."""
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)  # which turns images upright by itself
