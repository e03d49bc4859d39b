"""The page's HTTP server: a socket of our own, waitress's loop in a thread beside the program's, and an end within a second."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from typing import Any
from wsgiref.types import WSGIApplication

import waitress
from waitress import wasyncore

from tflite_runtime_app.errors import UsageError

THREADS = 4
MAX_BODY, MAX_HEADER = 128 * 1024, 16 * 1024
TASKS_SECONDS, LOOP_SECONDS = 0.4, 0.5


def listen(bind: str, port: int) -> socket.socket:
    """A listening socket; `port` 0 takes a free one. Raises UsageError for an address or a port that cannot be had."""
    if not 0 <= port <= 65535:
        raise UsageError(f"expected a port from 1 to 65535, found {port}")
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        return socket.create_server((bind, port), family=family, dualstack_ipv6=bind == "::" and socket.has_dualstack_ipv6())
    except OSError as error:
        raise UsageError(_reason(error, bind, port)) from error


def _reason(error: OSError, bind: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program; choose another port for the page"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} may only be used by root; choose one from 1024 on for the page"
    if error.errno is not None and (error.errno == errno.EADDRNOTAVAIL or error.errno < 0):  # below 0: the name was not found
        return f"this machine has no address {bind}; bind the page to 127.0.0.1, to 0.0.0.0 for all, or to one that `ip address` lists"
    return f"the page cannot listen on {bind} port {port}: {error.strerror or error}"


class Server:
    """`application` is served on `listener` from now on, in threads that die with the program, until `close`."""

    def __init__(self, application: WSGIApplication, listener: socket.socket) -> None:
        # Without a handler, logging would print waitress's warnings among the program's lines.
        logging.getLogger("waitress").addHandler(logging.NullHandler())
        self._sockets: dict[int, Any] = {}
        self._server = waitress.create_server(
            application,
            map=self._sockets,
            sockets=[listener],
            threads=THREADS,
            max_request_body_size=MAX_BODY,
            max_request_header_size=MAX_HEADER,
            connection_limit=60,
            channel_timeout=20,
            cleanup_interval=5,
            asyncore_use_poll=True,  # select() fails beyond 1024 open files
            ident="",
        )
        self._thread = threading.Thread(target=self._server.run, name="web page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Within a second nothing listens any more, and every connection is closed; a second call does nothing."""
        if not self._thread.is_alive():
            return
        server = self._server
        server.task_dispatcher.shutdown(timeout=TASKS_SECONDS)
        # waitress's own close() leaves open connections to its loop, which then goes on; and the sockets are that thread's alone.
        server.trigger.pull_trigger(self._end_loop)
        self._thread.join(LOOP_SECONDS)
        if self._thread.is_alive():
            return
        if server.task_dispatcher.threads:  # a task that still runs pulls the trigger in its end: the pipe must stay its own
            server.trigger.socket.close()
        else:
            server.trigger.close()

    def _end_loop(self) -> None:
        """In the loop's thread: everything is closed but the trigger that was pulled, and the loop has nothing left to wait for."""
        self._server.trigger.del_channel()
        wasyncore.dispatcher.close(self._server)  # the server's own close() closes the trigger too
        wasyncore.close_all(self._sockets, ignore_all=True)
