"""What a manifest's preprocessing may ask for."""

from __future__ import annotations

from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.errors import BundleIncompatible

RESIZE_MODES = ("shortest", "squash")
INTERPOLATIONS = ("bicubic", "bilinear")


def check_preprocessing(preprocessing: Preprocessing) -> None:
    """Returns when this program can do `preprocessing`; raises BundleIncompatible naming what it cannot do."""
    for what, found, known in (
        ("resize mode", preprocessing.resize_mode, RESIZE_MODES),
        ("interpolation", preprocessing.interpolation, INTERPOLATIONS),
    ):
        if found not in known:
            raise BundleIncompatible(
                f"this program knows the {what}s {', '.join(known)}, the bundle asks for {found!r}; "
                "install the version that built it"
            )
    if preprocessing.height < 1 or preprocessing.width < 1:
        raise BundleIncompatible(
            f"the bundle asks for images of {preprocessing.height} x {preprocessing.width}; build it again with: convert build"
        )
