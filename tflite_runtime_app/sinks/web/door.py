"""Between Tornado's connections and the site: a request's head is judged before its body is read, and who drips makes room."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import replace
from http.client import responses
from typing import Any

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream

from tflite_runtime_app.sinks.web.connections import MOST_WITH_YOUNG, Connection, Connections
from tflite_runtime_app.sinks.web.exchange import Answer, Request, as_json
from tflite_runtime_app.sinks.web.site import Site

TAKE_SECONDS = 20.0  # for a client to take an answer
ACCEPTED_AT_ONCE = 8
LOOK_EVERY = 0.1  # seconds between two looks at who must go, while somebody is connected


class Door(HTTPServerConnectionDelegate):
    """Every connection of a server that shows `site`; all of it happens in the thread of `loop`."""

    def __init__(self, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        self.site, self.loop = site, loop
        self._connections = Connections()
        self._somebody = asyncio.Event()

    def opened(self, stream: IOStream, address: str) -> None:
        """A connection from `address` is there."""
        self._connections.add(stream, address, self.loop.time())
        self._somebody.set()
        if len(self._connections) > MOST_WITH_YOUNG:
            self._end(self._connections.surplus(self.loop.time()))

    def make_room(self) -> None:
        """The connections that matter least are gone."""
        self._end(self._connections.least(ACCEPTED_AT_ONCE))

    def closed(self, stream: IOStream) -> None:
        """The connection is gone."""
        self._connections.remove(stream)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Tornado asks, for each request of a connection, who takes it."""
        assert isinstance(server_conn, HTTP1ServerConnection)
        connection = self._connections.get(server_conn.stream) or Connection("", self.loop.time())
        connection.waits(self.loop.time())
        return _Exchange(self, request_conn, server_conn, connection)

    async def look(self) -> None:
        """Ends, now and then, the connections that are too many or too slow; sleeps while there are none."""
        while True:
            await self._somebody.wait()
            await asyncio.sleep(LOOK_EVERY)
            now = self.loop.time()
            self._end([*self._connections.surplus(now), *self._connections.late(now, TAKE_SECONDS)])
            if not len(self._connections):
                self._somebody.clear()

    def _end(self, streams: Iterable[Hashable]) -> None:
        for stream in streams:
            assert isinstance(stream, IOStream)
            self._connections.remove(stream)  # Tornado says so only later
            stream.close()


class DoorServer(HTTPServer):
    """Tornado's server, which tells its Door of every connection that comes and goes."""

    request_callback: Door

    def accept(self, listener: socket.socket) -> None:
        """Some of those who wait at `listener` come in: few at a time, so that requests that are there are read in between."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                one, address = listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:  # no file left for it: whoever waited longest makes room
                self.request_callback.make_room()
                return
            chunk = self.conn_params.chunk_size
            self.handle_stream(IOStream(one, max_buffer_size=self.max_buffer_size, read_chunk_size=chunk), address)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        self.request_callback.opened(stream, str(address[0]))
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        assert isinstance(server_conn, HTTP1ServerConnection)
        self.request_callback.closed(server_conn.stream)
        super().on_close(server_conn)


class _Exchange(HTTPMessageDelegate):
    """One request and its answer."""

    def __init__(self, door: Door, tornado: HTTPConnection, server: HTTP1ServerConnection, connection: Connection) -> None:
        self._door, self._tornado, self._stream, self._connection = door, tornado, server.stream, connection
        self._address = str(server.context)
        self._request: Request | None = None
        self._body = bytearray()

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, RequestStartLine)
        self._request = request = Request(start_line.method, start_line.path, headers, self._address)
        refusal = _guarded(lambda: self._door.site.refusal(request))
        if refusal is not None:  # Tornado then reads no body, and closes
            self._send(replace(refusal, headers={**refusal.headers, "Connection": "close"}))

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk

    def finish(self) -> None:
        request, site = self._request, self._door.site
        assert request is not None
        body = bytes(self._body)
        self._connection.known = True
        if not site.takes_long(request):
            self._send(_guarded(lambda: site.answer(request, body)))
            return
        self._connection.works(self._door.loop.time())

        def work() -> None:
            answer = _guarded(lambda: site.answer(request, body))
            with suppress(RuntimeError):  # the page was closed meanwhile
                self._door.loop.call_soon_threadsafe(self._send, answer)

        threading.Thread(target=work, name="web page: labels", daemon=True).start()

    def on_connection_close(self) -> None:
        self._body.clear()

    def _send(self, answer: Answer | None) -> None:
        if answer is None or self._stream.closed():
            return
        self._connection.sends(self._door.loop.time())
        line = ResponseStartLine("HTTP/1.1", answer.status, responses.get(answer.status, "Unknown"))
        self._tornado.write_headers(line, HTTPHeaders(answer.headers), answer.body or None)
        self._tornado.finish()


def _guarded(answer: Callable[[], Answer | None]) -> Answer | None:
    """What `answer` gives; a fault of ours is told on stderr, and to whoever asked."""
    try:
        return answer()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return as_json({"error": f"internal error: {type(error).__name__}"}, 500)
