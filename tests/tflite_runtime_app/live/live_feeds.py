"""What the tests of live sources share: a feed that is closed whatever happens, and waiting for something to become true."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from tflite_runtime_app.live.open_feed import open_feed
from tflite_runtime_app.live.patience import Patience
from tflite_runtime_app.live.supervised import SupervisedFeed
from tflite_runtime_app.sources.base import CaptureOptions, Frame
from tflite_runtime_app.sources.feed import Feed

OPTIONS = CaptureOptions(64, 48, 50)
LONG = 20.0  # seconds after which a test gives up; the machine may be busy

# A process without our code: quick to start, and free to send what it likes.
PRELUDE = """
import os, struct, sys, time
def stamp():
    return time.clock_gettime(time.CLOCK_BOOTTIME)
def frame(sequence, data=b"abc", width=1, height=1, kind=2):
    os.write(1, struct.pack("<4sIIIIQdd", b"CRF2", kind, width, height, len(data), sequence, time.time(), stamp()) + data)
"""


STEADY = """
n = 0
while True:
    frame(n, n.to_bytes(3, "big")); n += 1; time.sleep(0.02)
"""


def child(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", PRELUDE + code]


@contextmanager
def closing(feed: Feed) -> Iterator[Feed]:
    try:
        yield feed
    finally:
        start = time.monotonic()
        feed.close()
        assert time.monotonic() - start < 1


def fake(word: str, **patience: float) -> Feed:
    return open_feed(word, OPTIONS, Patience(**{"start": LONG, **patience}))


def running(code: str, nature: str = "camera", **patience: float) -> SupervisedFeed:
    return SupervisedFeed("stand-in", OPTIONS, nature, Patience(**{"start": LONG, **patience}), child(code))


def until(true: Callable[[], object], seconds: float = LONG) -> float:
    """How long it took until `true()`."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, "it never came true"
        time.sleep(0.01)
    return time.monotonic() - start


def frames(feed: Feed, count: int) -> list[Frame]:
    """The next `count` frames."""
    found: list[Frame] = []
    start = time.monotonic()
    while len(found) < count:
        assert time.monotonic() - start < LONG, feed.health()
        frame = feed.next(0.1)
        found += [frame] if frame else []
    return found


def everything(feed: Feed) -> list[Frame]:
    """All frames up to the end."""
    found: list[Frame] = []
    start = time.monotonic()
    while feed.health().state != "ended":
        assert time.monotonic() - start < LONG, feed.health()
        frame = feed.next(0.1)
        found += [frame] if frame else []
    return found


def alive(pid: int) -> bool:
    """Whether process `pid` runs; one that has ended and was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def descendants() -> list[int]:
    """The processes that this one started and that still run."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if alive(pid) and _parent(pid) == os.getpid()]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0


RED = (220, 20, 20)


def is_red(image: Image.Image) -> bool:
    """Whether `image` is the red card, as far as a codec leaves it alone."""
    return image.mode == "RGB" and bool(np.abs(np.asarray(image).astype(int) - RED).max() <= 12)


def shown(word: str, options: CaptureOptions = OPTIONS) -> Image.Image:
    """The first image of the source that `word` names."""
    with closing(open_feed(word, options, Patience(start=LONG))) as feed:
        return frames(feed, 1)[0].load()
