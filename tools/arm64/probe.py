"""What one processor makes of a bundle and images, as one JSON object on standard output.

It runs on both sides, the host's and the emulated one, with what a board has: the runtime application, numpy, Pillow and LiteRT.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tflite_runtime_app.admission.threads import valid_threads
from tflite_runtime_app.bundle.file import Bundle, read_bundle
from tflite_runtime_app.inference.cascade import Cascade, load_cascade
from tflite_runtime_app.inference.direct import Codes
from tflite_runtime_app.inference.engine import OP_RESOLVERS, Engine
from tflite_runtime_app.inference.preprocess import image_to_tensor, load_image
from tflite_runtime_app.sources import folder

SHARES = ((1.0, 1), (0.8, 2), (0.6, 3), (0.45, 4))  # of an image's sides, and how many places a side: 30 views


@dataclass(frozen=True, slots=True)
class Seen:
    """One image: SHA-256 of its image tensor and of all stages' int8 outputs, and what the application decides on them.

    `scores` are the gates' that were asked, the last one's let the image go unless it went to full depth; `lead` is by how much the
    best label's cosine is above the second's where it left. `seconds` are for all stages.
    """

    name: str
    tensor: str
    outputs: str
    exit: int
    top1: int
    scores: tuple[int, ...]
    lead: float
    seconds: float


class Once:
    """An engine on which each signature runs once an image, so that exits are decided on the very outputs that were hashed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.outputs: dict[str, Codes] = {}

    def invoke(self, signature: str, inputs: Mapping[str, npt.NDArray[np.int8]]) -> Codes:
        if signature not in self.outputs:
            self.outputs[signature] = self.engine.invoke(signature, inputs)
        return self.outputs[signature]


def views(images: Path) -> Iterator[tuple[str, Image.Image]]:
    """Every image of the folder whole; then, round after round, each image's next part."""
    names = [frame.source for frame in folder.frames(str(images))]
    for number, (share, left, top) in enumerate(parts()):
        for name in names:
            image = load_image(name)
            width, height = image.size
            corner = (round(left * width), round(top * height))
            box = (*corner, corner[0] + round(share * width), corner[1] + round(share * height))
            yield f"{os.path.basename(name)} part {number}", image.crop(box)


def parts() -> Iterator[tuple[float, float, float]]:
    """Share of the sides, left and top, as fractions; the first is the whole."""
    for share, places in SHARES:
        offsets = np.linspace(0, 1 - share, places)
        yield from ((share, float(left), float(top)) for top in offsets for left in offsets)


def look(name: str, image: Image.Image, bundle: Bundle, cascade: Cascade) -> Seen:
    """All stages' outputs of one image, and the decision that the bundle's own policy takes on them."""
    if bundle.labels is None:
        sys.exit(f"{bundle.path}: expected a bundle with labels, found none; build it with: convert build")
    tensor = image_to_tensor(image, bundle.manifest.preprocessing)
    once = Cascade(Once(cascade.engine), cascade.manifest, cascade.policy)
    start = time.perf_counter()
    outputs = list(once.stage_outputs(tensor))
    seconds = time.perf_counter() - start
    embedding = once.run(tensor, bundle.labels)
    second, first = np.sort(embedding.scores.cosine)[-2:] if len(bundle.labels.names) > 1 else (-1.0, 1.0)
    return Seen(
        name=name,
        tensor=digest({"image": tensor}),
        outputs=digest({f"{stage} {key}": codes for stage, output in enumerate(outputs) for key, codes in output.raw.items()}),
        exit=embedding.stage,
        top1=embedding.scores.top1,
        scores=tuple(visit.score for visit in embedding.visits if visit.score is not None),
        lead=float(first - second),
        seconds=seconds,
    )


def digest(tensors: Mapping[str, npt.NDArray[np.int8]]) -> str:
    """SHA-256 over names, shapes and bytes, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name].shape}\n".encode() + tensors[name].tobytes())
    return total.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path, help="a folder of images")
    parser.add_argument("--count", type=int, required=True, help="how many views of them")
    parser.add_argument("--kernels", choices=OP_RESOLVERS, default="xnnpack")
    parser.add_argument("--threads", type=int, default=1, help="to ask for: the application takes them if they change nothing")
    parser.add_argument("--untried", action="store_true", help="take them whatever they change")
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.bundle)
    threads = arguments.threads if arguments.untried else valid_threads(bundle, arguments.threads)[0]
    cascade = load_cascade(bundle, threads, arguments.kernels)
    seen = [look(name, image, bundle, cascade) for name, image in islice(views(arguments.images), arguments.count)]
    versions = {"machine": platform.machine(), "python": platform.python_version()}
    versions |= {name: version(name) for name in ("numpy", "pillow", "ai-edge-litert")}
    print(json.dumps({"versions": versions, "threads": threads, "seen": [asdict(one) for one in seen]}))


if __name__ == "__main__":
    main()
