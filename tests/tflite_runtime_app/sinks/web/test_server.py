"""The page's server comes and goes: addresses and ports, missing libraries, an end within a second, nothing left behind."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.clone import ROOT
from tests.tflite_runtime_app.sinks.web import web_client
from tests.tflite_runtime_app.sinks.web.web_client import served
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sinks.web import WebSink, server, sink


def test_a_port_in_use_or_forbidden_is_a_usage_error_in_one_line():
    with served() as page, pytest.raises(UsageError, match=f"port {page.port} is taken") as refused, served(port=page.port):
        pass
    assert "\n" not in str(refused.value)
    for bind, port, words in (("127.0.0.1", 70000, "expected a port"), ("203.0.113.7", 0, "no address")):
        with pytest.raises(UsageError, match=words):
            WebSink(port, bind, None, str, (), "", (1,))
    assert "no address nowhere" in server._reason(OSError(socket.EAI_NONAME, "Name or service not known"), "nowhere", 80)
    denied = server._reason(PermissionError(13, "Permission denied"), "127.0.0.1", 80)
    assert denied == "port 80 may only be used by root; choose one from 1024 on for the page"


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_an_ipv6_address_stands_in_brackets():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback: ::1 was not tested")
    with served(bind="::1") as page:
        assert page.sink.url == f"http://[::1]:{page.port}/"
        with socket.create_connection(("::1", page.port), timeout=5) as connection:
            connection.sendall(b"GET /state.json HTTP/1.0\r\nHost: [::1]\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_a_page_without_its_library_says_what_to_install():
    program = (
        "import sys\n"
        "sys.modules['tornado'] = None\n"
        "from tflite_runtime_app.sinks.web import WebSink\n"
        "WebSink(0, '127.0.0.1', None, str, (), '', (1,))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (
        "UsageError: the page needs tornado, which is not installed; get it with: pip install 'clip-rescue[web]'" in done.stderr
    )


def test_the_web_library_is_not_loaded_before_a_page_is_asked_for():
    program = "import sys, tflite_runtime_app.sinks.web\nprint({'tornado'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.check_output([sys.executable, "-c", program], text=True, env=environment) == "set()\n"


def test_close_ends_within_a_second_whatever_is_going_on():
    go = threading.Event()

    def change(text: str) -> str:
        go.wait(20)
        return "late"

    with served(change) as page:
        port = page.port
        idle = socket.create_connection(("127.0.0.1", port))  # a phone's connection that stays open
        half = socket.create_connection(("127.0.0.1", port))
        own = b"POST /labels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Classify: page\r\n"
        half.sendall(own + b"Content-Length: 100\r\n\r\nhalf of it")
        body = json.dumps({"text": "newt"}).encode()
        stuck = socket.create_connection(("127.0.0.1", port))
        stuck.sendall(own + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(0.2)
        start = time.perf_counter()
        page.sink.close()
        took = time.perf_counter() - start
        page.sink.close()
    go.set()
    assert took < 1
    for connection in (idle, half, stuck):
        with connection:
            connection.settimeout(2)
            try:
                assert connection.recv(1) == b""
            except ConnectionResetError:
                continue
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with served() as again:  # results after the end harm nobody
        again.sink.close()
        again.sink.result(web_client.result(image=web_client.noise()))
    with served(port=port) as successor:
        assert successor.port == port


def test_pages_that_come_and_go_leave_no_threads_and_no_files():
    def leftovers() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    with served() as page:
        page.get("/")
    before = leftovers()
    for _ in range(5):
        with served() as page:
            page.get("/state.json")
    deadline = time.monotonic() + 5
    while leftovers() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leftovers() <= before


def test_many_viewers_are_served_and_nothing_is_printed(capfd, caplog):
    caplog.set_level(logging.CRITICAL)
    with served() as page:
        page.sink.result(web_client.result(image=web_client.noise(1280, 720)))
        found: list[int] = []

        def look() -> None:
            for _ in range(10):
                found.append(page.get("/state.json").status)
                found.append(page.get("/frame.jpg").status)

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [200] * 160
    assert capfd.readouterr() == ("", "")


def test_the_way_out_is_found_without_sending_and_a_machine_without_one_gives_its_name(monkeypatch):
    class NoNetwork(socket.socket):
        def connect(self, address) -> None:
            raise OSError(101, "Network is unreachable")

    assert sink._reachable("192.168.1.5") == "192.168.1.5"
    monkeypatch.setattr(socket, "socket", NoNetwork)
    assert sink._reachable("0.0.0.0") == socket.gethostname()
