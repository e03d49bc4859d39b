"""The words of the command line as steps: a frame to answer, a source that cannot be read, a sentence on what is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tflite_runtime_app.errors import SourceError
from tflite_runtime_app.sinks.base import Failure, Result
from tflite_runtime_app.sources import frames_of, left_out_of
from tflite_runtime_app.sources.address import shown
from tflite_runtime_app.sources.base import Frame

Step = Frame | Failure | str
Outcome = Result | Failure | str  # a step with its frame answered, or not


def steps_of(words: Iterable[str]) -> Iterator[Step]:
    """The steps of the sources that `words` name, in their order."""
    for word in words:
        try:
            if notice := left_out_of(word):
                yield notice
            yield from frames_of(word)
        except SourceError as error:
            yield Failure(shown(word), 0, str(error))


def failed(frame: Frame, error: SourceError) -> Failure:
    """The frame could not be answered."""
    return Failure(frame.source, frame.index, str(error))
