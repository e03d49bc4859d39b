"""What the page keeps and how much of it: answers, counts, charts, and the picture."""

import gc
import io
import json
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from PIL import Image

from tests.tflite_runtime_app.sinks.web import web_client
from tests.tflite_runtime_app.sinks.web.web_client import Clock
from tflite_runtime_app.sinks.base import Failure
from tflite_runtime_app.sinks.web.newest_image import NewestImage
from tflite_runtime_app.sinks.web.state import LiveState


@pytest.fixture
def clock() -> Clock:
    return Clock()


def state(clock=None) -> LiveState:
    return LiveState(web_client.NAMES, "tiny", web_client.BLOCKS, **({"clock": clock} if clock else {}))


def test_a_hundred_thousand_results_leave_rings_and_counts():
    live = state()
    results = [web_client.result(n, exit=n % 3, ms=float(n)) for n in range(100)]
    healthy, torn = web_client.status(celsius=50.0), Failure("cam", 0, "torn")

    def feed(rounds: int) -> None:
        for _ in range(rounds):
            for one in results:
                live.result(one)
                live.status(healthy)
                live.failure(torn)

    feed(900)
    tracemalloc.start()  # tracing is slow, and what is kept of the last 10,000 shows as well
    before = tracemalloc.get_traced_memory()[0]
    feed(100)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    shown = live.snapshot()
    assert grown < 40_000
    assert shown["frames"] == shown["failures"] == 100_000
    assert shown["exits"] == {"blocks": [4, 8, 12], "total": [34_000, 33_000, 33_000], "recent": [34, 33, 33]}
    assert len(shown["ms"]["points"]) == 120
    assert len(json.dumps(shown)) < 6000


def test_only_the_newest_picture_is_kept():
    live, picture = state(), NewestImage()
    images = [web_client.noise(seed=seed) for seed in range(3)]
    ghosts = [weakref.ref(image) for image in images]
    for image in images:
        picture.show(image)
        live.result(web_client.result(image=image))
    del image, images
    gc.collect()
    assert [ghost() is not None for ghost in ghosts] == [False, False, True]


def test_median_and_ninetieth_percentile_are_numpys():
    values = np.random.default_rng(3).gamma(4.0, 5.0, 300)
    live = state()
    for value in values:
        live.result(web_client.result(ms=float(value)))
    ms = live.snapshot()["ms"]
    expected = np.percentile(values[-120:], [50, 90], method="inverted_cdf")
    assert [ms["median"], ms["p90"]] == pytest.approx(expected, abs=0.005)
    assert state().snapshot()["ms"] == {"points": [], "median": None, "p90": None}


def test_ages_go_on_while_the_loop_says_nothing(clock):
    live = state(clock)
    live.result(web_client.result())
    live.status(web_client.status("stalled", age=2.0))
    clock.now += 30
    shown = live.snapshot()
    assert shown["answer"]["ago"] == shown["status"]["ago"] == 30
    assert shown["status"]["age"] == 32


def test_temperature_is_kept_every_five_seconds(clock):
    live = state(clock)
    for second in range(1000):
        clock.now = second
        live.status(web_client.status(celsius=float(second)))
    assert live.snapshot()["celsius"]["points"] == [float(second) for second in range(400, 1000, 5)]


def test_new_labels_start_the_recent_exits_anew_and_change_the_revision():
    live = state()
    live.result(web_client.result())
    before = live.names()
    live.labels(tuple(f"label {n}" for n in range(5000)), "The exits were fitted anew.")
    after, shown = live.names(), live.snapshot()
    assert before["names"] == list(web_client.NAMES)
    assert after["revision"] != before["revision"]
    assert after["count"] == 5000
    assert after["names"] == [f"label {n}" for n in range(1000)]
    assert shown["exits"]["recent"] == [0, 0, 0]
    assert shown["exits"]["total"] == [1, 0, 0]
    assert shown["labels"] == {"revision": after["revision"], "count": 5000, "told": "The exits were fitted anew."}
    assert state().names()["revision"] != before["revision"]  # another run


def test_snapshots_are_whole_while_the_loop_writes():
    live, stop = state(), threading.Event()

    def loop() -> None:
        while not stop.is_set():
            for stage in range(3):
                live.result(web_client.result(exit=stage))

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        for _ in range(300):
            shown = live.snapshot()
            assert sum(shown["exits"]["total"]) == shown["frames"]
            assert sum(shown["exits"]["recent"]) == min(100, shown["frames"])
    finally:
        stop.set()
        thread.join()


def test_a_picture_is_encoded_once_and_ten_times_a_second(clock):
    picture = NewestImage(clock)
    picture.show(web_client.noise())
    first = picture.jpeg()
    assert picture.jpeg() is first
    picture.show(web_client.noise(seed=1))
    clock.now += 0.05
    assert picture.jpeg() is first
    assert picture.newest() != first.etag
    clock.now += 0.06
    second = picture.jpeg()
    assert second.etag == picture.newest() != first.etag
    clock.now += 100
    assert picture.jpeg() is second


@pytest.mark.parametrize(
    ("mode", "size", "sent"), [("RGB", (3000, 1500), (960, 480)), ("RGBA", (40, 2000), (19, 960)), ("L", (7, 5), (7, 5))]
)
def test_pictures_of_any_kind_are_sent_small_and_left_as_they_are(mode, size, sent):
    image = Image.new(mode, size, "white")
    picture = NewestImage()
    picture.show(image)
    with Image.open(io.BytesIO(picture.jpeg().data)) as read:
        assert (read.format, read.mode, read.size) == ("JPEG", "RGB", sent)
        assert np.asarray(read).min() > 250
    assert image.size == size
