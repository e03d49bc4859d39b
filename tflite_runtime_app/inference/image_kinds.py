"""Which files are images: by their names where a folder or an archive is gone through, by their first bytes where one is opened.

The list of formats is closed: Pillow knows some forty kinds more, of which one starts a PostScript interpreter; every decoder is a way in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

from tflite_runtime_app.inference import heif

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # what every Pillow reads
EXPECTED = "expected an image (AVIF, BMP, GIF, HEIC, JPEG, PNG, PPM, TIFF or WebP)"
HEAD = 512  # bytes that `found_in` and `formats_for` look at

_SUFFIXES = frozenset(
    {
        *(".jfi", ".jfif", ".jif", ".jpe", ".jpeg", ".jpg"),
        *(".apng", ".bmp", ".gif", ".png", ".tif", ".tiff", ".webp"),
        *(".pbm", ".pgm", ".pnm", ".ppm"),
    }
)  # of files in FORMATS
_AVIF, _HEIC = frozenset({".avif", ".avifs"}), frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
# What shows images and is not read here. Films, notes and whatever else lies in a folder of images is nobody's loss.
_CAMERAS = (".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw")
_DRAWN = (".eps", ".exr", ".hdr", ".j2k", ".jp2", ".jpx", ".jxl", ".jxr", ".psd", ".svg", ".tga")
_PACKED = (".7z", ".rar", ".tar", ".tgz", ".zip")
_OTHERS = {
    **dict.fromkeys((*_CAMERAS, *_DRAWN), "convert to JPEG or PNG"),
    **dict.fromkeys(_PACKED, "unpack"),
}
# Files and folders that systems put beside images: the second halves of Apple's files, thumbnails, waste.
_FOREIGN_FOLDERS = frozenset({"__MACOSX", ".AppleDouble", ".Spotlight-V100", ".Trashes", ".thumbnails", "@eaDir"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_SIGNS = (
    (b"PK\x03\x04", "a zip archive; unpack it and name the folder"),
    (b"\x1f\x8b", "a compressed file; unpack it and name the folder"),
    (b"\x00\x05\x16\x07", "the second half of a file from macOS, which holds no pixels"),
    (b"%PDF", "a PDF file; convert its pages to JPEG or PNG"),
    (b"\xff\x0a", "JPEG XL; convert it to JPEG or PNG"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL; convert it to JPEG or PNG"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000; convert it to JPEG or PNG"),
)


def is_image(name: str) -> bool:
    """Whether a file of this name, which may be a path below where one began to look, is an image that is read here."""
    suffix = _suffix(name)
    return suffix in _SUFFIXES or (suffix in _AVIF and avif_available()) or (suffix in _HEIC and heif.available())


def suffixes() -> tuple[str, ...]:
    """The endings of names that are read here, sorted."""
    return tuple(sorted(ending for ending in _SUFFIXES | _AVIF | _HEIC if is_image(f"x{ending}")))


def remedy(name: str) -> str:
    """What to do about an image that is not read here, by its name; empty for one that is, and for what is no image."""
    suffix = _suffix(name)
    if is_image(name):
        return ""
    if suffix in _HEIC:
        return heif.REMEDY
    return "pip install 'Pillow>=11.3'" if suffix in _AVIF else _OTHERS.get(suffix, "")


def left_out(names: Iterable[str]) -> str:
    """How many of the names are images that are not read here, by kind, each with what to do; empty where there are none."""
    count = Counter(_suffix(name) for name in names if remedy(name))
    return "; ".join(f"{number} {suffix} left out: {remedy(f'x{suffix}')}" for suffix, number in sorted(count.items()))


def formats_for(head: bytes) -> tuple[str, ...]:
    """Pillow's formats that a file with these first bytes is tried as: AVIF and HEIC only where they say so, and can be read."""
    brands = _brands(head)
    if brands & _AVIF_BRANDS:
        return ("AVIF",) if avif_available() else ()
    if brands & _HEIC_BRANDS:
        if not heif.available():
            return ()
        heif.register()
        return ("HEIF",)
    return FORMATS


def found_in(head: bytes) -> str:
    """What a file with these first bytes is that was not read, and what to do about it."""
    brands = _brands(head)
    if brands & _AVIF_BRANDS:
        return "AVIF without its decoder: pip install 'Pillow>=11.3'"
    if brands & _HEIC_BRANDS:
        return f"HEIC without its decoder: {heif.REMEDY}"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it and name the folder"
    return next((found for sign, found in _SIGNS if head.startswith(sign)), "another kind of file")


def avif_available() -> bool:
    """Whether this Pillow has a decoder for AVIF."""
    try:
        from PIL import AvifImagePlugin
    except ImportError:  # before 11.3
        return False
    return AvifImagePlugin.SUPPORTED


def _suffix(name: str) -> str:
    """The ending of a name in small letters; empty for what a system put there."""
    path = PurePath(name)
    if path.name.startswith("._") or not _FOREIGN_FOLDERS.isdisjoint(path.parts[:-1]):
        return ""
    return path.suffix.lower()


def _brands(head: bytes) -> frozenset[bytes]:
    """The brands of a file of the MP4 family; none of any other."""
    if head[4:8] != b"ftyp":
        return frozenset()
    listed = head[8 : min(len(head), int.from_bytes(head[:4], "big"))]
    return frozenset(listed[at : at + 4] for at in range(0, len(listed), 4) if at != 4)  # the second is a version
