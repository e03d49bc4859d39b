"""The options of `classify run`, and what they mean."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

from tflite_runtime_app import board
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.inference.view import TURNS, View, parse_crop
from tflite_runtime_app.sources.base import CaptureOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `classify run` stand in `parser`."""
    parser.add_argument("file", metavar="FILE", help="the bundle, a .tflite made by: convert build")
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="images, folders, patterns in quotes; or one live source: rpi, picamera2, usb, /dev/video0, a video file, rtsp://…, "
        "http://…, raw:640x480",
    )
    parser.add_argument(
        "--labels", metavar="LABELS", help="a label file, or names as in 'a red mug, my cat' (default: the bundle's own)"
    )
    parser.add_argument(
        "--bank", metavar="NPZ", help="ready vectors of many names, made by: convert labels; --labels picks among them"
    )
    parser.add_argument("--text", metavar="FILE", help="the text tower (default: the .text.tflite beside FILE)")
    parser.add_argument(
        "--require-signature", metavar="PUBLIC.pem", help="take no file that this key has not signed (convert sign)"
    )
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="labels to show (default: %(default)s)")
    add_threads(parser)
    parser.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="processes for many images, each on one thread (default: %(default)s)",
    )
    parser.add_argument("--full-depth", action="store_true", help="take no early exit")
    parser.add_argument("--stats", action="store_true", help="at the end: speed, memory, temperature")
    _view(parser.add_argument_group("what is looked at"))
    _live(parser.add_argument_group("live sources"))
    _outputs(parser.add_argument_group("where answers go"))
    _web(parser.add_argument_group("the page"))


def _view(group: Any) -> None:
    group.add_argument("--rotate", type=int, choices=(0, *TURNS), default=0, help="degrees clockwise")
    group.add_argument("--flip", choices=("h", "v", "hv"), default="", help="mirrored left to right, upside down, both")
    group.add_argument(
        "--crop", default="centre", metavar="PART", help="centre, letterbox, or LEFT,TOP,WIDTH,HEIGHT in shares (%(default)s)"
    )


def _live(group: Any) -> None:
    group.add_argument("--rate", type=_rate, default=10.0, metavar="FPS", help="frames a second to take (default: %(default)s)")
    group.add_argument("--size", default="640x480", metavar="WxH", help="pixels to ask a camera for (default: %(default)s)")
    group.add_argument("--watch", action="store_true", help="SOURCE is a folder: look at every image that appears in it")
    group.add_argument("--smooth", metavar="K/N", help="a label counts once K of the last N frames agree")
    group.add_argument("--frames", type=positive, metavar="N", help="end after so many answers")


def _outputs(group: Any) -> None:
    form = group.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    form.add_argument("--csv", action="store_true", help="comma-separated values on stdout")
    group.add_argument(
        "--on-label",
        action="append",
        default=[],
        metavar="LABEL=CMD",
        help="start CMD, without a shell, when LABEL comes up; may be given again",
    )
    group.add_argument(
        "--on-label-every",
        type=seconds,
        default=10.0,
        metavar="S",
        help="not more often than every S seconds (default: %(default)s)",
    )
    group.add_argument("--snapshots", metavar="DIR", help="keep images of labels in DIR")
    group.add_argument(
        "--snapshot-label",
        action="append",
        default=[],
        metavar="LABEL",
        help="of this one; may be given again (default: of all but none)",
    )
    group.add_argument(
        "--snapshot-budget", default="200M", metavar="SIZE", help="the oldest go when DIR has more (default: %(default)s)"
    )
    group.add_argument("--sheet", metavar="PNG", help="the images with their answers as one picture, written at the end")
    group.add_argument("--mqtt", metavar="URL", help="mqtt://[USER:PASSWORD@]HOST[:PORT][/PREFIX]; Home Assistant finds it")


def _web(group: Any) -> None:
    group.add_argument("--serve", type=_port, metavar="PORT", help="a page with image, labels and charts")
    group.add_argument(
        "--bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="0.0.0.0 for the whole network, with a token (default: %(default)s)",
    )
    group.add_argument(
        "--token", metavar="WORD", help="the page's token (default: one is made up when --bind is wider than this machine)"
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """--threads stands in `parser`."""
    parser.add_argument("--threads", type=positive, default=board.default_threads(), metavar="N", help="default: %(default)s")


def threads_of(arguments: argparse.Namespace) -> int:
    """How many threads to run on: what --threads asks for, but no more than there are processors, which is then said."""
    threads, notice = board.usable_threads(arguments.threads)
    tell(notice)
    return threads


def jobs_of(arguments: argparse.Namespace) -> int:
    """How many processes to run: what --jobs asks for, but no more than there are processors, which is then said."""
    jobs: int = min(arguments.jobs, board.usable_processors())
    if jobs < arguments.jobs:
        tell(f"{arguments.jobs} processes were asked for, {jobs} are of use here: running {jobs}")
    return jobs


def view_of(arguments: argparse.Namespace) -> View:
    """What of an image is looked at. Raises UsageError."""
    return View(arguments.rotate, arguments.flip, parse_crop(arguments.crop))


def capture_of(arguments: argparse.Namespace) -> CaptureOptions:
    """What a camera is asked for. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", arguments.size)
    if match is None or not all(16 <= int(side) <= 8192 for side in match.groups()):
        raise UsageError(f"--size should be WIDTHxHEIGHT as in 640x480, 16 to 8192 each, found {arguments.size!r}")
    return CaptureOptions(int(match[1]), int(match[2]), arguments.rate)


def positive(text: str) -> int:
    """A whole number, 1 or more, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number


def _number(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:  # NaN fails too
            raise argparse.ArgumentTypeError(f"expected {low:g} to {high:g}, found {text}")
        return value

    return number


seconds = _number(0.0, 86400.0)
_rate = _number(0.01, 240.0)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 (any) to 65535, found {number}")
    return number
