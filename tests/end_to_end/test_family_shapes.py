"""The shapes that people use, with random weights, all the way to a bundle: seconds, memory, closeness and size are printed.

`pytest -m slow -s tests/end_to_end/test_family_shapes.py`
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from calibration.samples import load, pixels, samples
from convert.board.check import check
from convert.board.estimate import shape_of
from convert.model.load import load_model
from convert.model.torchvision_ops import open_clip
from targets.memory import file_bytes
from targets.profile import load as board
from tests.clone import ROOT
from tests.convert import family
from tests.convert.family import closeness, cosine
from tflite_runtime_app.bundle.file import Bundle, read_bundle
from tflite_runtime_app.exits.replay import replay
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.policies import Lct, Never

PHOTOGRAPHS = ROOT / "models" / "photographs"
LOUDNESS = 20.0
SHAPES = {"ViT-B-32": (4.4e9, 50), "ViT-B-16": (17.6e9, 197), "ViT-S-16": (4.6e9, 197)}  # multiply-accumulates and tokens


@dataclass(frozen=True)
class Run:
    """What the build took: seconds, and the most memory that its process had, in bytes."""

    seconds: float
    peak: int


def build(log: Path, *arguments: object) -> Run:
    """`convert build` in a process of its own; what it says is in `log`."""
    command = [sys.executable, "-m", "convert", "build", *map(str, arguments)]
    environment, begin, peak = {**os.environ, "PYTHONPATH": str(ROOT)}, time.monotonic(), 0
    with (
        log.open("wb") as file,
        subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file) as process,
    ):
        while process.poll() is None:
            peak = max(peak, peak_of(process.pid))
            time.sleep(0.2)
    assert process.returncode == 0, log.read_text("utf-8")
    return Run(time.monotonic() - begin, peak)


def peak_of(pid: int) -> int:
    """VmHWM of a process, 0 when it has just ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def views(folder: Path, each: int, seed: int) -> Path:
    """`folder` holds random parts of every embedded photograph."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    for path in sorted(PHOTOGRAPHS.glob("*.jpg")):
        with Image.open(path) as image:
            for number in range(each):
                share = random.uniform(0.4, 0.9)
                left, top = random.uniform(0, 1 - share, 2)
                box = (left * image.width, top * image.height, (left + share) * image.width, (top + share) * image.height)
                image.crop(tuple(map(int, box))).save(folder / f"{number:02d}-{path.stem}.jpg", quality=95)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_the_usual_shapes(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    settings = open_clip.get_model_config(name)
    folder = family.write(tmp_path / name, settings["vision_cfg"], False, LOUDNESS, settings["embed_dim"])
    images, held = views(tmp_path / "images", 5, 0), views(tmp_path / "held", 2, 1)
    path = tmp_path / "shape.tflite"
    run = build(tmp_path / "log.txt", "--model", folder, "--images", images, "--target", "rpi", "--out", path)

    model, bundle = load_model(str(folder), None, None), read_bundle(path)
    tensors = load(samples([held]), model.preprocessing).images
    wanted = model.encode(torch.from_numpy(pixels(tensors))).numpy()
    found = replay(load_cascade(bundle, threads=2, policy=Never()), tensors).embeddings[:, -1]
    close, plain = closeness(found, wanted), cosine(found, wanted)
    with capsys.disabled():
        print(
            f"\n{name}: {run.seconds:.0f} s, {run.peak / 2**20:.0f} MB at the peak, cosine {plain:.4f}, {close:.4f} "
            f"with the mean taken out, {path.stat().st_size / 2**20:.1f} MB"
        )
    assert plain > 0.99
    assert close > 0.95
    macs, tokens = SHAPES[name]
    tower = model.tower()
    assert (tower.tokens, len(tower.blocks), tower.image_size) == (tokens, 12, (224, 224))
    behind = tokens * tower.width**2  # the layer that the rotation leaves behind ln_pre
    unread = (tokens - 1) * (
        10 * tower.width**2 + 2 * tokens * tower.width
    )  # of the last block, which computes the class token alone
    assert bundle.manifest.total_macs - behind + unread == pytest.approx(macs, rel=0.02)
    assert path.stat().st_size == pytest.approx(file_bytes(shape_of(tower, len(bundle.manifest.stages))), rel=0.03)
    assert run.peak < board("host").memory_mb * 2**20
    keeps_the_boards_rules(bundle)
    block, patches = (
        12 * tokens * tower.width**2 + 2 * tokens**2 * tower.width,
        (tokens - 1) * 3 * tower.patch_size[0] ** 2 * tower.width,
    )
    leaves_early(bundle, tensors[:1], (patches + behind + 4 * block) / (patches + behind + 12 * block - unread))


def keeps_the_boards_rules(bundle: Bundle) -> None:
    """Everything but the time, which was predicted for the slowest of them."""
    assert [verdict for verdict in check(bundle, board("rpi")).missed if verdict.unit != "ms"] == []


def leaves_early(bundle: Bundle, image: np.ndarray, share: float) -> None:
    """Gates run, and an image that leaves at the first exit costs `share`: what four of twelve blocks and the patches do."""
    assert bundle.labels is not None
    exits = len(bundle.manifest.gates)
    assert exits == 3
    first, last = (load_cascade(bundle, threads=2, policy=Lct((cut,) * exits)).run(image, bundle.labels) for cut in (-128, 128))
    assert (first.blocks_done, last.blocks_done) == (4, 12)
    assert first.macs / last.macs == pytest.approx(share, abs=0.005)
