"""The board's half of clip-rescue: runs a staged full-integer CLIP image tower with numpy, Pillow and LiteRT alone (docs/python.md)."""

from __future__ import annotations

from tflite_runtime_app.version import __version__ as __version__
