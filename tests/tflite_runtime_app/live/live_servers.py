"""Cameras on the network, on this machine's loopback: MJPEG over HTTP, and MPEG over RTSP, both as red as a card."""

import base64
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BASIC = "Basic " + base64.b64encode(b"me:secret").decode()


@contextmanager
def http_camera(jpeg: bytes, most: int = 1 << 30, locked: bool = False, length: bool = True) -> Iterator[str]:
    """The address, without the scheme, of a camera that gives `most` images to each who asks, `locked` only to who knows the password.

    Without `length` it does not say how long an image is.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if locked and self.headers.get("Authorization") != BASIC:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=card")
            self.end_headers()
            for _ in range(most):
                told = f"Content-Length: {len(jpeg)}\r\n" if length else ""
                head = f"--card\r\nContent-Type: image/jpeg\r\n{told}\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:  # who looked has left
                    return
                time.sleep(0.02)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}/video"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def rtsp_camera(stream: bytes, locked: bool = False) -> Iterator[str]:
    """The address, without the scheme, of a camera that gives the MPEG transport stream `stream` again and again, over TCP alone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, stream, locked), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}/card"


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of one who takes calls and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}/x"


def _accept(server: socket.socket, stream: bytes, locked: bool) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # closed
            return
        threading.Thread(target=_converse, args=(connection, stream, locked), daemon=True).start()


def _converse(connection: socket.socket, stream: bytes, locked: bool) -> None:
    with connection, connection.makefile("rb") as asked:
        try:
            while request := asked.readline().split():
                headers = dict(_headers(asked))
                if _answer(connection, request[0].decode(), headers, locked):
                    _play(connection, stream)
        except OSError:
            return


def _headers(asked) -> Iterator[tuple[str, str]]:
    while line := asked.readline().decode().strip():
        name, _, value = line.partition(":")
        yield name.lower(), value.strip()


def _answer(connection: socket.socket, method: str, headers: dict[str, str], locked: bool) -> bool:
    """The request is answered; True when the images are to follow."""
    extra, body, status = "", "", "200 OK"
    if locked and method != "OPTIONS" and headers.get("authorization") != BASIC:
        status, extra = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n'
    elif method == "OPTIONS":
        extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
    elif method == "DESCRIBE":
        body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=card\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n"
        extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
    elif method == "SETUP":
        if "TCP" not in headers["transport"]:
            status = "461 Unsupported Transport"
        extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
    connection.sendall(f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{extra}\r\n{body}".encode())
    return status == "200 OK" and method == "PLAY"


def _play(connection: socket.socket, stream: bytes) -> None:
    """RTP packets of seven transport packets each, interleaved, at some 50 a second."""
    number = 0
    while True:
        for at in range(0, len(stream), 7 * 188):
            payload = stream[at : at + 7 * 188]
            packet = struct.pack(">BBHII", 0x80, 33, number % 65536, number * 1800 % 2**32, 7) + payload
            connection.sendall(struct.pack(">BBH", 0x24, 0, len(packet)) + packet)
            number += 1
            time.sleep(0.02)
