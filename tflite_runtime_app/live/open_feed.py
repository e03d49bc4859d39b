"""From the word on the command line to a live source that runs."""

from __future__ import annotations

from tflite_runtime_app.live.patience import Patience
from tflite_runtime_app.live.supervised import SupervisedFeed
from tflite_runtime_app.sources import live_kind
from tflite_runtime_app.sources.base import CaptureOptions
from tflite_runtime_app.sources.feed import Feed


def open_feed(word: str, options: CaptureOptions, patience: Patience | None = None) -> Feed:
    """The live source that `word` names, its process on the way. Raises UsageError or SourceError when it cannot work, with the remedy."""
    kind = live_kind(word)
    kind.check(word)
    return SupervisedFeed(word, options, kind.NATURE, patience or Patience())
