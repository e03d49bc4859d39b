"""The command `classify recalibrate`: a bundle whose exits are fitted to the images of this camera, without a label being known."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.admission.threads import valid_threads
from tflite_runtime_app.bundle import calibration_outputs
from tflite_runtime_app.bundle.file import BACKGROUND, LABELS, REMEMBERED, REPORT, write_bundle
from tflite_runtime_app.bundle.labels import labels_to_bytes
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.commands.options import add_threads, positive, threads_of
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.errors import InferenceError, SourceError, UsageError
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.exits.refit import refit
from tflite_runtime_app.exits.replay import remember, replay
from tflite_runtime_app.exits.risk import ALPHA, DELTA, least_images
from tflite_runtime_app.files import check_target, writing
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.inference.preprocess import image_to_tensor
from tflite_runtime_app.policies import Never
from tflite_runtime_app.sources import frames_of, left_out_of
from tflite_runtime_app.sources.base import Frame
from tflite_runtime_app.text.label_source import LabelSource

SEED = 0  # of the images' order


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments stand in `parser`."""
    parser.add_argument("file", metavar="FILE", help="the bundle, a .tflite made by: convert build")
    parser.add_argument("sources", metavar="IMAGE", nargs="+", help="an image, a folder of images, or a pattern in quotes")
    parser.add_argument("--out", metavar="FILE", required=True, help="the bundle to write")
    parser.add_argument("--labels", metavar="NPZ", help="labels made by: convert labels (default: the bundle's own)")
    parser.add_argument("--risk", type=_share, default=ALPHA, metavar="ALPHA", help="answers that exits may change (%(default)s)")
    parser.add_argument("--delta", type=_share, default=DELTA, help="chance that the bound does not hold (%(default)s)")
    parser.add_argument(
        "--every", type=positive, default=1, metavar="N", help="take every Nth image: frames close in time are alike"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that exists")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """The new bundle lies at --out; 0 when every image was read, 1 when some were not."""
    if os.path.exists(arguments.out) and not arguments.force:
        raise UsageError(f"{arguments.out} exists; name another file, or write over it with --force")
    with writing("--out", arguments.out):
        check_target(arguments.out)
    bundle = accepted_bundle(Path(arguments.file))
    wanted = threads_of(arguments)
    bank = LabelSource(bundle, arguments.labels, threads=wanted).read()
    threads, notice = valid_threads(bundle, wanted)
    tell(notice)
    cascade = load_cascade(bundle, threads, policy=Never())
    images = _Images(arguments.sources, arguments.every, cascade.manifest.preprocessing)
    needed = least_images(arguments.risk, arguments.delta) * 4 // 3 + 1
    found = replay(cascade, images, images.not_answered)
    if not len(found.ms):
        raise UsageError("none of the sources gave an image; give images, folders, or patterns in quotes")
    if images.equal:
        tell(f"{images.equal} images equal others and are left out: {len(found.ms)} are distinct")
    # In the order of their names they may lie class by class, and the first quarter is used for something else than the rest.
    found = found.chosen(np.random.default_rng(SEED).permutation(len(found.ms)).tolist())
    manifest, bound = refit(cascade, bundle.manifest, found, bank, arguments.risk, arguments.delta)
    members = {
        LABELS: labels_to_bytes(bank),
        REPORT: json.dumps(bundle.report).encode(),
        REMEMBERED: calibration_outputs.to_bytes(remember(found, manifest)),
    }
    if bundle.background is not None:
        members[BACKGROUND] = labels_to_bytes(bundle.background)
    calibration = dataclasses.replace(manifest.calibration, images=len(found.ms))
    with writing("--out", arguments.out):
        write_bundle(arguments.out, bundle.flatbuffer, dataclasses.replace(manifest, calibration=calibration), members)
    tell(_verdict(bound.kept >= 0, len(found.ms), needed, manifest.policy.name, bound.losses, bound.images, arguments))
    print(escaped(os.path.abspath(arguments.out)))
    return 1 if images.failed else 0


def _verdict(passed: bool, images: int, needed: int, policy: str, losses: int, tested: int, arguments: argparse.Namespace) -> str:
    if not passed:
        why = f"{images} images cannot show it, {needed} are the least" if images < needed else "too many answers would change"
        return f"exits are off: {why}; every image goes to full depth"
    return (
        f"{policy}: exits change {losses} of {tested} answers here, and with {1 - arguments.delta:.0%} confidence "
        f"at most {arguments.risk:.1%} on images like these"
    )


class _Images:
    """Tensors of the sources' images, every Nth; a broken one is reported, left out and remembered in `failed`.

    Equal ones count once, as a bound on so many images would otherwise rest on fewer; `equal` counts those left out.
    """

    def __init__(self, sources: list[str], every: int, preprocessing: Preprocessing) -> None:
        self._sources, self._every, self._preprocessing = sources, every, preprocessing
        self.failed, self.equal = False, 0
        self._seen: set[bytes] = set()
        self._newest = ""

    def __iter__(self) -> Iterator[npt.NDArray[np.int8]]:
        for word in self._sources:
            try:
                tell(left_out_of(word))
                for number, frame in enumerate(frames_of(word)):
                    if number % self._every == 0:
                        yield from self._one(frame)
            except SourceError as error:
                self._report(error)

    def _one(self, frame: Frame) -> Iterator[npt.NDArray[np.int8]]:
        self._newest = frame.source
        try:
            tensor = image_to_tensor(frame.load(), self._preprocessing)[0]
        except SourceError as error:
            self._report(error)
            return
        digest = hashlib.blake2b(tensor.tobytes(), digest_size=16).digest()
        if digest in self._seen:
            self.equal += 1
            return
        self._seen.add(digest)
        yield tensor

    def not_answered(self, error: InferenceError) -> None:
        """The model failed on the image that was given last."""
        self._report(InferenceError(f"{self._newest}: {error}"))

    def _report(self, error: SourceError) -> None:
        self.failed = True
        tell(str(error))


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, found {text}")
    return value
