"""Models installed at once, and installations that are killed: at every moment FILE or FILE.previous is whole, with its signature."""

import argparse
import base64
import fcntl
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.admission.open import accepted_bundle, open_bundle
from tflite_runtime_app.admission.replacing import previous_path, remove_leftovers
from tflite_runtime_app.admission.signing import message, read_public_key, signature_path
from tflite_runtime_app.cli import main
from tflite_runtime_app.commands import install_model

INSTALLERS = 4
# Installs the models given in turn, as often as asked, in one process: what costs time is not Python's start then.
PROGRAM = """
import sys
from tflite_runtime_app.cli import main
file, public, times, *models = sys.argv[1:]
for number in range(int(times)):
    if main(["install-model", models[number % len(models)], "--as", file, "--require-signature", public]):
        sys.exit(f"refused at {number}")
"""


@pytest.fixture
def public(tmp_path) -> Path:
    private = Ed25519PrivateKey.generate()
    for name in ("one", "two", "three"):
        path = tiny_bundle.write(tmp_path / f"{name}.tflite", tiny_bundle.build(), tiny_bundle.bank(), name=name)
        signature_path(path).write_bytes(base64.b64encode(private.sign(message("bundle", path.read_bytes()))))
        accepted_bundle(path)
    (tmp_path / "srv").mkdir()
    key = tmp_path / "public.pem"
    key.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return key


def start(folder: Path, public: Path, times: int, first: int) -> subprocess.Popen[bytes]:
    models = [str(folder / f"{name}.tflite") for name in ("one", "two", "three")]
    turned = models[first % 3 :] + models[: first % 3]
    command = [sys.executable, "-c", PROGRAM, str(folder / "srv" / "m.tflite"), str(public), str(times), *turned]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_of_many_at_once_each_leaves_a_sound_model_at_every_moment(tmp_path, public):
    file, key = tmp_path / "srv" / "m.tflite", read_public_key(public)
    assert main(["install-model", str(tmp_path / "one.tflite"), "--as", str(file), "--require-signature", str(public)]) == 0
    running, looked, names = [start(tmp_path, public, 8, number) for number in range(INSTALLERS)], 0, set()
    while any(one.poll() is None for one in running):
        bundle = open_bundle(file, key)
        looked, names = looked + 1, names | {bundle.manifest.name}
    for one in running:
        assert one.communicate()[1] is not None
        assert one.returncode == 0
    assert looked > 5
    assert len(names) > 1
    assert open_bundle(file, key).notice == ""
    assert accepted_bundle(previous_path(file), key)
    assert sorted(os.listdir(file.parent)) == ["m.tflite", "m.tflite.previous", "m.tflite.previous.sig", "m.tflite.sig"]


def test_what_is_killed_at_any_moment_leaves_a_sound_model_and_is_cleaned_up(tmp_path, public):
    file, key, rng = tmp_path / "srv" / "m.tflite", read_public_key(public), random.Random(3)
    assert main(["install-model", str(tmp_path / "one.tflite"), "--as", str(file), "--require-signature", str(public)]) == 0
    running = [start(tmp_path, public, 10_000, number) for number in range(2)]
    kills, left = 0, 0
    until = time.monotonic() + 4
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.0, 0.4))
        victim = rng.randrange(len(running))
        running[victim].kill()
        running[victim].communicate()
        kills += 1
        left += len(list(file.parent.glob(".m.tflite*")))
        open_bundle(file, key)
        running[victim] = start(tmp_path, public, 10_000, kills)
    for one in running:
        one.kill()
        one.communicate()
    open_bundle(file, key)
    assert main(["install-model", str(tmp_path / "two.tflite"), "--as", str(file), "--require-signature", str(public)]) == 0
    assert open_bundle(file, key).manifest.name == "two"
    assert accepted_bundle(previous_path(file), key)
    assert sorted(os.listdir(file.parent)) == ["m.tflite", "m.tflite.previous", "m.tflite.previous.sig", "m.tflite.sig"]


LEFT = (".m.tflite.new", ".m.tflite.new.sig", ".m.tflite.4242.new", ".m.tflite.sig.4242.new", ".m.tflite.previous.new",
        ".m.tflite.previous.sig.new", ".m.tflite.previous.77.new")  # fmt: skip


def test_what_a_dead_process_left_is_removed_and_stands_in_nobodys_way(tmp_path, public, monkeypatch):
    file = tmp_path / "srv" / "m.tflite"
    shutil.copy(tmp_path / "one.tflite", file)
    for name in LEFT:
        (file.parent / name).write_bytes(b"half")
    os.link(
        file, file.parent / ".m.tflite.previous.1.new"
    )  # killed between link and rename: writing into it would be writing into FILE
    before = file.read_bytes()
    monkeypatch.setattr(os, "getpid", lambda: 4242)
    assert main(["install-model", str(tmp_path / "two.tflite"), "--as", str(file)]) == 0
    assert sorted(os.listdir(file.parent)) == ["m.tflite", "m.tflite.previous", "m.tflite.sig"]
    assert previous_path(file).read_bytes() == before


def test_a_start_of_the_service_removes_what_is_left_and_nothing_else(tmp_path, public, picture, capsys):
    file = tmp_path / "srv" / "m.tflite"
    shutil.copy(tmp_path / "one.tflite", file)
    others = (".m.tflite.4242.tmp", ".other.tflite.4242.new", ".m.tflite.new.txt", "m.tflite.new", ".m.tflite.x.new")
    for name in (*LEFT, *others):
        (file.parent / name).write_bytes(b"half")
    assert main(["run", str(file), str(picture)]) == 0
    assert sorted(os.listdir(file.parent)) == sorted(["m.tflite", *others])


def test_what_belongs_to_an_installation_under_way_is_left_alone(tmp_path, public):
    file = tmp_path / "srv" / "m.tflite"
    (file.parent / LEFT[0]).write_bytes(b"half")
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        remove_leftovers(file)
        assert (file.parent / LEFT[0]).exists()
    finally:
        os.close(folder)
    remove_leftovers(file)
    assert not (file.parent / LEFT[0]).exists()
    remove_leftovers(tmp_path / "nowhere" / "m.tflite")


def test_who_comes_second_says_so_and_waits(tmp_path, public, capsys):
    file = tmp_path / "srv" / "m.tflite"
    folder, done = os.open(file.parent, os.O_RDONLY), []
    fcntl.flock(folder, fcntl.LOCK_EX)
    arguments = argparse.Namespace(new=str(tmp_path / "one.tflite"), file=str(file), require_signature=None)
    thread = threading.Thread(target=lambda: done.append(install_model.run(arguments)))
    thread.start()
    try:
        time.sleep(0.5)
        assert os.listdir(file.parent) == []
    finally:
        os.close(folder)
        thread.join(20)
    assert done == [0]
    assert capsys.readouterr().err.count("another model is being installed") == 1
    assert accepted_bundle(file).manifest.name == "one"


def test_a_signature_that_changes_while_it_is_copied_installs_nothing(tmp_path, public, monkeypatch, capsys):
    file, new = tmp_path / "srv" / "m.tflite", tmp_path / "one.tflite"
    real = shutil.copyfileobj

    def swapped(reading, writing, length):
        real(reading, writing, length)
        shutil.copy(signature_path(tmp_path / "two.tflite"), signature_path(new))

    monkeypatch.setattr(shutil, "copyfileobj", swapped)
    assert main(["install-model", str(new), "--as", str(file), "--require-signature", str(public)]) == 1
    assert "replaced while it was copied" in capsys.readouterr().err
    assert os.listdir(file.parent) == []
