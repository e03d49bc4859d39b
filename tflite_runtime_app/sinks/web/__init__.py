"""A page that a phone opens: the live image, its labels, where frames leave, how the source does, and a box for other labels.

The only files that import bottle and waitress are `site` and `server`; both are loaded when a page is asked for.
"""

from __future__ import annotations

from tflite_runtime_app.sinks.web.sink import WebSink

__all__ = ["WebSink"]
