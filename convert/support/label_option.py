"""What --labels means on the workstation, read before anything heavy is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from convert.support.errors import UsageError
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.text.label_list import LabelList, label_reader, read_label_file


def labels_of_option(option: str) -> LabelList:
    """The labels in a file, or those separated by commas. Raises UsageError for what is no list of labels."""
    with as_usage_error():
        return label_reader(option)()


def read_labels_of(path: str | os.PathLike[str]) -> LabelList:
    """The labels in a file. Raises UsageError where `read_label_file` refuses it."""
    with as_usage_error():
        return read_label_file(path)


@contextmanager
def as_usage_error() -> Iterator[None]:
    """Within, what the readers of label lists and their like refuse is a mistake on the command line."""
    try:
        yield
    except LabelError as error:
        raise UsageError(str(error)) from error
