"""The board's half of clip-rescue: it runs a staged full-integer CLIP image tower with numpy, Pillow and LiteRT alone.

What a program of one's own needs stands in `__all__` (docs/python.md). Each name is loaded when it is first asked for, so that
`import tflite_runtime_app` itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tflite_runtime_app.version import __version__

if TYPE_CHECKING:
    from tflite_runtime_app.admission.open import open_bundle
    from tflite_runtime_app.bundle.file import Bundle
    from tflite_runtime_app.bundle.labels import LabelBank
    from tflite_runtime_app.classifier import Classifier
    from tflite_runtime_app.errors import AppError, BundleError, LabelError, SourceError
    from tflite_runtime_app.inference.answer import Answer, Match
    from tflite_runtime_app.inference.view import View
    from tflite_runtime_app.sinks.base import Result
    from tflite_runtime_app.sources.base import Frame
    from tflite_runtime_app.text.label_source import LabelSource

__all__ = [
    "Answer",
    "AppError",
    "Bundle",
    "BundleError",
    "Classifier",
    "Frame",
    "LabelBank",
    "LabelError",
    "LabelSource",
    "Match",
    "Result",
    "SourceError",
    "View",
    "__version__",
    "open_bundle",
]

_HOMES = {
    "Answer": "inference.answer",
    "AppError": "errors",
    "Bundle": "bundle.file",
    "BundleError": "errors",
    "Classifier": "classifier",
    "Frame": "sources.base",
    "LabelBank": "bundle.labels",
    "LabelError": "errors",
    "LabelSource": "text.label_source",
    "Match": "inference.answer",
    "Result": "sinks.base",
    "SourceError": "errors",
    "View": "inference.view",
    "open_bundle": "admission.open",
}

if not TYPE_CHECKING:  # with it in sight, a type checker would take every name for one of this package

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
