"""The page's addresses: what is asked for, in whose name, and what is answered. Nothing is streamed, every answer is whole at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files

from tflite_runtime_app.errors import AppError
from tflite_runtime_app.sinks.web.access import OWN_HEADER, Access, check_own_page
from tflite_runtime_app.sinks.web.exchange import Answer, Request, as_json
from tflite_runtime_app.sinks.web.label_text import label_text
from tflite_runtime_app.sinks.web.limit import Limit
from tflite_runtime_app.sinks.web.newest_image import NewestImage
from tflite_runtime_app.sinks.web.refused import Refused
from tflite_runtime_app.sinks.web.state import LiveState

MAX_BODY, MAX_HEADER = 128 * 1024, 16 * 1024
CHANGES, CHANGES_SECONDS = 5, 10.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",  # else any page could show the image of a page on localhost
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
KINDS = {
    "page.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "labels.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
# Where the browser got here by a link on another site, it withholds the new cookie until our own link is followed.
REFUSED_PAGE = b"""<!doctype html><html lang="en"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>classify</title><p>This page needs the token of this run: open the whole address that classify printed.
<p>If you just did, <a href="/">go on</a>.</html>"""


class Site:
    """Shows `state` and `image` to whom `access` lets in; `token` goes into the cookie, `port` into its name."""

    def __init__(
        self,
        state: LiveState,
        image: NewestImage,
        access: Access,
        change_labels: Callable[[str], str],
        token: str | None,
        port: int,
    ) -> None:
        self._state, self._image, self._access = state, image, access
        self._change_labels, self._token, self._cookie = change_labels, token, f"classify_{port}"
        self._changes = Limit(CHANGES, CHANGES_SECONDS)
        self._changing = threading.Lock()
        folder = files("tflite_runtime_app.sinks.web") / "assets"
        self._assets = {name: (folder / name).read_bytes() for name in KINDS}
        self._pages: dict[str, Callable[[Request], Answer]] = {
            "/": self._page,
            "/state.json": lambda _: as_json({"picture": self._image.newest(), **self._state.snapshot()}),
            "/frame.jpg": self._frame,
            "/labels": lambda _: as_json(self._state.names()),
            **{f"/{name}": self._asset for name in KINDS},
        }

    def refusal(self, request: Request) -> Answer | None:
        """The answer to a request that is not let in, from its head alone; None for one whose body is worth reading."""
        try:
            self._admit(request)
            if not self._is_change(request):
                return None
            host = request.header("Host")
            check_own_page(request.header("Content-Type"), request.header(OWN_HEADER), request.headers.get("Origin"), host)
        except Refused as refused:
            if refused.status == 401 and request.path == "/":
                answer = Answer(401, REFUSED_PAGE, {"Content-Type": KINDS["page.html"]})
            else:
                answer = as_json({"error": str(refused)}, refused.status)
            return _complete(replace(answer, headers={**answer.headers, **refused.headers}), request)
        return None

    def takes_long(self, request: Request) -> bool:
        """Whether `answer` may take its time, and wants a thread of its own."""
        return self._is_change(request)

    def answer(self, request: Request, body: bytes) -> Answer:
        """The answer to a request that was not refused."""
        return _complete(self._answer(request, body), request)

    def _answer(self, request: Request, body: bytes) -> Answer:
        if self._is_change(request):
            return self._change(body)
        page = self._pages.get(request.path)
        if page is None:
            return as_json({"error": "no such address on this page"}, 404)
        if request.method not in ("GET", "HEAD"):
            allowed = "GET, HEAD, POST" if request.path == "/labels" else "GET, HEAD"
            answer = as_json({"error": f"expected {allowed}, found {request.method[:20]}"}, 405)
            return replace(answer, headers={**answer.headers, "Allow": allowed})
        return page(request)

    def _is_change(self, request: Request) -> bool:
        return request.method == "POST" and request.path == "/labels"

    def _admit(self, request: Request) -> None:
        if sum(len(name) + len(value) for name, value in request.headers.items()) + len(request.target) > MAX_HEADER:
            raise Refused(431, f"expected at most {MAX_HEADER} bytes of headers, found more")
        scheme, _, bearer = request.header("Authorization").partition(" ")
        tokens = (
            *(request.query("token") if request.path == "/" else ()),
            bearer.strip() if scheme.lower() == "bearer" else "",
            *request.cookies(self._cookie),
        )
        self._access.check(request.header("Host"), request.address, tokens)
        length = request.content_length()
        if length is None:
            raise Refused(400, f"expected a number as Content-Length, found {request.header('Content-Length')[:100]!r}")
        if length > MAX_BODY:
            raise Refused(413, f"expected at most {MAX_BODY} bytes, found {length}; give fewer labels")

    def _page(self, request: Request) -> Answer:
        if self._token is not None and request.query("token"):
            cookie = f"{self._cookie}={self._token}; HttpOnly; Path=/; SameSite=strict"
            return Answer(303, b"", {"Location": "/", "Set-Cookie": cookie})
        return Answer(200, self._assets["page.html"], {"Content-Type": KINDS["page.html"]})

    def _asset(self, request: Request) -> Answer:
        name = request.path.removeprefix("/")
        return Answer(200, self._assets[name], {"Content-Type": KINDS[name]})

    def _frame(self, request: Request) -> Answer:
        jpeg = self._image.jpeg()
        if jpeg is None:
            return Answer(204)
        if jpeg.etag in (part.strip().removeprefix("W/") for part in request.header("If-None-Match").split(",")):
            return Answer(304, b"", {"ETag": jpeg.etag})
        return Answer(200, jpeg.data, {"Content-Type": "image/jpeg", "ETag": jpeg.etag})

    def _change(self, body: bytes) -> Answer:
        try:
            return as_json({"told": self._changed(body)})
        except Refused as refused:
            return as_json({"error": str(refused)}, refused.status)
        except AppError as error:
            return as_json({"error": " ".join(str(error).split())}, 422)
        except Exception as error:  # whatever it is, it came from the loop's side, and the page must say something
            return as_json({"error": f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"}, 500)

    def _changed(self, body: bytes) -> str:
        text = label_text(body)
        if not self._changes.take():
            raise Refused(429, f"the labels may be changed {CHANGES} times in {CHANGES_SECONDS:.0f} seconds; wait a little")
        if not self._changing.acquire(blocking=False):
            raise Refused(409, "the labels are being changed already; wait until that is done")
        try:
            return self._change_labels(text)
        finally:
            self._changing.release()


def _complete(answer: Answer, request: Request) -> Answer:
    """With the headers that every answer has; HEAD and answers without a body have none."""
    headers = {**answer.headers, **HEADERS}
    if answer.status not in (204, 304):
        headers["Content-Length"] = str(len(answer.body))
    return Answer(answer.status, b"" if request.method == "HEAD" else answer.body, headers)
