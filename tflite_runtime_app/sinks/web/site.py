"""The page's addresses: what is asked for, in whose name, and what is answered. Nothing is streamed, every answer is whole at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import bottle

from tflite_runtime_app.errors import AppError
from tflite_runtime_app.sinks.web.access import OWN_HEADER, Access, check_own_page
from tflite_runtime_app.sinks.web.label_text import label_text
from tflite_runtime_app.sinks.web.limit import Limit
from tflite_runtime_app.sinks.web.newest_image import NewestImage
from tflite_runtime_app.sinks.web.refused import Refused
from tflite_runtime_app.sinks.web.state import LiveState

CHANGES, CHANGES_SECONDS = 5, 10.0
HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),  # else any page could show the image of a page on localhost
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]
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
REFUSED_PAGE = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>classify</title><p>This page needs the token of this run: open the whole address that classify printed.
<p>If you just did, <a href="/">go on</a>.</html>"""


def make_site(
    state: LiveState, image: NewestImage, access: Access, change_labels: Callable[[str], str], token: str | None, port: int
) -> WSGIApplication:
    """The application that shows `state` and `image` to whom `access` lets in; `token` goes into the cookie, `port` into its name."""
    site = _Site(state, image, access, change_labels, token, f"classify_{port}")
    app = bottle.Bottle()
    app.default_error_handler = _plain_error
    app.add_hook("before_request", site.admit)
    app.route("/", "GET", site.page)
    app.route("/state.json", "GET", site.state)
    app.route("/frame.jpg", "GET", site.frame)
    app.route("/labels", "GET", site.labels)
    app.route("/labels", "POST", site.change)
    app.route("/<name>", "GET", site.asset)
    return _with_headers(app)


class _Site:
    def __init__(
        self,
        state: LiveState,
        image: NewestImage,
        access: Access,
        change_labels: Callable[[str], str],
        token: str | None,
        cookie: str,
    ) -> None:
        self._state, self._image, self._access = state, image, access
        self._change_labels, self._token, self._cookie = change_labels, token, cookie
        self._changes = Limit(CHANGES, CHANGES_SECONDS)
        self._changing = threading.Lock()
        folder = files("tflite_runtime_app.sinks.web") / "assets"
        self._assets = {name: (folder / name).read_bytes() for name in KINDS}

    def admit(self) -> None:
        request = bottle.request
        scheme, _, bearer = request.get_header("Authorization", "").partition(" ")
        tokens = (
            request.query.get("token", "") if request.path == "/" else "",
            bearer.strip() if scheme.lower() == "bearer" else "",
            request.get_cookie(self._cookie, ""),
        )
        try:
            self._access.check(request.get_header("Host", ""), request.remote_addr or "", tokens)
        except Refused as refused:
            if refused.status == 401 and request.path == "/":
                raise bottle.HTTPResponse(REFUSED_PAGE, 401, WWW_Authenticate="Bearer") from None
            raise _as_json({"error": str(refused)}, refused.status) from None

    def page(self) -> Any:
        if self._token is not None and "token" in bottle.request.query:
            clean = bottle.HTTPResponse("", 303, Location="/")
            clean.set_cookie(self._cookie, self._token, path="/", httponly=True, samesite="strict")
            return clean
        return self.asset("page.html")

    def asset(self, name: str) -> Any:
        if name not in KINDS:
            raise bottle.HTTPError(404)
        return bottle.HTTPResponse(self._assets[name], 200, Content_Type=KINDS[name])

    def state(self) -> Any:
        return _as_json({"picture": self._image.newest(), **self._state.snapshot()})

    def frame(self) -> Any:
        jpeg = self._image.jpeg()
        if jpeg is None:
            return bottle.HTTPResponse("", 204)
        known = bottle.request.get_header("If-None-Match", "")
        if jpeg.etag in (part.strip().removeprefix("W/") for part in known.split(",")):
            return bottle.HTTPResponse("", 304, ETag=jpeg.etag)
        return bottle.HTTPResponse(jpeg.data, 200, Content_Type="image/jpeg", ETag=jpeg.etag)

    def labels(self) -> Any:
        return _as_json(self._state.names())

    def change(self) -> Any:
        try:
            return _as_json({"told": self._changed()})
        except Refused as refused:
            return _as_json({"error": str(refused)}, refused.status)
        except AppError as error:
            return _as_json({"error": str(error)}, 422)
        except Exception as error:  # whatever it is, it came from the loop's side, and the page must say something
            return _as_json({"error": f"internal error: {type(error).__name__}: {error}"}, 500)

    def _changed(self) -> str:
        request = bottle.request
        host = request.get_header("Host", "")
        check_own_page(request.content_type, request.get_header(OWN_HEADER, ""), request.get_header("Origin"), host)
        text = label_text(request.body.read())
        if not self._changes.take():
            raise Refused(429, f"the labels may be changed {CHANGES} times in {CHANGES_SECONDS:.0f} seconds; wait a little")
        if not self._changing.acquire(blocking=False):  # each change holds a thread of the server for as long as it takes
            raise Refused(409, "the labels are being changed already; wait until that is done")
        try:
            return self._change_labels(text)
        finally:
            self._changing.release()


def _as_json(value: dict[str, Any], status: int = 200) -> Any:
    return bottle.HTTPResponse(json.dumps(value), status, Content_Type="application/json")


def _plain_error(error: Any) -> str:
    """The body for what bottle itself refuses: an unknown address, a wrong method, a fault of ours (whose traceback is on stderr)."""
    bottle.response.content_type = "application/json"
    return json.dumps({"error": error.status_line})


def _with_headers(application: WSGIApplication) -> WSGIApplication:
    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            return start_response(status, headers + HEADERS, exc_info)

        return application(environ, start)

    return guarded
