"""A signature is taken for the file, the kind and the key that it was made for, and for nothing else."""

import base64
import subprocess
import sys
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.admission.signing import message, read_public_key, signature_path, verify, verify_bundle
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.errors import BundleCorrupt, BundleError, BundleIncompatible, LabelError, UsageError


@pytest.fixture(scope="module")
def private():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def key(private, tmp_path):
    (tmp_path / "public.pem").write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return read_public_key(tmp_path / "public.pem")


def sign(path, private, kind="bundle") -> None:
    signature_path(path).write_bytes(base64.b64encode(private.sign(message(kind, path.read_bytes()))))


def test_a_signed_bundle_is_taken(bundle_path, private, key):
    sign(bundle_path, private)
    assert verify(bundle_path, "bundle", key) == bundle_path.read_bytes()
    verify_bundle(read_bundle(bundle_path), key)


def test_one_changed_byte_of_file_or_signature_is_found(bundle_path, private, key):
    sign(bundle_path, private)
    for path in (bundle_path, signature_path(bundle_path)):
        before = path.read_bytes()
        for place in (0, len(before) // 2, len(before) - 3):
            path.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
            with pytest.raises(BundleCorrupt):
                verify(bundle_path, "bundle", key)
        path.write_bytes(before)
    verify(bundle_path, "bundle", key)


def test_a_bundle_whose_digests_were_made_anew_is_refused(bundle_path, tiny, private, key):
    """What digests cannot tell: another model, sealed as well as the first."""
    sign(bundle_path, private)
    tiny_bundle.write(bundle_path, tiny_bundle.build(seed=1), tiny_bundle.bank())
    bundle = read_bundle(bundle_path)
    with pytest.raises(BundleCorrupt, match=r"no signature of this file as bundle by the key given; get the file again"):
        verify_bundle(bundle, key)


def test_another_key_is_refused(bundle_path, key):
    sign(bundle_path, Ed25519PrivateKey.generate())
    with pytest.raises(BundleCorrupt, match="no signature of this file"):
        verify(bundle_path, "bundle", key)


def test_a_signature_is_for_one_kind_of_file(tmp_path, private, key):
    path = tmp_path / "labels.npz"
    path.write_bytes(labels_to_bytes(tiny_bundle.bank()))
    sign(path, private, "labels")
    verify(path, "labels", key)
    for kind in ("bundle", "text-tower"):
        with pytest.raises(BundleCorrupt):
            verify(path, kind, key)
    sign(path, private, "bundle")
    with pytest.raises(LabelError):
        verify(path, "labels", key)


@pytest.mark.parametrize(
    "content", [b"", b"not base64!", base64.b64encode(b"short"), base64.b64encode(bytes(65)), b"A" * 100_000, b"\xff"]
)
def test_what_is_no_signature(bundle_path, private, key, content):
    signature_path(bundle_path).write_bytes(content)
    with pytest.raises(BundleCorrupt, match="64 bytes in base64") as refusal:
        verify(bundle_path, "bundle", key)
    assert len(str(refusal.value).splitlines()) == 1


def test_missing_files(bundle_path, private, key):
    with pytest.raises(BundleError, match=r"expected its signature .*tiny\.tflite\.sig, found none; sign it with: convert sign"):
        verify(bundle_path, "bundle", key)
    signature_path(bundle_path).mkdir()
    with pytest.raises(BundleError, match="readable signature"):
        verify(bundle_path, "bundle", key)
    with pytest.raises(BundleError, match="readable file"):
        verify(bundle_path.with_name("absent"), "bundle", key)


def test_a_file_that_changes_between_reading_and_verifying(bundle_path, tiny, private, key):
    """What was read is not what is signed: somebody put the sound file back in between."""
    tiny_bundle.write(bundle_path, tiny_bundle.build(seed=1), tiny_bundle.bank())
    read_early = read_bundle(bundle_path)
    tiny_bundle.write(bundle_path, tiny, tiny_bundle.bank())
    sign(bundle_path, private)
    with pytest.raises(BundleIncompatible, match="was replaced while it was read"):
        verify_bundle(read_early, key)
    verify_bundle(replace(read_early, manifest=read_bundle(bundle_path).manifest), key)


def test_what_is_no_public_key(tmp_path, private):
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content in (b"", b"hello", secret, other):
        (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(UsageError, match="expected a public Ed25519 key"):
            read_public_key(tmp_path / "key.pem")
    with pytest.raises(UsageError, match="No such file"):
        read_public_key(tmp_path / "absent.pem")


def test_without_the_library_the_remedy_is_one_line(tmp_path):
    program = """
import sys
sys.modules["cryptography"] = None
from tflite_runtime_app.admission import signing
from tflite_runtime_app.admission import open as trusted
assert not [name for name in sys.modules if name.startswith("cryptography.")], "imported before it was asked for"
try:
    signing.read_public_key("key.pem")
except signing.UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "install it with: pip install cryptography" in done.stdout
    assert done.stdout.count("\n") == 1
