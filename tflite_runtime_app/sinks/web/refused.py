"""What the page does not do, and why: one line for whoever asked."""

from __future__ import annotations

from collections.abc import Mapping

from tflite_runtime_app.errors import AppError


class Refused(AppError):
    """A request that is answered with `status`, an HTTP status of 4xx or 5xx, and the message; `headers` go with it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
