"""What the page's server answers: the page itself, state, picture and labels; a real one on a free port, asked over HTTP."""

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tests.tflite_runtime_app.sinks.web import web_client
from tests.tflite_runtime_app.sinks.web.web_client import served
from tflite_runtime_app.errors import AppError, BundleIncompatible, LabelError
from tflite_runtime_app.live.control import Busy
from tflite_runtime_app.sinks.base import Failure

ASSETS = ("page.html", "style.css", "app.js", "view.js", "chart.js", "labels.js", "icon.svg")


def test_the_page_and_everything_it_needs_comes_from_here():
    with served() as page:
        assert page.sink.url == f"http://127.0.0.1:{page.port}/"
        first = page.get("/")
        assert first.status == 200
        assert first.headers["Content-Type"] == "text/html; charset=utf-8"
        for name in ASSETS:
            reply = page.get(f"/{name}")
            assert reply.status == 200
            text = reply.body.decode().replace("http://www.w3.org/2000/svg", "")
            assert "://" not in text, f"{name} asks for something elsewhere"
            assert "<style" not in text
            assert "style=" not in text
            assert "innerHTML" not in text
        assert page.get("/page.html").body == first.body
        assert b"<script>" not in first.body
        assert b"onclick" not in first.body


def test_the_state_is_what_the_loop_told():
    with served() as page:
        assert page.get("/state.json").json()["answer"] is None
        page.sink.result(web_client.result(7, exit=1, ms=20.0, steady="cat", image=web_client.noise()))
        page.sink.failure(Failure("cam", 8, "frame 8 is torn"))
        page.sink.status(web_client.status("stalled", celsius=61.5, restarts=2, dropped=3, error="no frame came"))
        page.sink.labels(("newt", "heron"), "The exits are off.")
        shown = page.get("/state.json").json()
        names = page.get("/labels").json()
    assert shown["title"] == "tiny"
    assert shown["answer"]["top"][0] == {"label": "cat", "score": 0.5, "cosine": 0.15}
    assert {key: shown["answer"][key] for key in ("frame", "exit", "block", "blocks", "ms", "steady", "none")} == {
        "frame": 7, "exit": 1, "block": 8, "blocks": 12, "ms": 20.0, "steady": "cat", "none": False,
    }  # fmt: skip
    assert shown["exits"]["total"] == [0, 1, 0]
    assert (shown["frames"], shown["failures"]) == (1, 1)
    assert shown["failure"]["error"] == "frame 8 is torn"
    assert shown["celsius"]["points"] == [61.5]
    assert {key: shown["status"][key] for key in ("state", "restarts", "dropped", "error")} == {
        "state": "stalled", "restarts": 2, "dropped": 3, "error": "no frame came",
    }  # fmt: skip
    assert shown["labels"]["told"] == "The exits are off."
    assert names == {"revision": shown["labels"]["revision"], "count": 2, "names": ["newt", "heron"]}


def test_the_picture_comes_once_and_then_costs_nothing():
    with served() as page:
        nothing = page.get("/frame.jpg")
        assert (nothing.status, nothing.body, page.get("/state.json").json()["picture"]) == (204, b"", None)
        page.sink.result(web_client.result(image=web_client.noise(1920, 1080)))
        whole = page.get("/frame.jpg")
        assert whole.headers["Content-Type"] == "image/jpeg"
        with Image.open(io.BytesIO(whole.body)) as image:
            assert image.size == (960, 540)
        etag = whole.headers["ETag"]
        assert page.get("/state.json").json()["picture"] == etag
        for known in (etag, f"W/{etag}", f'"other", {etag}'):
            again = page.get("/frame.jpg", **{"If-None-Match": known})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag)
        assert page.get("/frame.jpg", **{"If-None-Match": '"other"'}).status == 200
        time.sleep(0.11)
        page.sink.result(web_client.result(image=Image.new("RGB", (8, 8), "red")))
        newer = page.get("/frame.jpg", **{"If-None-Match": etag})
        assert newer.status == 200
        with Image.open(io.BytesIO(newer.body)) as image:
            assert np.asarray(image)[4, 4, 0] > 240
    with served() as page:  # another run must not take the etag of this one for its own
        page.sink.result(web_client.result(image=web_client.noise()))
        assert page.get("/frame.jpg", **{"If-None-Match": etag}).status == 200


def test_nobody_who_looks_means_no_work(monkeypatch):
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: pytest.fail("a picture was encoded though nobody looks"))
    with served() as page:
        start = time.perf_counter()
        for frame in range(2000):
            page.sink.result(web_client.result(frame, image=web_client.noise() if frame == 0 else None))
        assert (time.perf_counter() - start) / 2000 < 1e-3
        assert page.get("/state.json").json()["frames"] == 2000


def test_what_the_loop_says_is_told_in_one_line_and_the_old_labels_stay():
    errors = {"known": AppError, "labels": LabelError, "busy": Busy, "bundle": BundleIncompatible, "bug": ZeroDivisionError}

    def change(text: str) -> str:
        raise errors[text]("expected a word,\nfound none")

    with served(change) as page:
        replies = {text: page.post(text) for text in errors}
        assert page.get("/labels").json()["names"] == list(web_client.NAMES)
        assert page.get("/state.json").status == 200
    bug = replies.pop("bug")
    assert {reply.status for reply in replies.values()} == {422}
    assert {reply.json()["error"] for reply in replies.values()} == {"expected a word, found none"}
    assert bug.status == 500
    assert bug.json()["error"] == "internal error: ZeroDivisionError: expected a word, found none"


def test_changes_are_few_at_a_time_and_one_at_once():
    going, go = threading.Event(), threading.Event()

    def change(text: str) -> str:
        going.set()
        assert go.wait(10)
        return "done"

    with served(change) as page:
        first: list[int] = []
        thread = threading.Thread(target=lambda: first.append(page.post("newt").status))
        thread.start()
        assert going.wait(5)
        second = page.post("heron")
        assert (second.status, page.get("/state.json").status) == (409, 200)  # and the page goes on meanwhile
        go.set()
        thread.join()
        assert first == [200]
        assert [page.post("owl").status for _ in range(5)] == [200, 200, 200, 429, 429]
