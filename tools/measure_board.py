"""What the board's program costs beside the model, in processor time: images made into tensors, the start, a folder.

    python tools/measure_board.py FILE [--side N] [--photographs ARCHIVE.tar …] [--beside CLONE]

FILE is a bundle. Images are made here, so nothing else is needed; with archives of photographs the largest differences between the quick
tensor and the plain one are counted over them. `--beside` is another clone, an older one say, whose start and folder are measured in turn.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

from tflite_runtime_app.bundle.file import read_bundle  # noqa: E402
from tflite_runtime_app.bundle.manifest import Preprocessing  # noqa: E402
from tflite_runtime_app.errors import SourceError  # noqa: E402
from tflite_runtime_app.inference.preprocess import image_of, image_to_tensor, to_rgb  # noqa: E402
from tflite_runtime_app.inference.smaller import least_side  # noqa: E402

ROUNDS, STARTS, IMAGES = 7, 9, 200
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def photograph(width: int, height: int) -> Image.Image:
    """Soft shapes with the grain of a sensor."""
    random, total = np.random.default_rng(0), np.zeros((height, width, 3), np.float32)
    for part, strength in ((2, 40), (16, 25), (128, 15), (512, 8)):
        small = np.clip(128 + strength * random.normal(size=(part, part, 3)), 0, 255).astype(np.uint8)
        total += np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.float32) - 128
    total += 125 + random.normal(scale=3, size=total.shape).astype(np.float32)
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


def plain(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:  # type: ignore[type-arg]
    """The tensor of a square target as open_clip's transform makes it: all resized, the middle cut out."""
    rgb, side = to_rgb(image), preprocessing.height
    size = (side, int(side * rgb.height / rgb.width))
    if rgb.width > rgb.height:
        size = (int(side * rgb.width / rgb.height), side)
    resized = rgb.resize(size, RESAMPLING[preprocessing.interpolation])
    left, top = (round((length - side) / 2.0) for length in size)
    return (np.asarray(resized.crop((left, top, left + side, top + side))).astype(int) - 128)[np.newaxis]


def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of `work`, the least of some rounds."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return 1e3 * min(found)


def tensors(preprocessing: Preprocessing) -> None:
    """A line for a telephone's photograph, a camera's frame, and one as JPEG."""
    least = least_side(preprocessing)
    for name, width, height, packed in (
        ("12 MP JPEG", 4000, 3000, True),
        ("1080p frame", 1920, 1080, False),
        ("1080p JPEG", 1920, 1080, True),
    ):
        image, buffer = photograph(width, height), io.BytesIO()
        image.save(buffer, "JPEG", quality=90)

        def loaded(
            smaller: int, image: Image.Image = image, content: bytes = buffer.getvalue(), packed: bool = packed
        ) -> Image.Image:
            return image_of(content, "image", smaller) if packed else image

        before = milliseconds(lambda: plain(loaded(0), preprocessing))
        after = milliseconds(lambda: image_to_tensor(loaded(least), preprocessing))
        worst = np.abs(image_to_tensor(loaded(least), preprocessing) - plain(loaded(0), preprocessing)).max()
        print(f"{name:<14} {before:6.1f} ms plain  {after:6.1f} ms now  {worst} of 255 apart")


def files_of(archives: list[Path]) -> Iterator[bytes]:
    for archive in archives:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield file.read()


def differences(archives: list[Path], preprocessing: Preprocessing) -> None:
    """How many photographs come out how many codes apart: at the model's size, and as small as decoding in half begins."""
    for name, part in (("at the model's size", 0), ("a 17th of its size", 17)):
        found: Counter[int] = Counter()
        for content in files_of(archives):
            try:
                whole = image_of(content, "image")
            except SourceError:
                continue
            side = min(whole.size) // part if part else preprocessing.height
            if side < 4:
                continue
            small = Preprocessing(side, side, preprocessing.resize_mode, preprocessing.interpolation)
            quick = image_to_tensor(image_of(content, "image", least_side(small)), small)
            found[int(np.abs(quick - plain(whole, small)).max())] += 1
        print(f"{name}: " + ", ".join(f"{count} photographs {apart} of 255 apart" for apart, count in sorted(found.items())))


def seconds(clone: Path, *words: str) -> float:
    """Processor time of `classify WORDS` of a clone, its processes counted in."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "tflite_runtime_app", *words]
    environment = {**os.environ, "PYTHONPATH": str(clone)}
    subprocess.run(command, cwd=clone, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def programs(file: str, clones: list[Path]) -> None:
    """A line a clone for its start, and one for a folder."""
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder, "0.jpg")
        photograph(640, 480).save(one)
        starts = [[seconds(clone, file, str(one), "--threads", "1") for clone in clones] for _ in range(STARTS)]
        for number in range(1, IMAGES):
            os.link(one, Path(folder, f"{number}.jpg"))
        for number, clone in enumerate(clones):
            start = median(row[number] for row in starts)
            every = (min(seconds(clone, file, folder, "--threads", "1") for _ in range(3)) - start) / (IMAGES - 1)
            print(
                f"{clone}: {start:.3f} s for one image, start and end counted in, {1e3 * every:.1f} ms for each further image of 640 x 480"
            )
        started = time.monotonic()
        seconds(CLONE, file, folder, "--threads", "1")
        alone, started = time.monotonic() - started, time.monotonic()
        seconds(CLONE, file, folder, "--jobs", "2")
        print(f"a folder of {IMAGES}: {alone:.2f} s by the clock, with --jobs 2 {time.monotonic() - started:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--photographs", metavar="TAR", nargs="+", type=Path, default=[])
    parser.add_argument("--side", metavar="N", type=int, help="pixels of the model, where it is another than FILE's")
    parser.add_argument("--beside", metavar="CLONE", type=Path)
    arguments = parser.parse_args()
    file = os.path.abspath(arguments.file)
    preprocessing = read_bundle(file).manifest.preprocessing
    if arguments.side:
        preprocessing = replace(preprocessing, height=arguments.side, width=arguments.side)
    tensors(preprocessing)
    if arguments.photographs:
        differences(arguments.photographs, preprocessing)
    programs(file, [*([arguments.beside.resolve()] if arguments.beside else []), CLONE])


if __name__ == "__main__":
    main()
