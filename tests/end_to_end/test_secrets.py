"""A camera's password and the page's token: nobody who reads, listens or lists processes hears of them."""

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from PIL import Image

from tests.tflite_runtime_app.live.live_servers import http_camera
from tests.tflite_runtime_app.sinks.broker import Broker

SECRETS = {"CAMERA": "secret", "TOKEN": "tokentokentokentoken", "QUERY": "hunter2"}


def command_lines(pid):
    """Those of the process and of all that it started."""
    found = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += command_lines(int(child))
    return found


def test_nobody_hears_of_them(bundle_path, tmp_path):
    broker, jpeg = Broker(), io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(jpeg, "JPEG")
    with http_camera(jpeg.getvalue(), locked=True) as address:
        environment = {
            **os.environ,
            "CAM": f"http://me:{SECRETS['CAMERA']}@{address}?token={SECRETS['QUERY']}",
            "TOKEN": SECRETS["TOKEN"],
            "MQTT": f"mqtt://ha:{SECRETS['CAMERA']}@127.0.0.1:{broker.port}",
        }
        out = (tmp_path / "out").open("wb")
        words = [
            "env:CAM",
            "--json",
            "--mqtt",
            "env:MQTT",
            "--serve",
            "0",
            "--token=env:TOKEN",
            "--snapshots",
            str(tmp_path / "shots"),
        ]
        with out, subprocess.Popen(
            [sys.executable, "-m", "tflite_runtime_app", str(bundle_path), *words],
            stdout=out, stderr=subprocess.PIPE, text=True, env=environment,
        ) as process:  # fmt: skip
            page = next(line for line in process.stderr if "http://" in line).split()[-1]
            assert broker.wait(lambda: any(name.endswith("/state") for name, _, _ in broker.messages), 30)
            lines = command_lines(process.pid)
            request = urllib.request.Request(
                page.partition("?")[0] + "state.json", headers={"Authorization": f"Bearer {SECRETS['TOKEN']}"}
            )
            state = urllib.request.urlopen(request, timeout=10).read().decode()
            time.sleep(0.1)
            process.terminate()
            rest = process.stderr.read()
    broker.close()
    answers = (tmp_path / "out").read_text()
    assert len(lines) >= 2, "the program and the camera's process"
    shown = f"http://***@{address}?token=***"
    assert json.loads(answers.splitlines()[0])["source"] == json.loads(state)["answer"]["source"] == shown
    names = [path.name for path in (tmp_path / "shots").iterdir()]
    for place in (*lines, page, state, rest, answers, str(broker.messages), str(names)):
        for secret in SECRETS.values():
            assert secret not in place
