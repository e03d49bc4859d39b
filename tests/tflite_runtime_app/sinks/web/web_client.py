"""A page on a free port with invented results, and a plain HTTP client for it."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from tflite_runtime_app.inference.answer import Answer, Match
from tflite_runtime_app.sinks.base import Result, Status
from tflite_runtime_app.sinks.web import WebSink
from tflite_runtime_app.sources.feed import Health

BLOCKS = (4, 8, 12)
NAMES = ("cat", "dog", "owl")


class Clock:
    """Stands still until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def result(
    frame: int = 0,
    exit: int = 0,
    names=NAMES,
    ms: float = 12.5,
    image=None,
    steady=None,
    none: bool = False,
    like: str = "",
    best: float = 0.5,
) -> Result:
    scores = [best**place for place in range(1, len(names) + 1)]
    top = tuple(Match(name, score, 0.3 * score) for name, score in zip(names, scores, strict=True))
    return Result("cam", frame, Answer(top, none, like), exit, BLOCKS[exit], BLOCKS[-1], 1000, ms, (ms,), image, None, steady)


def status(state: str = "live", celsius=None, age=0.1, **changes) -> Status:
    return Status(60.0, 600, 10.0, Health(state, age=age, **changes), 90_000_000, celsius)


def noise(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass
class Page:
    """A running sink; every request has a connection of its own."""

    sink: WebSink
    asked: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return urlsplit(self.sink.url).port

    @property
    def token(self) -> str | None:
        return urlsplit(self.sink.url).query.removeprefix("token=") or None

    def request(self, method: str, path: str, body=None, headers=None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            with suppress(
                ConnectionError
            ):  # a body that is refused may be cut off while it is sent; the answer is there to be read
                connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, headers=headers)

    def post(self, text, headers=None, drop: str = "") -> Reply:
        sent = {"Content-Type": "application/json", "X-Classify": "page", **(headers or {})}
        sent.pop(drop, None)
        body = text if isinstance(text, bytes) else json.dumps({"text": text}).encode()
        return self.request("POST", "/labels", body, sent)


@contextmanager
def served(
    change: Callable[[str], str] | None = None,
    names=NAMES,
    title="tiny",
    bind="127.0.0.1",
    token: str | None = None,
    port: int = 0,
) -> Iterator[Page]:
    """A page until the end of the block; without `change` every change of labels is noted in `asked` and becomes the labels."""

    def noted(text: str) -> str:
        page.asked.append(text)
        chosen = tuple(text.split("\n"))
        page.sink.labels(chosen, "")
        return f"{len(chosen)} labels are in use."

    page = Page(WebSink(port, bind, token, change or noted, names, title, BLOCKS))
    try:
        yield page
    finally:
        page.sink.close()
