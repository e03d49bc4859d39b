"""Clients that drip, stall, guess or send rubbish: the owner is served at once meanwhile, and no header makes an internal error."""

import contextlib
import random
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.tflite_runtime_app.sinks.web import web_client
from tests.tflite_runtime_app.sinks.web.web_client import Page, served
from tflite_runtime_app.sinks.web import door, server
from tflite_runtime_app.sinks.web.connections import MOST_OF_ONE

TOKEN = "a-good-token-of-24-chars"
HEAD, BODY = (
    b"GET /state.json HTTP/1.1\r\nHost: localhost\r\nX: ",
    b"POST /labels HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n",
)
OWN = b"Content-Type: application/json\r\nX-Classify: page\r\n"


@contextmanager
def dripping(page: Page, count: int, beginning: bytes) -> Iterator[list[int]]:
    """`count` connections that send a byte now and then, and come again when they are closed; gives how often they came."""
    came, stop = [0], threading.Event()

    def drip() -> None:
        sockets: list[socket.socket | None] = [None] * count
        while not stop.is_set():
            for place, one in enumerate(sockets):
                try:
                    if one is None:
                        one = sockets[place] = socket.create_connection(("127.0.0.1", page.port), timeout=2)
                        one.sendall(beginning)
                        came[0] += 1
                    one.sendall(b"x")
                except OSError:
                    if one is not None:
                        one.close()
                    sockets[place] = None
            stop.wait(0.1)
        for one in sockets:
            if one is not None:
                one.close()

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while came[0] < count and time.monotonic() < deadline:
            time.sleep(0.01)
        yield came
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("count", [60, 500])
@pytest.mark.parametrize(
    ("token", "beginning"), [(None, HEAD), (None, BODY + OWN + b"\r\n"), (TOKEN, HEAD), (TOKEN, BODY + b"\r\n")]
)
def test_the_owner_is_served_at_once_while_others_drip(count, token, beginning):
    own = {"Authorization": f"Bearer {token}"} if token else {}
    with served(token=token) as page, dripping(page, count, beginning):
        page.sink.result(web_client.result(image=web_client.noise()))
        took = []
        for _ in range(20):
            start = time.monotonic()
            assert page.get("/state.json", **own).status == 200
            assert page.get("/frame.jpg", **own).status == 200
            took.append(time.monotonic() - start)
            time.sleep(0.02)
        assert page.post("newt", own).status == 200
        assert sorted(took)[10] < 0.5
        assert len(page.sink._server._door._connections) <= 300  # bounded, whoever comes
        start = time.monotonic()
        page.sink.close()
        assert time.monotonic() - start < 1


def test_the_owners_own_connection_lives_on_while_others_drip():
    with served(token=TOKEN) as page, socket.create_connection(("127.0.0.1", page.port), timeout=5) as owner:

        def ask() -> bytes:
            owner.sendall(f"GET /state.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            return owner.recv(65536)

        assert ask().startswith(b"HTTP/1.1 200 OK")
        with dripping(page, 60, HEAD):
            for _ in range(10):
                assert ask().startswith(b"HTTP/1.1 200 OK")
                time.sleep(0.1)


@pytest.mark.parametrize("beginning", [HEAD, BODY + OWN + b"\r\n{", b""])
def test_a_request_has_a_deadline_however_often_a_byte_comes(monkeypatch, beginning):
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(server, "BODY_SECONDS", 0.4)
    with served() as page, socket.create_connection(("127.0.0.1", page.port), timeout=0.05) as one:
        one.sendall(beginning)
        start, closed = time.monotonic(), False
        while not closed and time.monotonic() - start < 5:
            try:
                if beginning:
                    one.sendall(b"x")
                closed = one.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
        assert closed
        assert 0.3 < time.monotonic() - start < 3


def test_who_does_not_take_an_answer_is_let_go(monkeypatch):
    monkeypatch.setattr(door, "TAKE_SECONDS", 0.3)
    with served() as page, socket.socket() as one:
        page.sink.result(web_client.result(image=web_client.noise(960, 720)))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", page.port))
        one.settimeout(5)
        one.sendall(b"GET /frame.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40)
        deadline = time.monotonic() + 5
        while len(page.sink._server._door._connections) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not len(page.sink._server._door._connections)
        assert page.get("/state.json").status == 200


def test_a_body_without_the_token_is_not_read():
    with served(token=TOKEN) as page, socket.create_connection(("127.0.0.1", page.port), timeout=5) as one:
        one.sendall(BODY + OWN + b"Expect: 100-continue\r\n\r\n")
        reply = one.recv(65536)
        assert reply.startswith(b"HTTP/1.1 401 ")
        assert b"Connection: close" in reply
        one.settimeout(2)
        with contextlib.suppress(ConnectionError):
            while one.recv(65536):
                pass


def test_a_flood_of_connections_from_one_address_leaves_few_behind():
    with served() as page, dripping(page, 100, HEAD):
        deadline = time.monotonic() + 10
        time.sleep(0.6)
        while len(page.sink._server._door._connections) > 110 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert page.get("/state.json").status == 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with served() as page, dripping(page, 300, HEAD):
        time.sleep(0.5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # kB
    assert MOST_OF_ONE < 20


RUBBISH = [
    "http://[",
    "http://]",
    "//[::1",
    "[",
    "%",
    "%zz",
    "%ff%fe",
    "\xff\xfe",
    "\xe2\x80\xae",
    "a" * 300,
    "=",
    ";;;=;",
    '"',
    '"unclosed',
    "\\",
    "9" * 5000,
    "-1",
    "0x10",
    "1e3",
    "\xb2",
    "1,2",
    "bytes=0-",
    "Bearer",
    "Bearer \xff",
    "Basic !!!",
    "application/json; charset=\xff",
    "null",
    "*",
    "W/",
    "\t",
    "",
    "localhost:99999999999",
    "localhost:x",
    "[::1]:x",
    "127.0.0.1\\@evil",
    "xn--\xff.example",
]
NAMES = (
    "Host", "Origin", "Cookie", "Content-Length", "Content-Type", "If-None-Match", "Authorization", "X-Classify", "Transfer-Encoding",
    "Connection", "Expect", "Range", "Referer", "X-Forwarded-For", "Accept-Encoding",
)  # fmt: skip
TARGETS = [
    "/",
    "*",
    "",
    "http://[/state.json",
    "http://localhost/state.json",
    "http://",
    "//",
    "/%",
    "/%zz?token=%",
    "/?token=%ff%fe&token=%",
    "/?" + "&" * 500 + "token=x",
    "/?token",
    "/labels?\xff",
    "/\xff\xfe",
    "/..%2f..%2fetc/passwd",
    "localhost:80",
    "/state.json#x",
    "/frame.jpg?%00",
    "/" + "a" * 3000,
]


@pytest.mark.parametrize("token", [None, TOKEN])
def test_nothing_in_a_request_makes_an_internal_error(token, capfd):
    rng = random.Random(7)
    cases = [(method, target, {}) for method in ("GET", "POST", "HEAD", "FOO", "get") for target in TARGETS]
    cases += [
        (method, path, {name: value})
        for name in NAMES
        for value in RUBBISH
        for method, path in (("GET", "/frame.jpg"), ("POST", "/labels"))
    ]
    for _ in range(300):
        headers = {name: rng.choice(RUBBISH) for name in rng.sample(NAMES, 3)}
        cases.append((rng.choice(("GET", "POST")), rng.choice(TARGETS), headers))
    body = b'{"text": "newt"}'
    found: dict[int, int] = {}
    with served(token=token) as page:
        page.sink.result(web_client.result(image=web_client.noise()))
        for method, target, headers in cases:
            sent = {"Host": f"localhost:{page.port}", "Content-Type": "application/json", "X-Classify": "page"}
            sent |= {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
            sent |= {"Content-Length": str(len(body))} if method == "POST" else {}
            sent |= headers
            head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items()) + "\r\n"
            with socket.create_connection(("127.0.0.1", page.port), timeout=5) as one:
                with contextlib.suppress(ConnectionError):
                    one.sendall(head.encode("latin1") + (body if method == "POST" else b""))
                    one.shutdown(socket.SHUT_WR)
                try:
                    reply = one.recv(65536)
                except ConnectionError:
                    reply = b""
            status = int(reply.split(b" ", 2)[1]) if reply else 0
            assert status < 500, (method, target, headers, reply)
            found[status] = found.get(status, 0) + 1
        assert page.get("/state.json", Authorization=f"Bearer {TOKEN}").status == 200
    assert {200, 400, 403, 404} <= set(found), found
    assert capfd.readouterr().err == ""
