"""A page that a phone opens: the live image, its labels, where frames leave, how the source does, and a box for other labels.

Tornado is imported by `door` alone, which is loaded when a page is asked for.
"""

from __future__ import annotations

from tflite_runtime_app.sinks.web.sink import WebSink

__all__ = ["WebSink"]
