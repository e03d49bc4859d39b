"""The page as a sink: what the loop says goes into the state and the image, and a server shows both."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sinks.base import Failure, Result, Sink, Status
from tflite_runtime_app.sinks.web.access import Access, token_for
from tflite_runtime_app.sinks.web.newest_image import NewestImage
from tflite_runtime_app.sinks.web.state import LiveState

EXTRA = "tornado"


class WebSink(Sink):
    """The page is served as soon as this exists; `url` is what to open, with the token where there is one.

    `change_labels` is called from a thread of the server with the labels, one a line, one call at a time; what it returns is shown,
    and so is the message of an AppError. `blocks` are the blocks done after each stage. Bound wider than loopback, the page has a
    token, `token` or a new one. Raises UsageError when Tornado is missing, the port is taken or not allowed, there is no
    such address, or the token is weak.
    """

    def __init__(
        self,
        port: int,
        bind: str,
        token: str | None,
        change_labels: Callable[[str], str],
        names: tuple[str, ...],
        title: str,
        blocks: tuple[int, ...],
    ) -> None:
        try:
            from tflite_runtime_app.sinks.web.server import Server, listen
            from tflite_runtime_app.sinks.web.site import Site
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != EXTRA:
                raise
            raise UsageError(
                f"the page needs {EXTRA}, which is not installed; get it with: pip install 'clip-rescue[web]'"
            ) from None
        self._state = LiveState(names, title, blocks)
        self._image = NewestImage()
        secret = token_for(bind, token)
        listener = listen(bind, port)
        port = listener.getsockname()[1]
        site = Site(self._state, self._image, Access(bind, secret), change_labels, secret, port)
        self._server = Server(site, listener)
        self.url = f"http://{_reachable(bind)}:{port}/" + (f"?token={secret}" if secret else "")

    def result(self, result: Result) -> None:
        if result.image is not None:
            self._image.show(result.image)
        self._state.result(result)

    def failure(self, failure: Failure) -> None:
        self._state.failure(failure)

    def status(self, status: Status) -> None:
        self._state.status(status)

    def labels(self, names: tuple[str, ...], notice: str) -> None:
        self._state.labels(names, notice)

    def close(self) -> None:
        self._server.close()


def _reachable(bind: str) -> str:
    """How another machine would write `bind` in an address: for "all addresses" the one that leads out, else the machine's name."""
    if bind in ("0.0.0.0", "::"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # nothing is sent: connecting a datagram socket only picks the way out
                return str(probe.getsockname()[0])
            except OSError:
                return socket.gethostname()
    return f"[{bind}]" if ":" in bind else bind
