"""Headless Chromium, driven over the pipe of its DevTools protocol: JSON messages, each ended by a zero byte, on file numbers 3 and 4."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

MISSING = "chromium is not installed, so the page was NOT tested in a browser; get it with: sudo apt install chromium"


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One Chromium with one page; `complaints` collects console errors, uncaught exceptions, CSP violations and failed loads."""

    def __init__(self, profile: Path) -> None:
        to_browser, ours_out = os.pipe()
        ours_in, from_browser = os.pipe()

        def place() -> None:  # in the child: the ends go where Chromium expects them, by way of numbers that are neither
            read, write = os.dup2(to_browser, 200), os.dup2(from_browser, 201)
            os.dup2(read, 3)
            os.dup2(write, 4)

        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-extensions",
            "--no-first-run",
        ]
        words = [find_chromium(), *options, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(words, preexec_fn=place, close_fds=False, start_new_session=True, **quiet)
        os.close(to_browser)
        os.close(from_browser)
        self._in, self._out, self._rest = ours_in, ours_out, b""
        self._number = 0
        self._session = None
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters):
        """What the browser answers to one command; events that come meanwhile are looked at."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 30
        while True:
            reply = self._receive(deadline)
            if reply.get("id") == self._number:
                assert "error" not in reply, f"{method}: {reply['error']}"
                return reply["result"]

    def open(self, url: str) -> None:
        """The page at `url` is read to its end, its modules too."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && document.body !== null")

    def size(self, width: int, height: int, scale: float = 1) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)

    def scheme(self, scheme: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def look(self, script: str):
        """The value of a JavaScript expression in the page, awaited if it is a promise."""
        reply = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def wait(self, script: str, seconds: float = 10):
        """The value of `script` as soon as it is true; fails with what the page shows then."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = self.look(script)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(
            f"never true within {seconds} s: {script}; the page: {self.look('document.body?.innerText')!r}; {self.complaints}"
        )

    def type(self, selector: str, text: str) -> None:
        """`text` replaces what is in a field, put in as a keyboard would."""
        self.look(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """A real click of the mouse in the middle of an element."""
        place = self.look(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}}); "
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def screenshot(self, whole: bool = False) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _receive(self, deadline: float):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0, deadline - time.monotonic()))
            assert ready, "the browser did not answer in time"
            data = os.read(self._in, 1 << 16)
            assert data, "the browser is gone"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        reply = json.loads(message)
        self._heed(reply.get("method"), reply.get("params"))
        return reply

    def _heed(self, event: str | None, details) -> None:
        if event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(details["exceptionDetails"])[:500])
        elif event == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{details['entry']['text']} {details['entry'].get('url', '')}")
        elif event == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(details["args"])[:500])
