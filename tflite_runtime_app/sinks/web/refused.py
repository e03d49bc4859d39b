"""What the page does not do, and why: one line for whoever asked."""

from __future__ import annotations

from tflite_runtime_app.errors import AppError


class Refused(AppError):
    """A request that is answered with `status`, an HTTP status of 4xx or 5xx, and the message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
