"""A refused file never takes the place of a sound one: not when a service starts, not when a new model is installed."""

import argparse
import base64
import errno
import json
import os
import resource
import shutil
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.tflite_runtime_app import tiny_bundle
from tests.tflite_runtime_app.admission.fuzz_mutants import sealed
from tflite_runtime_app.admission import open as trusted
from tflite_runtime_app.admission.open import accepted_labels, checked_bundle, checked_labels, open_bundle
from tflite_runtime_app.admission.replacing import previous_path
from tflite_runtime_app.admission.signing import message, read_public_key, signature_path
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.bundle.manifest import to_json
from tflite_runtime_app.commands import install_model as install
from tflite_runtime_app.errors import AppError, BundleCorrupt, BundleError, BundleIncompatible, LabelError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def service(tmp_path, tiny) -> Path:
    """The bundle in service, in a folder of its own."""
    (tmp_path / "service").mkdir()
    return tiny_bundle.write(tmp_path / "service" / "model.tflite", tiny, tiny_bundle.bank(), name="old")


@pytest.fixture
def new(tmp_path, tiny) -> Path:
    return tiny_bundle.write(tmp_path / "new.tflite", tiny, tiny_bundle.bank(), name="new")


@pytest.fixture
def private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def public(private, tmp_path) -> Path:
    path = tmp_path / "public.pem"
    path.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def sign(path: Path, private, kind: str = "bundle") -> None:
    signature_path(path).write_bytes(base64.b64encode(private.sign(message(kind, path.read_bytes()))))


def put(new: Path, file: Path, key: Path | None = None) -> int:
    return install.run(argparse.Namespace(new=str(new), file=str(file), require_signature=key and str(key)))


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_sound_file_is_opened_without_a_word(service):
    bundle = open_bundle(service)
    assert (bundle.manifest.name, bundle.notice) == ("old", "")


def test_a_new_model_takes_the_place_and_the_old_one_is_kept(service, new, capsys):
    before = service.read_bytes()
    assert put(new, service) == 0
    assert capsys.readouterr().out.strip() == str(service)
    assert state(service.parent) == {"model.tflite": new.read_bytes(), "model.tflite.previous": before}


def test_the_first_install_needs_no_old_file(tmp_path, new):
    (tmp_path / "empty").mkdir()
    put(new, tmp_path / "empty" / "model.tflite")
    assert state(tmp_path / "empty") == {"model.tflite": new.read_bytes()}


def test_a_refused_model_changes_nothing(service, new):
    before = state(service.parent)
    new.write_bytes(new.read_bytes()[:-5])
    with pytest.raises(BundleError, match=r"new\.tflite"):
        put(new, service)
    assert state(service.parent) == before


def test_when_the_file_is_refused_the_last_good_one_runs_with_a_loud_notice(service, new):
    put(new, service)
    service.write_bytes(service.read_bytes()[:1000])
    bundle = open_bundle(service)
    assert (bundle.manifest.name, bundle.path) == ("old", previous_path(service))
    assert "WAS REFUSED" in bundle.notice
    assert f"classify install-model NEW --as {service}" in bundle.notice
    assert len(bundle.notice.splitlines()) == 1


def test_without_a_last_good_one_the_refusal_stands(service):
    service.write_bytes(b"")
    with pytest.raises(BundleCorrupt, match=r"model\.tflite: expected a TensorFlow Lite file"):
        open_bundle(service)


def test_when_both_are_refused_the_first_refusal_is_told(service, new):
    put(new, service)
    service.write_bytes(b"cut")
    previous_path(service).write_bytes(b"")
    with pytest.raises(BundleCorrupt, match=r"model\.tflite: .*of 3 bytes"):
        open_bundle(service)


def test_a_broken_file_in_service_does_not_push_the_last_good_one_out(service, new):
    put(new, service)
    service.write_bytes(b"broken")
    put(new, service)
    assert read_bundle(previous_path(service)).manifest.name == "old"
    assert read_bundle(service).manifest.name == "new"


def limited_size(number: int):
    """Nothing that this process writes may be larger: what a full disk does, without one."""

    class Limit:
        def __enter__(self):
            self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
            self.handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (number, self.before[1]))

        def __exit__(self, *_):
            resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
            signal.signal(signal.SIGXFSZ, self.handler)

    return Limit()


def test_a_full_disk_leaves_the_old_file(service, new):
    put(new, service)  # so that the model is admitted and the limit meets the copy alone
    before = state(service.parent)
    with limited_size(len(new.read_bytes()) // 2), pytest.raises(AppError, match="the model in service is as it was"):
        put(new, service)
    assert state(service.parent) == before


@pytest.mark.parametrize("call", ["fsync", "replace", "link"])
@pytest.mark.parametrize("after", range(5))
def test_a_write_that_fails_at_any_step_leaves_a_sound_file(service, new, private, public, monkeypatch, call, after):
    """Whatever was done by then, a service that asks for signatures starts."""
    sign(service, private)
    sign(new, private)
    real, calls = getattr(os, call), []

    def failing(*arguments, **options):
        calls.append(arguments)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        if call == "link":  # FAT knows none: then it is a copy that fails
            patch.setattr(shutil, "copyfile", failing)
        try:
            put(new, service, public)
        except AppError as error:
            assert "cannot install" in str(error)
    bundle = open_bundle(service, read_public_key(public))
    assert bundle.manifest.name in ("old", "new")
    assert not [name for name in state(service.parent) if name.endswith(".new")]


def test_where_the_file_system_knows_no_links_the_old_file_is_copied(service, new, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    before = service.read_bytes()
    monkeypatch.setattr(os, "link", refused)
    put(new, service)
    assert state(service.parent) == {"model.tflite": new.read_bytes(), "model.tflite.previous": before}


def test_signatures_go_with_their_files(service, new, private, public):
    sign(service, private)
    sign(new, private)
    signatures = signature_path(service).read_bytes(), signature_path(new).read_bytes()
    put(new, service, public)
    key = read_public_key(public)
    assert open_bundle(service, key).notice == ""
    assert signature_path(service).read_bytes() == signatures[1]
    assert signature_path(previous_path(service)).read_bytes() == signatures[0]
    service.write_bytes(b"")
    assert open_bundle(service, key).manifest.name == "old"


def test_an_unsigned_model_is_not_installed_where_signatures_are_asked_for(service, new, private, public):
    sign(service, private)
    before = state(service.parent)
    with pytest.raises(BundleError, match="expected its signature"):
        put(new, service, public)
    assert state(service.parent) == before


def test_an_unsigned_model_takes_the_old_signature_away(service, new, private):
    sign(service, private)
    put(new, service)
    assert sorted(state(service.parent)) == ["model.tflite", "model.tflite.previous", "model.tflite.previous.sig"]


def test_a_well_made_stranger_does_not_push_the_last_good_one_out(service, new, private, public, tiny):
    """Somebody writes a sound but unsigned bundle over the one in service; then the owner installs."""
    sign(service, private)
    sign(new, private)
    put(new, service, public)
    tiny_bundle.write(service, tiny_bundle.build(seed=1), tiny_bundle.bank(), name="stranger")
    put(new, service, public)
    assert read_bundle(previous_path(service)).manifest.name == "old"


def test_a_file_replaced_while_it_is_copied(service, new, tiny, monkeypatch):
    before = state(service.parent)
    real = shutil.copyfileobj

    def swapped(reading, writing, length):
        other = tiny_bundle.write(new.with_name("other"), tiny_bundle.build(seed=1), tiny_bundle.bank())
        with open(other, "rb") as stream:
            real(stream, writing, length)

    monkeypatch.setattr(shutil, "copyfileobj", swapped)
    with pytest.raises(AppError, match="replaced while it was copied"):
        put(new, service)
    assert state(service.parent) == before


def test_labels_are_signed_as_labels(tmp_path, private, public):
    path, key = tmp_path / "labels.npz", read_public_key(public)
    path.write_bytes(labels_to_bytes(tiny_bundle.bank()))
    assert accepted_labels(path).names == tiny_bundle.bank().names
    with pytest.raises(LabelError, match="expected its signature"):
        accepted_labels(path, key)
    sign(path, private, "labels")
    assert accepted_labels(path, key).names == tiny_bundle.bank().names
    sign(path, private, "bundle")
    with pytest.raises(LabelError, match="no signature"):
        accepted_labels(path, key)


def test_names_that_cannot_be_printed_are_refused(tmp_path, tiny):
    sound = json.loads(to_json(tiny.manifest))
    first, *rest = sound["stages"]
    path = tmp_path / "x.tflite"
    for changes in ({"name": "a\nb"}, {"stages": [{**first, "signature": "stage\n0\x1b[31m"}, *rest]}):
        path.write_bytes(sealed(tiny.flatbuffer, {**sound, **changes}, {}))
        with pytest.raises(BundleIncompatible, match="should be a line") as refusal:
            checked_bundle(path)
        assert str(refusal.value).isprintable()


def test_what_readers_raise_on_odd_bytes_is_one_line(tmp_path, tiny, monkeypatch):
    path = tmp_path / "a\nb\x1b[31m.tflite"
    for error in (RecursionError("too deep\nby far"), MemoryError(), KeyError("x")):
        monkeypatch.setattr(trusted, "read_bundle", lambda _, error=error: (_ for _ in ()).throw(error))
        monkeypatch.setattr(trusted, "read_labels", lambda _, error=error: (_ for _ in ()).throw(error))
        for door, kind in ((checked_bundle, BundleCorrupt), (checked_labels, LabelError)):
            with pytest.raises(kind, match="cannot be read") as refusal:
                door(path)
            assert str(refusal.value).isprintable()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "labels.npz").write_bytes(labels_to_bytes(tiny_bundle.bank(("x\ny\x1b[31m", "b"))))
    path.write_bytes(b"no bundle")
    with pytest.raises(BundleCorrupt) as refusal:
        checked_bundle(path)
    assert str(refusal.value).isprintable()
    assert "a b?[31m" in str(refusal.value)
