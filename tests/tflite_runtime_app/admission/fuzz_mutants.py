"""Mutants, each from a seed and a number: bundles, text towers, label files and images, as accident and malice make them.

Most of the bundles and text towers have their digests made anew, so that what was done to them is met by the checks behind the first.
"""

import dataclasses
import hashlib
import io
import json
import pickle
import random
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from tests.tflite_runtime_app import tiny_bundle, tiny_text
from tflite_runtime_app.bundle import calibration_outputs
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.bundle.manifest import to_json

INTERESTING = (0, 1, -1, 2, 3, 4, 7, 8, 16, 127, 128, 255, 256, 32767, 65535, 65536, 1 << 20, (1 << 31) - 1, -(1 << 31), 1 << 24)
KINDS = ("bundle", "text", "labels", "image")
SHARES = (0.6, 0.15, 0.1, 0.15)
WAYS = ("raw", "model", "tables", "manifest", "members")
SHARES_OF_WAYS = {"bundle": (0.25, 0.17, 0.22, 0.26, 0.1), "text": (0.2, 0.25, 0.35, 0.2, 0.0)}


@dataclass(frozen=True)
class Mutant:
    """`how` names what was done, for the report."""

    kind: str
    how: str
    content: bytes


def mutant(seed: int, number: int) -> Mutant:
    """The same bytes for the same seed and number, on every machine."""
    draw = random.Random(f"{seed}/{number}")
    kind = draw.choices(KINDS, SHARES)[0]
    if kind in SHARES_OF_WAYS:
        how = draw.choices(WAYS, SHARES_OF_WAYS[kind])[0]
        return Mutant(kind, how, _MAKE[how](draw, kind))
    if kind == "labels":
        return Mutant(kind, "npz", _npz(draw))
    return Mutant(kind, *_image(draw))


def damaged(content: bytes, draw: random.Random) -> bytes:
    """`content` with bits flipped, parts cut, doubled, overwritten or put elsewhere, a few times."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        if len(found) < 16:
            break
        place = draw.randrange(len(found))
        if draw.random() < 0.25:  # heads and tails hold the structure
            place = draw.choice((draw.randrange(16), len(found) - 1 - draw.randrange(min(len(found), 200))))
        length = draw.choice((1, 2, 4, 16, 64, 500))
        other = draw.randrange(len(found))
        match draw.randrange(8):
            case 0:
                found[place] ^= 1 << draw.randrange(8)
            case 1:
                found[place] = draw.randrange(256)
            case 2:
                del found[place:]
            case 3:
                del found[place : place + length]
            case 4:
                found[place:place] = found[other : other + length]
            case 5:
                found[place : place + length] = bytes([draw.choice((0, 255, 65))]) * min(length, len(found) - place)
            case 6:
                form = draw.choice(("<H", "<I", ">H", ">I", "<Q"))
                value = draw.choice(INTERESTING) % (1 << 8 * struct.calcsize(form))
                if place + struct.calcsize(form) <= len(found):
                    struct.pack_into(form, found, place, value)
            case 7:
                found += draw.randbytes(length) if draw.random() < 0.5 else found[other : other + length]
    return bytes(found)


@dataclass(frozen=True)
class Sound:
    """A file before it is harmed: the flatbuffer, the description's name and JSON text, and the other members."""

    flatbuffer: bytes
    described: str
    description: str
    members: dict[str, bytes]

    def sealed(self, **changes) -> bytes:
        """With the parts that `changes` name in place of its own, and every digest made to fit."""
        parts = {"flatbuffer": self.flatbuffer, "description": json.loads(self.description), "members": self.members, **changes}
        return sealed(parts["flatbuffer"], parts["description"], parts["members"], self.described)


@cache
def _sound(kind: str) -> tuple[Sound, ...]:
    """Two tiny bundles, the second with a stream of two terms, each with every member; or a text tower for each form of weights."""
    if kind == "text":
        towers = [tiny_text.emit(tiny_text.tower(), form, tiny_text.LENGTHS) for form in ("float16", "int8", "float32")]
        description = json.dumps(dataclasses.asdict(tiny_text.manifest()))
        return tuple(Sound(tower, "text.json", description, {}) for tower in towers)
    found = []
    for two_term in (False, True):
        tiny = tiny_bundle.build(two_term)
        random_codes = np.random.default_rng(3)
        memory = calibration_outputs.Remembered(
            random_codes.integers(-128, 128, (5, 3, tiny_bundle.EMBEDDING), np.int8),
            random_codes.integers(-128, 128, (5, 2), np.int8),
        )
        members = {
            "labels.npz": labels_to_bytes(tiny_bundle.bank()),
            "report.json": b'{"cosine": 0.99}',
            "remembered.npz": calibration_outputs.to_bytes(memory),
        }
        found.append(Sound(tiny.flatbuffer, "manifest.json", to_json(tiny.manifest), members))
    return tuple(found)


def prepare() -> None:
    """What mutants are made of is there, so that forks need not make it again."""
    for kind in SHARES_OF_WAYS:
        for sound in _sound(kind):
            _whole(sound.flatbuffer, kind), _model_of(sound.flatbuffer)
    _pictures(), burst()


@cache
def _whole(flatbuffer: bytes, kind: str) -> bytes:
    return next(sound for sound in _sound(kind) if sound.flatbuffer == flatbuffer).sealed()


def _raw(draw: random.Random, kind: str) -> bytes:
    return damaged(_whole(draw.choice(_sound(kind)).flatbuffer, kind), draw)


def _model(draw: random.Random, kind: str) -> bytes:
    """The flatbuffer's bytes damaged, its numbers above all, and every digest made to fit."""
    sound = draw.choice(_sound(kind))
    content = bytearray(sound.flatbuffer)
    tables = len(content) // 4 if kind == "bundle" else 2000  # of a text tower's file the tables stand first, then the weights
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        place = draw.randrange(2, tables) * 4
        (value,) = struct.unpack_from("<i", content, place)
        changed = draw.choice((*INTERESTING, value + 1, value - 1, value + 4, value - 4, value * 2, -value, draw.getrandbits(32)))
        struct.pack_into("<I", content, place, changed % (1 << 32))
    return sound.sealed(
        flatbuffer=bytes(content) if draw.random() < 0.75 else sound.flatbuffer[:8] + damaged(sound.flatbuffer[8:], draw)
    )


def _tables(draw: random.Random, kind: str) -> bytes:
    """A sound flatbuffer that says something else: indices, shapes, types, codes, options, grids."""
    sound = draw.choice(_sound(kind))
    while True:
        model = pickle.loads(_model_of(sound.flatbuffer))
        for _ in range(draw.choice((1, 1, 2, 3))):
            _change(model, draw)
        builder = flatbuffers.Builder(1 << 14)
        try:
            builder.Finish(model.Pack(builder), b"TFL3")
        except Exception:  # a number that does not go into its field, a table of the wrong kind: draw again
            continue
        return sound.sealed(flatbuffer=bytes(builder.Output()))


def _manifest(draw: random.Random, kind: str) -> bytes:
    """What the file says of itself is something else in one place or a few; the exits' policy among them."""
    sound = draw.choice(_sound(kind))
    description = json.loads(sound.description)
    if kind == "bundle" and draw.random() < 0.4:
        description["policy"] = {"name": draw.choice(POLICIES), "parameters": _parameters(draw)}
        description["calibration"]["risk"] = {name: draw.choice(NUMBERS) for name in ("alpha", "delta")}
    for _ in range(draw.choice((0, 1, 1, 2))):
        _change_json(description, draw)
    return sound.sealed(description=description)


POLICIES = ("never", "always", "confidence", "class-based", "patience", "lct", "ltt-lct", "ltt-lact")
NUMBERS = (0, 1, -1, 0.5, 2.0, 3, 1e9, 1e308, -1e9, float("nan"), float("inf"), 0.1, 0.04, 127, 128, 129, 4096)


def _parameters(draw: random.Random) -> dict[str, float]:
    names = draw.choice(
        (("threshold",), ("exit",), ("in_a_row",), ("offset_0", "offset_1"), ("0", "1", "2", "3"), ("0", "1"), ())
    )
    return {name: draw.choice(NUMBERS) for name in names}


@cache
def _model_of(flatbuffer: bytes) -> bytes:
    return pickle.dumps(schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer, 0)))


@cache
def burst() -> bytes:
    """A label matrix of a megabyte that unpacks to three hundred."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("vectors.npy", "w", force_zip64=True) as member:
            member.write(header("{'descr': '<f2', 'fortran_order': False, 'shape': (25000000, 6), }"))
            for _ in range(300):
                member.write(bytes(1_000_000))
        for name in ("names", "templates", "space_id"):
            archive.writestr(f"{name}.npy", header("{'descr': '<U1', 'fortran_order': False, 'shape': (), }") + b"x\0\0\0")
    return buffer.getvalue()


def _change(thing: object, draw: random.Random) -> None:
    """One field, somewhere below `thing`, is another."""
    fields = [name for name, value in vars(thing).items() if value is not None and name != "data"]
    absent = [name for name, value in vars(thing).items() if value is None]
    if not fields or (absent and draw.random() < 0.02):
        if absent:
            setattr(thing, draw.choice(absent), draw.choice(([], [0], [1, 2, 3], b"x", 1)))
        return
    name = draw.choice(fields)
    value = getattr(thing, name)
    if hasattr(value, "__dict__"):
        _change(value, draw) if draw.random() < 0.97 else setattr(thing, name, None)
    elif isinstance(value, list) and value and hasattr(value[0], "__dict__"):
        match draw.choices(("in", "drop", "double", "swap", "move"), (0.88, 0.03, 0.03, 0.03, 0.03))[0]:
            case "in":
                _change(draw.choice(value), draw)
            case "drop":
                value.pop(draw.randrange(len(value)))
            case "double":
                value.append(draw.choice(value))
            case "swap" | "move":
                value.insert(draw.randrange(len(value)), value.pop(draw.randrange(len(value))))
    elif isinstance(value, list | np.ndarray) and len(value):
        numbers = [n.item() if isinstance(n, np.generic) else n for n in value]
        if draw.random() < 0.8:
            numbers[draw.randrange(len(numbers))] = _other(numbers[0], draw)
        else:
            numbers = draw.choice(([], numbers[:-1], numbers + numbers[-1:], numbers[::-1]))
        setattr(thing, name, numbers)
    elif isinstance(value, bytes):
        setattr(thing, name, draw.choice((b"", b"\xff\xfe", value + b"\n", b"stage_1", value[:-1], b"A" * 5000)))
    else:
        setattr(thing, name, _other(value, draw))


def _other(value, draw: random.Random):
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return draw.choice((0.0, -1.0, float("nan"), float("inf"), 1e-45, 1e-12, 1e12, 3e38, value * 2, value / 1024))
    if not isinstance(value, int):  # a field that an earlier change filled with a list or a text
        return draw.choice(INTERESTING)
    return draw.choice((*INTERESTING, value + 1, value - 1, value * 2, draw.randrange(160)))


def _members(draw: random.Random, kind: str) -> bytes:
    """Labels, report and memory changed; or the zip is not what it seems."""
    sound = draw.choice(_sound(kind))
    members = dict(sound.members)
    match draw.randrange(4):
        case 0:
            members["labels.npz"] = _npz(draw)
        case 1:
            members["remembered.npz"] = draw.choice((_npz(draw), damaged(members["remembered.npz"], draw)))
        case 2:
            members["report.json"] = draw.choice(
                (b"[" * 100_000, b'{"a":' * 50_000, b"\xff", b"[]", b"null", b"1e999", b'"\\ud800"')
            )
        case 3:
            names = list(members)
            draw.shuffle(names)
            members = dict(zip(names, members.values(), strict=True))
    tricks = (None, None, None, "twice", "deflated", "sizes", "crc", "name", "flags")
    return sealed(sound.flatbuffer, json.loads(sound.description), members, sound.described, draw.choice(tricks), draw)


_MAKE = {"raw": _raw, "model": _model, "tables": _tables, "manifest": _manifest, "members": _members}


def _change_json(value, draw: random.Random) -> None:
    """One leaf of a parsed JSON value is something else."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return
    key = draw.choice(keys)
    if isinstance(value[key], dict | list) and value[key] and draw.random() < 0.85:
        _change_json(value[key], draw)
    else:
        odd = (
            None,
            True,
            -1,
            0,
            1e308,
            float("nan"),
            float("inf"),
            10**30,
            "",
            "x\ny\x1b[31m",
            [],
            {},
            [[]],
            "A" * 10_000,
            0.5,
            2**31,
        )
        value[key] = draw.choice(odd)


def sealed(
    flatbuffer: bytes,
    description: dict,
    members: dict[str, bytes],
    described: str = "manifest.json",
    trick: str | None = None,
    draw: random.Random | None = None,
) -> bytes:
    """A file whose digests all hold, whatever stands in it; `described` is the member that `description`, parsed JSON, becomes."""
    description = dict(description, flatbuffer_sha256=_sha256(flatbuffer))
    if described == "manifest.json":
        description["members"] = {name: _sha256(content) for name, content in members.items()}
    buffer = io.BytesIO(flatbuffer)
    buffer.seek(0, io.SEEK_END)
    how = zipfile.ZIP_DEFLATED if trick == "deflated" else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", how) as archive:
        everything = {described: json.dumps(description).encode(), **members}
        for name, content in everything.items():
            archive.writestr(zipfile.ZipInfo("../labels.npz" if trick == "name" and name == "labels.npz" else name), content, how)
        if trick == "twice":
            archive.fp.flush()
            archive.NameToInfo.clear()
            archive.writestr(zipfile.ZipInfo("labels.npz"), members.get("report.json", b"{}"))
        archive.comment = b"0" * 64
    data = bytearray(buffer.getvalue()[:-64])
    if trick in ("sizes", "crc", "flags") and draw is not None:
        entry = data.rindex(b"PK\x01\x02")  # the last member's entry in the zip's directory
        offset = {"sizes": draw.choice((20, 24, 42)), "crc": 16, "flags": draw.choice((6, 8, 10))}[trick]
        form = "<H" if trick == "flags" else "<I"
        struct.pack_into(form, data, entry + offset, draw.choice(INTERESTING) % (1 << 8 * struct.calcsize(form)))
    return bytes(data) + _sha256(data).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _npz(draw: random.Random) -> bytes:
    """A label matrix damaged, or rebuilt with an array that is not what its header says, or packed to burst."""
    sound = _sound("bundle")[0].members["labels.npz"]
    if draw.random() < 0.5:
        return damaged(sound, draw)
    with zipfile.ZipFile(io.BytesIO(sound)) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(list(arrays))
    how = zipfile.ZIP_STORED
    match draw.randrange(6):
        case 0:
            shape = draw.choice(
                ("(1000000000000, 6)", "(4, 6000000000)", "(-4, 6)", "(4,)", "()", "(0, 6)", "(4, 6, 1)", "(4.0, 6)")
            )
            kind = draw.choice(("<f2", "<f8", "|O", "<U400000000", "|V8", "<M8[ns]", ">f4", "garbage", "[('a', '<f4')]"))
            arrays[name] = header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}") + arrays[name][128:]
        case 1:
            arrays[name] = header("(" * 5000)
        case 2:
            return burst()
        case 3:
            arrays[name] = damaged(arrays[name], draw)
        case 4:
            del arrays[name]
        case 5:
            odd = draw.choice(
                (np.full((4, 6), np.nan, np.float16), np.array(["a\nb"] * 4), np.array(3), np.array(["", "b", "c", "d"]))
            )
            member = io.BytesIO()
            np.save(member, odd)
            arrays[name] = member.getvalue()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how, compresslevel=1) as archive:
        for key, content in arrays.items():
            archive.writestr(key, content)
    return buffer.getvalue() if draw.random() < 0.7 else damaged(buffer.getvalue(), draw)


def header(text: str) -> bytes:
    """The head of an .npy member that says `text` of its array."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


@cache
def _pictures() -> tuple[tuple[str, bytes], ...]:
    """One small image in every format that is read, some in several kinds."""
    values = np.random.default_rng(5).integers(0, 256, (30, 40, 3), np.uint8)
    values[:15] = np.linspace(0, 255, 40, dtype=np.uint8)[None, :, None]
    image, exif = Image.fromarray(values), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    kinds = [
        ("JPEG", {"exif": exif}),
        ("JPEG", {"progressive": True}),
        ("PNG", {"exif": exif}),
        ("GIF", {}),
        ("BMP", {}),
        ("PPM", {}),
    ]
    kinds += [("TIFF", {"compression": name}) for name in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    kinds += [("WEBP", {"exif": exif}), ("WEBP", {"lossless": True}), ("MPO", {"save_all": True, "append_images": [image]})]
    found = []
    for form, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        found.append((form, buffer.getvalue()))
    for mode, form in (
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("I;16", "PNG"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("1", "TIFF"),
        ("F", "TIFF"),
        ("LAB", "TIFF"),
    ):
        buffer = io.BytesIO()
        other = Image.fromarray(values[..., 0].astype(np.uint16) * 257) if mode == "I;16" else None
        if mode == "LAB":
            other = Image.frombytes("LAB", image.size, image.tobytes())
        (other or image.convert("L" if mode == "F" else mode).convert(mode)).save(buffer, form)
        found.append((form, buffer.getvalue()))
    return tuple(found)


def _image(draw: random.Random) -> tuple[str, bytes]:
    form, content = draw.choice(_pictures())
    match draw.randrange(12):
        case 0:
            return form, content[: draw.randrange(len(content))]
        case 1:
            return form, _pictures()[0][1][: draw.randrange(40)] + content
        case 2:
            return "bomb", _bomb(draw)
        case 3:
            exif = b"Exif\0\0" + damaged(
                b"MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\x01\x0f\0\x02\0\0\0\x07\0\0\0\x1acamera\0", draw
            )
            image, buffer = Image.open(io.BytesIO(_pictures()[3][1])).convert("RGB"), io.BytesIO()
            image.save(buffer, draw.choice(("JPEG", "PNG", "WEBP")), exif=exif)
            return "EXIF", buffer.getvalue()
        case 4:
            return "header", draw.choice(
                (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"8BPS\0\1", b"\0\0\1\0\1\0", b"P7 ", b"II*\0")
            ) + content
        case _:
            return form, damaged(content, draw)


def _bomb(draw: random.Random) -> bytes:
    """A few bytes that promise an image of gigapixels."""
    side = draw.choice((9_000, 30_000, 65_535, 2**31 - 1))
    match draw.randrange(5):
        case 0:
            content = bytearray(dict(_pictures())["PNG"])
            struct.pack_into(">II", content, 16, side, side)
            struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
            return bytes(content)
        case 1:
            content = bytearray(dict(_pictures())["BMP"])
            struct.pack_into("<ii", content, 18, min(side, 2**31 - 1), -side)
            return bytes(content)
        case 2:
            content = bytearray(dict(_pictures())["GIF"])
            struct.pack_into("<HH", content, 6, side % 65536, side % 65536)
            return bytes(content)
        case 3:
            return b"P6 %d %d 255 " % (side, side) + bytes(100)
        case _:
            return b"P5 %d 1 65535 " % (side * 100) + bytes(100)
