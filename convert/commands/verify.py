"""`convert verify`: a bundle against open_clip on any images, held to the limits in its manifest."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from calibration.samples import SampleSet
from convert.commands.matching import matching_labels, matching_model
from convert.emit.manifest import cascade_of
from convert.measure.parity import Parity, float_embeddings, measure
from convert.model.labels import named_places
from convert.options import ModelOptions
from convert.support.console import Terminal
from convert.support.errors import LimitMissed, UsageError
from convert.support.images import load_images
from convert.support.progress import OnTerminal, Progress
from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.exits.refit import for_other_labels
from tflite_runtime_app.text.label_list import LabelList


def verify(file: Path, images: tuple[Path, ...], labels: str | None, skip: int, as_json: bool, model: ModelOptions) -> None:
    """Shows every figure; raises LimitMissed naming what falls short of the manifest's limits."""
    bundle = accepted_bundle(file)
    progress = OnTerminal()
    loaded = matching_model(bundle.manifest, file, model)
    found = load_images(images, bundle.manifest.preprocessing, progress)
    part = found.part(skip, None)
    if not len(part):
        raise UsageError(f"--images holds {len(found)} readable images, --skip {skip} leaves none")
    listed, bank = matching_labels(bundle, labels, loaded)
    part, truth = _known(part, listed, labels, progress)
    progress.step(f"{len(part)} images read, {len(found.skipped)} broken ones skipped, {len(bank.names)} labels")
    reference = float_embeddings(loaded, part.images, progress)
    cascade = cascade_of(bundle.flatbuffer, bundle.manifest)
    usable, told = for_other_labels(cascade, bundle.manifest, bundle.remembered, bank)
    if told:
        progress.step(told)
    result = measure(cascade, usable, bank, part.images, reference, truth, progress)
    if as_json:
        print(json.dumps({"file": str(file), "digest": found.digest, "skip": skip, "skipped": found.skipped, **result.to_dict()}))
    else:
        Terminal().print(table(result))
    _hold_to_limits(result, bundle.manifest.limits)


def table(result: Parity) -> Table:
    """The figures a reader asks for first."""
    shown = Table(title=f"on {result.images} images")
    for column in ("", "top-1", "agrees with float", "MMAC"):
        shown.add_column(column, justify="left" if column == "" else "right")

    def percent(share: float | None) -> str:
        return "-" if share is None else f"{share * 100:.2f} %"

    full = result.full_macs / 1e6
    shown.add_row("float (open_clip)", percent(result.top1_float), "", "")
    shown.add_row("INT8, full depth", percent(result.top1_int8), percent(result.agreement), f"{full:.1f}")
    shown.add_row(
        "INT8, with exits", percent(result.top1_exits), percent(result.agreement_exits), f"{result.mean_macs / 1e6:.1f}"
    )
    for stage in result.exits:
        name = f"  alone at block {stage.blocks_done}, left by {stage.share * 100:.1f} %"
        shown.add_row(name, percent(stage.top1), percent(stage.agreement), f"{stage.macs / 1e6:.1f}")
    shown.caption = f"cosine with float: mean {result.cosine_mean:.4f}, 5th percentile {result.cosine_p5:.4f}"
    return shown


def _known(part: SampleSet, listed: LabelList, option: str | None, progress: Progress) -> tuple[SampleSet, Sequence[int] | None]:
    """The images that show what a label names, and the label of each where their folders tell."""
    places = named_places(listed, part.folders, progress)
    part = part if len(places) == len(part) else part.chosen(places)
    truth = listed.indices(part.folders)
    if truth is None and option is not None:
        unknown = next(folder for folder in part.folders if folder not in listed.place)
        raise UsageError(f"--labels {option}: no line has the id {unknown!r}, the parent folder of an image")
    return part, truth


def _hold_to_limits(result: Parity, limits: dict[str, float]) -> None:
    """The mean cosine must reach its limit; the agreement may miss it by two standard errors of a share measured on so few images."""
    missed = []
    if result.cosine_mean < limits.get("cosine_mean", -1.0):
        missed.append(f"mean cosine {result.cosine_mean:.4f} is under {limits['cosine_mean']}")
    if "agreement" in limits:
        limit = limits["agreement"]
        slack = 2 * math.sqrt(limit * (1 - limit) / result.images)
        if result.agreement < limit - slack:
            missed.append(f"agreement {result.agreement:.3f} is under {limit} by more than two standard errors ({slack:.3f})")
    if missed:
        raise LimitMissed("; ".join(missed) + "; calibrate on images like these: convert build --images …")
