"""`convert build` for a microcontroller: the bundle as for any board, then its stages for TensorFlow Lite Micro, C, and measurements."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.samples import evenly, load, samples
from convert.build import Build, build
from convert.measure.parity import float_embeddings
from convert.micro import c_source, tflm, vela
from convert.micro.c_source import Layout
from convert.micro.closeness import gelu_cost, stage_cosines
from convert.micro.constants import Numbers, numbers_of
from convert.micro.decisions import compare
from convert.micro.folder import stage_name, write
from convert.micro.measure import Measured, measure
from convert.micro.split import StageFile, io_bytes, operators, stage_files
from convert.request import Request
from convert.support.errors import UsageError
from convert.support.images import load_images
from convert.support.progress import Progress, Silent
from tflite_runtime_app.bundle.manifest import Manifest

POLICIES = ("ltt-lct", "lct", "never", "always")  # whose decisions the C code takes
IMAGES = 9  # that stages are run on: TensorFlow Lite Micro's reference kernels take a second an image


def require(request: Request) -> None:
    """Returns when the build has what it needs. Raises UsageError before minutes are spent."""
    tflm.require_installed()
    if request.profile.vela:
        vela.require_installed()
    if request.images and request.policy not in POLICIES:
        raise UsageError(f"--policy {request.policy} is not one of the C code's, which are {', '.join(POLICIES)}")


def build_folder(request: Request, folder: Path, progress: Progress) -> tuple[dict[str, Any], Path]:
    """`folder` holds the build; its report's data and the path of its page. Raises a ConvertError with the remedy."""
    require(request)
    result = build(request, progress)
    stages = stage_files(result.flatbuffer)
    images = _images(request)
    measured = measure(stages, images, request.profile, progress)
    numbers = numbers_of(result.flatbuffer, result.manifest, result.bank)
    micro = _facts(request, result, numbers, measured, images, progress)
    report = {**result.report.to_dict(), "micro": micro}
    compiled = [found.content for found in measured.compiled]
    written = [(stage_name(k, bool(compiled)), content) for k, content in enumerate(compiled or [s.content for s in stages])]
    names = [name for name in operators(content for _, content in written) if name != "CUSTOM"]
    sources = c_source.sources(numbers, _layout(result.manifest, stages, measured), written, names)
    return report, write(folder, stages, compiled, sources, result.manifest, report)


def missed(micro: dict[str, Any]) -> tuple[str, ...]:
    """What of a finished build the part cannot hold, or LiteRT's kernels do not confirm, with the numbers."""
    flash, arena = micro["flash"], micro["arena_bytes"]
    total = flash["stages"] + flash["labels"]
    found = [f"{total} bytes of flash, at most {flash['limit']}"] if total > flash["limit"] else []
    if arena > micro["arena_limit"]:
        found.append(f"an arena of {arena} bytes, at most {micro['arena_limit']}")
    for stage in micro["stages"]:
        apart = stage["agreement"]
        if apart["different"]:
            found.append(f"{stage['key']} differs from LiteRT in {apart['different']} of {apart['values']} values")
    return tuple(found)


def _images(request: Request) -> NDArray[np.int8]:
    """Some images: the photographs that the clone ships, or some of those that were given; noise where there are none."""
    preprocessing = request.model.preprocessing
    if request.photographs is not None and request.photographs.is_dir():
        found = load(samples([request.photographs]), preprocessing).images
    elif request.images:
        found = load_images(request.images, preprocessing, Silent()).images
    else:
        random = np.random.default_rng(request.seed)
        found = random.integers(-128, 128, (1, preprocessing.height, preprocessing.width, 3)).astype(np.int8)
    return evenly(found, IMAGES)


def _facts(
    request: Request, result: Build, numbers: Numbers, measured: Measured, images: NDArray[np.int8], progress: Progress
) -> dict[str, Any]:
    """What the report says of the microcontroller."""
    weights = sum(len(found.content) for found in measured.compiled) or sum(stage.bytes for stage in measured.stages)
    exact = float_embeddings(request.model, images, progress)
    labels = int(numbers.labels.size) + sum(len(name.encode()) + 1 for name in numbers.names)
    return {
        **measured.to_dict(),
        "flash": {"stages": weights, "labels": labels, "limit": request.profile.model_mb << 20},
        "arena_limit": request.profile.arena_kb << 10,
        "vela_target": request.profile.vela,
        "decisions": dataclasses.asdict(compare(result.flatbuffer, result.manifest, result.bank, numbers, measured.runs)),
        "cosines": stage_cosines(measured.runs, result.manifest, exact),
        "gelu": gelu_cost(result.flatbuffer, result.manifest, images, exact),
    }


def _layout(manifest: Manifest, stages: tuple[StageFile, ...], measured: Measured) -> Layout:
    two = len(stages) > 1
    inputs = len(stages[1].inputs) if two else 1
    hidden = io_bytes(stages[1].content)[0][0] if two else 1
    note = "measured with 64-bit pointers on a workstation, alignment included"
    if measured.compiled:
        note = "Vela's memory and 32 KiB for the interpreter: an estimate, the Ethos-U cannot be run on a workstation"
    preprocessing = manifest.preprocessing
    title = f"{manifest.name} for {manifest.target}"
    return Layout(title, inputs, preprocessing.height, preprocessing.width, hidden, measured.arena_bytes, note)
