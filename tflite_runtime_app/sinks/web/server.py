"""The page's HTTP server: a socket of our own, Tornado's loop in a thread beside the program's, and an end within a second.

Tornado, because it has a deadline for the whole of a request's head and one for its body, and asks us between the two: no client holds a
thread, and a body is read only for whoever is let in. waitress and cheroot count silence only, so that a byte now and then keeps a
connection for ever; uvicorn and aiohttp have no deadline for the head either, and hypercorn brings an HTTP/2 stack along. What Tornado
does not have is `connections`: who makes room when there are too many; and a deadline for those who do not take their answers (`door`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from contextlib import suppress

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sinks.web.door import Door, DoorServer
from tflite_runtime_app.sinks.web.site import MAX_BODY, Site

HEAD_SECONDS, BODY_SECONDS = 10.0, 10.0
LONGEST_HEAD = 64 * 1024  # bytes; beyond that there is no answer at all, see `site.MAX_HEADER`
BACKLOG = 512
CLOSE_SECONDS, JOIN_SECONDS = 0.3, 0.6


def listen(bind: str, port: int) -> socket.socket:
    """A listening socket; `port` 0 takes a free one. Raises UsageError for an address or a port that cannot be had."""
    if not 0 <= port <= 65535:
        raise UsageError(f"expected a port from 1 to 65535, found {port}")
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    dual = bind == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server((bind, port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        raise UsageError(_reason(error, bind, port)) from error
    listener.setblocking(False)
    return listener


def _reason(error: OSError, bind: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program; choose another port for the page"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} may only be used by root; choose one from 1024 on for the page"
    if error.errno is not None and (error.errno == errno.EADDRNOTAVAIL or error.errno < 0):  # below 0: the name was not found
        return f"this machine has no address {bind}; bind the page to 127.0.0.1, to 0.0.0.0 for all, or to one that `ip address` lists"
    return f"the page cannot listen on {bind} port {port}: {error.strerror or error}"


class Server:
    """`site` is served on `listener` from now on, in threads that die with the program, until `close`."""

    def __init__(self, site: Site, listener: socket.socket) -> None:
        # Without a handler, logging would print Tornado's warnings among the program's lines.
        logging.getLogger("tornado").addHandler(logging.NullHandler())
        self._site, self._listener = site, listener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="web page", daemon=True)
        self._thread.start()
        self._started.wait()

    def close(self) -> None:
        """Within a second nothing listens any more, and every connection is closed; a second call does nothing."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop ended in between
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._listener.close()
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._door = door = Door(self._site, self._loop)
        server = DoorServer(
            door,
            chunk_size=16 * 1024,
            max_header_size=LONGEST_HEAD,
            max_body_size=MAX_BODY,
            max_buffer_size=2 * MAX_BODY,
            idle_connection_timeout=HEAD_SECONDS,
            body_timeout=BODY_SECONDS,
        )
        self._loop.add_reader(self._listener, server.accept, self._listener)
        self._started.set()
        looking = asyncio.create_task(door.look())
        await self._stop.wait()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        looking.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.close_all_connections(), CLOSE_SECONDS)
