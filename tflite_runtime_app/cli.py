"""The program `classify`: picks the command, and turns whatever happens into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType, ModuleType

from tflite_runtime_app.commands import edge
from tflite_runtime_app.commands.secret_words import Parser, revealed
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.escaping.terminal import escaped, escaped_lines
from tflite_runtime_app.inference.one_blas_thread import one_blas_thread
from tflite_runtime_app.sources.address import hide_credentials
from tflite_runtime_app.version import __version__

# A new command is a module of its name with add_arguments(parser) and run(arguments), said here. None is loaded but the one that is asked
# for: what the others need takes longer than a picture.
COMMANDS = {
    "run": "classify images: files, folders, quoted patterns, or a live source",
    "explain": "show what each stage makes of an image, and why it stops where it does",
    "recalibrate": "fit the early exits to images of your own camera: no labels needed, a few hundred images taken far apart",
    "doctor": "look whether this board has what classify needs, and say what to do where it has not",
    "install-model": "put a new model in the place of the one in service, after it was checked and tried; "
    "the old one is kept as FILE.previous",
    "install-service": "write a systemd unit that runs classify from the start of the board on, watched and confined",
    "soak": "run a bundle on a synthetic camera that fails on schedule, and tell how memory and restarts went",
}
DEFAULT = "run"
EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 130, 143


class Terminated(BaseException):
    """SIGTERM came; like KeyboardInterrupt it must pass every `except Exception`."""


def main(argv: list[str] | None = None) -> int:
    """Runs `classify` with `argv` (default: the process's) and returns its exit code; no exception leaves it."""
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words
    edge.prepare_streams()
    try:
        with _sigterm_raises():
            code = _run(words)
            edge.flush_stdout()  # here, where a closed pipe is still caught
            return code
    except BrokenPipeError:
        return 0  # the reader had enough, as in `classify … | head`
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Terminated:
        return EXIT_TERMINATED
    except AppError as error:
        return _report(str(error), error.exit_code, debug)
    except Exception as error:
        internal = f"internal error: {type(error).__name__}: {error}; run it again with --debug"
        return _report(edge.refused_by_the_system(error) or internal, EXIT_FAILED, debug)
    finally:
        edge.drop_streams()


def _run(words: list[str]) -> int:
    try:
        # What a service is to run keeps its places: they are filled when it runs.
        arguments = parse(words if words[:1] == ["install-service"] else revealed(words, os.environ))
    except SystemExit as stop:  # argparse has printed help, version or the usage error
        return stop.code if isinstance(stop.code, int) else 0
    code: int = module_of(arguments.command).run(arguments)
    return code


def parse(words: list[str]) -> argparse.Namespace:
    """The command and its arguments; words that start with no command are those of `run`."""
    parser = Parser(
        prog="classify",
        usage="classify FILE SOURCE… [options]\n       classify COMMAND …",
        description="Classify images with a clip-rescue bundle.",
        epilog="classify FILE SOURCE… is short for classify run FILE SOURCE…; env:NAME in place of a word, or behind --option=, "
        "reads it from the environment variable NAME, which other users of the machine cannot see",
    )
    _add_version(parser)
    commands = parser.add_subparsers(prog="classify", dest="command", metavar="COMMAND", required=True)
    if words and words[0] not in COMMANDS and words[0] not in ("-h", "--help", "--version"):
        words = [DEFAULT, *words]
    for name, what in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what)
        if words[:1] == [name]:
            module_of(name).add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        _add_version(command)
    return parser.parse_args(words)


def module_of(command: str) -> ModuleType:
    """The module that is the command."""
    with one_blas_thread():
        return import_module(f"tflite_runtime_app.commands.{command.replace('-', '_')}")


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"classify {__version__}")


def _report(message: str, code: int, debug: bool) -> int:
    """Said without passwords, whoever wrote the message: the journal keeps it."""
    if debug:
        edge.say(escaped_lines(hide_credentials(traceback.format_exc())).rstrip("\n"))
    edge.say(f"classify: {escaped(hide_credentials(message))}")
    return code


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Within, SIGTERM raises Terminated; only the main thread may install handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
