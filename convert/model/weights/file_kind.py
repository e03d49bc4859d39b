"""What a file is by its bytes, whatever its name says."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Literal

Kind = Literal["safetensors", "torchscript", "torch"]

AGAIN = "download or copy it again"
EXPECTED = "expected .safetensors, torch.save's .pt, or a TorchScript archive"
LEGACY = (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80")  # torch.save's magic number as a pickle; any other pickle

# Beginnings of files that people give by mistake: what they are, and what to do.
FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the weights it stands for", "fetch them with: git lfs pull"),
    (b"\x1f\x8b", "a gzip archive", "unpack it and give the weight file in it"),
    (b"BZh", "a bzip2 archive", "unpack it and give the weight file in it"),
    (b"\xfd7zXZ\x00", "an xz archive", "unpack it and give the weight file in it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it and give the weight file in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it and give the weight file in it"),
    (b"Rar!", "a RAR archive", "unpack it and give the weight file in it"),
    (b"\x89HDF", "an HDF5 file, as Keras saves", EXPECTED),
    (b"\x93NUMPY", "a NumPy array", EXPECTED),
    (b"GGUF", "a GGUF file", EXPECTED),
    (b"%PDF", "a PDF document", EXPECTED),
    (b"\x89PNG", "a PNG image", EXPECTED),
    (b"\xff\xd8\xff", "a JPEG image", EXPECTED),
)


def kind_of(path: Path) -> Kind:
    """How the weights in the file are stored. Raises ValueError for any other file: what it is, and what to do."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}; give a weight file that you may read") from error
    if not head:
        raise ValueError(f"it is an empty file; {AGAIN}")
    if head[:2] == b"PK":
        return _kind_of_zip(path)
    if head[8:9] == b"{":
        return _safetensors(path, head, size)
    if head[257:262] == b"ustar" and not (head.startswith((b"sys_info", b"pickle", b"storages", b"tensors"))):
        raise ValueError("it is a tar archive; unpack it and give the weight file in it")
    if head[257:262] == b"ustar" or head.startswith(LEGACY):
        return "torch"
    for beginning, what, remedy in FOREIGN:
        if head.startswith(beginning):
            raise ValueError(f"it is {what}; {remedy}")
    if head[4:8] == b"TFL3":
        raise ValueError(f"it is a TensorFlow Lite file; {EXPECTED}")
    raise ValueError(f"it is {_text(head)}")


def _safetensors(path: Path, head: bytes, size: int) -> Kind:
    """The header's length, the header, the tensors: its last offset tells how long the file should be."""
    length = int.from_bytes(head[:8], "little")
    if length > size - 8:
        raise ValueError(f"it is a safetensors file cut short, {size} bytes are left of it; {AGAIN}")
    try:
        with path.open("rb") as file:
            file.seek(8)
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is a safetensors file with a damaged header; {AGAIN}") from error
    if size < whole:
        raise ValueError(f"it is a safetensors file cut short: expected {whole} bytes, found {size}; {AGAIN}")
    return "safetensors"


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise ValueError(f"it is a .pt or zip file cut short or damaged; {AGAIN}") from error
    inner = {name.partition("/")[2] for name in names}
    if "data.pkl" in inner:
        return "torchscript" if "constants.pkl" in inner else "torch"
    if names and all(name.endswith(".npy") for name in names):
        raise ValueError(f"it is a file of NumPy arrays (.npz); {EXPECTED}")
    raise ValueError(f"it is a plain zip archive of {len(names)} files; unpack it and give the weight file in it")


def _text(head: bytes) -> str:
    """What a file of no known kind seems to be, and what to do."""
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if text[:1] == "<":
        return f"a web page (HTML or XML), not a weight file; {AGAIN}, with the link of the file itself and signed in where that is needed"
    if text[:1] in ("{", "["):
        return f"a JSON file, not a weight file; {EXPECTED}"
    if all(letter.isprintable() or letter.isspace() for letter in text[:200]):
        return f"a text file, not a weight file; {EXPECTED}"
    return f"no weight file: of no known kind, or damaged; {EXPECTED}"
