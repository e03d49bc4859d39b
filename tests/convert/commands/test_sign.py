"""`convert sign` makes keys and signatures that a board takes, and signs nothing that a board would refuse."""

import base64
import hashlib
import stat

import pytest

from convert.cli import main
from tests.tflite_runtime_app import tiny_bundle, tiny_text
from tflite_runtime_app.admission.signing import message, read_public_key, verify
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.errors import BundleCorrupt, LabelError


def words(*values) -> list[str]:
    return [str(value) for value in values]


@pytest.fixture
def keys(tmp_path, capsys):
    folder = tmp_path / "keys"
    assert main(words("sign", "--new-key", folder)) == 0
    assert capsys.readouterr().out.splitlines() == words(folder / "private.pem", folder / "public.pem")
    return folder


@pytest.fixture
def bundle_path(tmp_path):
    return tiny_bundle.write(tmp_path / "tiny.tflite", tiny_bundle.build(), tiny_bundle.bank())


def test_only_the_owner_reads_the_private_key(keys):
    assert stat.S_IMODE((keys / "private.pem").stat().st_mode) == 0o600


def test_keys_are_never_written_over(keys, capsys):
    before = (keys / "private.pem").read_bytes()
    assert main(words("sign", "--new-key", keys)) == 2
    assert "exists" in capsys.readouterr().err
    assert (keys / "private.pem").read_bytes() == before


def test_the_signature_is_ed25519_over_kind_and_digest(keys, bundle_path, capsys):
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    assert main(words("sign", bundle_path, "--key", keys / "private.pem")) == 0
    assert capsys.readouterr().out.strip() == f"{bundle_path}.sig"
    signed = b"clip-rescue bundle v1\n" + hashlib.sha256(bundle_path.read_bytes()).hexdigest().encode()
    signature = base64.b64decode((bundle_path.parent / "tiny.tflite.sig").read_text())
    load_pem_public_key((keys / "public.pem").read_bytes()).verify(signature, signed)
    assert message("bundle", bundle_path.read_bytes()) == signed
    assert verify(bundle_path, "bundle", read_public_key(keys / "public.pem")) == bundle_path.read_bytes()


def test_the_kind_follows_from_the_name_and_can_be_given(keys, tmp_path):
    key = read_public_key(keys / "public.pem")
    (tmp_path / "my.npz").write_bytes(labels_to_bytes(tiny_bundle.bank()))
    tiny_text.write(tmp_path / "a.text.tflite")
    tiny_text.write(tmp_path / "odd.bin")
    for name, kind, options in (
        ("my.npz", "labels", ()),
        ("a.text.tflite", "text-tower", ()),
        ("odd.bin", "text-tower", ("--kind", "text-tower")),
    ):
        assert main(words("sign", tmp_path / name, "--key", keys / "private.pem", *options)) == 0
        verify(tmp_path / name, kind, key)
        with pytest.raises((BundleCorrupt, LabelError), match="no signature of this file"):
            verify(tmp_path / name, "bundle", key)


def test_what_a_board_would_refuse_is_not_signed(keys, bundle_path, tmp_path, capsys):
    bundle_path.write_bytes(bundle_path.read_bytes()[:-1])
    (tmp_path / "my.npz").write_bytes(b"no labels")
    (tmp_path / "a.text.tflite").write_bytes(b"no text tower")
    for path in (bundle_path, tmp_path / "my.npz", tmp_path / "a.text.tflite"):
        assert main(words("sign", path, "--key", keys / "private.pem")) == 3
        assert capsys.readouterr().err.count("\n") == 1
        assert not path.with_name(f"{path.name}.sig").exists()


def test_usage_errors_are_one_line(keys, bundle_path, tmp_path, capsys):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(pem, form, serialization.BestAvailableEncryption(b"secret"))
    (tmp_path / "locked.pem").write_bytes(locked)
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, form, serialization.NoEncryption())
    (tmp_path / "other.pem").write_bytes(other)
    (tmp_path / "odd.bin").write_bytes(b"")
    private = keys / "private.pem"
    for arguments, found in (
        ((), "expected FILE with --key"),
        ((bundle_path,), "expected FILE with --key"),
        ((bundle_path, "--key", private, "--new-key", tmp_path / "x"), "expected FILE with --key"),
        ((bundle_path, "--key", keys / "public.pem"), "private key in a PEM file"),
        ((bundle_path, "--key", tmp_path / "absent.pem"), "No such file"),
        ((bundle_path, "--key", tmp_path / "locked.pem"), "without a password"),
        ((bundle_path, "--key", tmp_path / "other.pem"), "expected an Ed25519 key"),
        ((bundle_path, "--key", private, "--kind", "song"), "'song'"),
        ((tmp_path / "odd.bin", "--key", private), "--kind"),
        ((tmp_path / "absent.tflite", "--key", private), "No such file"),
    ):
        assert main(words("sign", *arguments)) == 2, arguments
        err = capsys.readouterr().err
        assert found in err
        assert err.count("\n") == 1
