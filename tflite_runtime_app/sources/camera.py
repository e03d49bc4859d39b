"""What the kinds of camera have in common: the sentences that help when there is none, or another program has it."""

from __future__ import annotations

from tflite_runtime_app.errors import SourceError

_BUSY = ("in use by another process", "resource busy", "failed to acquire camera", "returned unexpected code: -16")
_ABSENT = ("no cameras available", "list index out of range", "no such device")


def busy(word: str, device: str = "/dev/video0") -> SourceError:
    """Another program has the camera."""
    return SourceError(f"{word}: the camera is busy: another program has it open; stop it (fuser {device} shows its process)")


def absent(word: str) -> SourceError:
    """No camera is connected."""
    return SourceError(f"{word}: expected a camera, found none; check its cable, and what rpicam-hello --list-cameras shows")


def explained(word: str, said: str) -> SourceError | None:
    """What `said`, the words of libcamera or of what stands on it, means; None when that is not known."""
    low = said.lower()
    if any(sign in low for sign in _BUSY):
        return busy(word)
    return absent(word) if any(sign in low for sign in _ABSENT) else None
