"""What can go wrong on the board, as exceptions whose message is one line: expected, found, what to do.

AppError                    anything this application reports itself
├── UsageError              exit code 2: the command line asks for something that does not exist
├── BundleError             exit code 3: the model file was refused
│   ├── BundleCorrupt       its bytes are not those that were written
│   └── BundleIncompatible  valid, but not for this program or this library version
├── LabelError              exit code 3: the label matrix was refused
└── SourceError             exit code 1: one image could not be answered; the others go on
    └── InferenceError      it was read, and the model failed on it
"""

import re

BUILD_AGAIN = "build the bundle again with: convert build"  # the remedy for whatever is wrong inside a bundle
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")  # colours, titles and links


class AppError(Exception):
    """A failure that is reported in one line; `exit_code` is what the program ends with."""

    exit_code = 1


class UsageError(AppError):
    """The command line asks for something that does not exist or makes no sense."""

    exit_code = 2


class BundleError(AppError):
    """The model file was refused before the interpreter saw it."""

    exit_code = 3


class BundleCorrupt(BundleError):
    """The file's bytes are not those that were written: truncated, altered, or not a bundle at all."""


class BundleIncompatible(BundleError):
    """The file is valid, but this program, or the installed LiteRT, cannot run it."""


class LabelError(AppError):
    """A label matrix is missing, malformed, or made for another embedding space."""

    exit_code = 3


class SourceError(AppError):
    """One image could not be read, or not be answered; it is reported and skipped."""


class InferenceError(SourceError):
    """The model failed on one image, as on a value that one of its operators does not take."""


def in_one_line(said: object, most: int = 300) -> str:
    """What another library said, in one line of at most so many characters: no colours, nothing unprintable, cut between words."""
    text = _TERMINAL.sub("", str(said))
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    if not text:
        return type(said).__name__
    return text if len(text) <= most else f"{text[:most].rpartition(' ')[0] or text[:most]} …"
