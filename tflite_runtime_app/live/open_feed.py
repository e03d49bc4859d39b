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
    return SupervisedFeed(word, options, kind.NATURE, patience or patience_for(options.rate))


def patience_for(rate: float) -> Patience:
    """The usual patience, but for who asks for a frame every few seconds: three of them may stay away before that counts as a stall."""
    usual = Patience()
    return Patience(start=max(usual.start, 3 / rate), stall=max(usual.stall, 3 / rate))
