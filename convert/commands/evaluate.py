"""`convert evaluate`: what leaving early does to a bundle's answers on any images, in float and in INT8."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from calibration.phases import RewriteInputs
from calibration.samples import count, samples, tensor_of
from convert.commands.matching import matching_labels, matching_model
from convert.emit.manifest import cascade_of
from convert.measure.float_time import float_milliseconds
from convert.measure.stream import Networks, Seen, through_both
from convert.measure.study import ExitStudy, study
from convert.model.labels import embed_labels, imagenet_labels, named_places
from convert.model.load import ClipModel
from convert.model.tower import Tower
from convert.options import ModelOptions
from convert.report import evaluation_page as page
from convert.report.contact_sheet import MOST, contact_sheet
from convert.rewrites import input_normalisation
from convert.stages.stage import Stage, build_stages
from convert.support.console import Terminal, say
from convert.support.errors import UsageError
from convert.support.files import check_target, write_atomically
from convert.support.images import tell_left_out
from convert.support.progress import OnTerminal, Progress
from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.bundle.labels import LabelBank, unit
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.exits.refit import for_other_labels
from tflite_runtime_app.text.label_list import LabelList

FEW = 8  # images that the float network is timed on


@dataclass(frozen=True, slots=True)
class EvaluationImages:
    """Which images: sources, or ImageNet's validation folder in their place; the first `skip` are left out."""

    images: tuple[Path, ...]
    imagenet: Path | None
    skip: int

    def sources(self) -> tuple[Path, ...]:
        """Where they lie. Raises UsageError for none, for both, and for what is not there."""
        if (self.imagenet is None) == (not self.images):
            raise UsageError(
                "give images by --images FOLDER|ARCHIVE, or ImageNet's validation folder by --imagenet DIR, not both"
            )
        found = (self.imagenet,) if self.imagenet is not None else self.images
        for path in found:
            if not path.exists():
                raise UsageError(f"{path}: no such folder, tar file, zip file or image")
        return found


def evaluate(file: Path, given: EvaluationImages, labels: str | None, out: Path, as_json: bool, model: ModelOptions) -> None:
    """`out` holds evaluation.json, index.html and the contact sheets; the tables are shown. A run that was cut off goes on."""
    check_target(out / "index.html")
    sources, skip = given.sources(), given.skip
    bundle, progress = accepted_bundle(file), OnTerminal()
    loaded = matching_model(bundle.manifest, file, model)
    listed, bank = _labels(bundle, labels, given.imagenet, loaded)
    manifest = _usable(bundle, bank, progress)
    tell_left_out(sources, progress)
    total = count(sources) - skip
    if total <= 0:
        raise UsageError(f"the sources hold {total + skip} images, --skip {skip} leaves none")
    key = hashlib.sha256(
        f"{bundle.manifest.flatbuffer_sha256} {_states(sources)} {skip} {loaded.weights_sha256}".encode()
    ).hexdigest()
    items = (item for number, item in enumerate(samples(sources)) if number >= skip)
    cascade = cascade_of(bundle.flatbuffer, manifest)
    networks = Networks(manifest.preprocessing, cascade, _float_stages(loaded, manifest))
    seen = through_both(items, total, networks, out / "seen", key, progress)
    if not seen.names:
        raise UsageError(f"none of {total} images could be read, the first: {seen.skipped[0]}")
    distinct = len(np.unique(seen.float_found.embeddings[:, -1], axis=0))
    if distinct < len(seen.names):
        progress.step(f"{len(seen.names)} images, of which {distinct} distinct: equal ones weigh as often as they come")
    places = named_places(listed, seen.folders, progress)
    seen = seen if len(places) == len(seen.names) else seen.chosen(places)
    known = listed.indices(seen.folders)
    wanted = None if known is None else np.array(known, np.int64)
    studied = study(seen.found, seen.float_found, wanted, cascade, manifest, bank)
    data = {
        **studied.to_dict(),
        "file": str(file),
        "model": loaded.name,
        "labels": len(bank.names),
        "skip": skip,
        "skipped": list(seen.skipped),
        "names": list(seen.names),
        "noise": bundle.report.get("noise"),
        "float_ms": float_milliseconds(loaded, _first_tensors(sources, seen.names[:FEW], manifest)),
    }
    sheets = [] if wanted is None else _sheets(out, sources, seen, studied, wanted, bank, manifest)
    write_atomically(out / "evaluation.json", json.dumps(data).encode())
    title = f"{loaded.name}: leaving early, on {studied.images} images"
    write_atomically(out / "index.html", page.render(data, title, sheets).encode())
    if as_json:
        print(json.dumps(data))
        return
    _show(data, title)
    say((out / "evaluation.json").resolve())
    say((out / "index.html").resolve())


def _first_tensors(sources: Sequence[Path], names: Sequence[str], manifest: Manifest) -> list[NDArray[np.int8]]:
    """The images of these names as tensors; no more is read than it takes to find them."""
    found = (tensor_of(item, manifest.preprocessing) for item in samples(sources) if item.name in names)
    return list(islice(found, len(names)))


def _labels(bundle: Bundle, option: str | None, imagenet: Path | None, model: ClipModel) -> tuple[LabelList, LabelBank]:
    if imagenet is None:
        return matching_labels(bundle, option, model)
    listed = imagenet_labels(imagenet)
    return listed, embed_labels(listed, model)


def _states(sources: Sequence[Path]) -> list[tuple[str, int, int]]:
    """What tells that a source is no longer what it was: path, size and time of every file."""
    files = (path for source in sources for path in (sorted(source.rglob("*")) if source.is_dir() else [source]))
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()]


def _usable(bundle: Bundle, bank: LabelBank, progress: Progress) -> Manifest:
    """The manifest for these labels, as `classify` would use it."""
    cascade = cascade_of(bundle.flatbuffer, bundle.manifest)
    manifest, told = for_other_labels(cascade, bundle.manifest, bundle.remembered, bank)
    if told:
        progress.step(told)
    return manifest


def _float_stages(model: ClipModel, manifest: Manifest) -> tuple[Stage, ...]:
    tower = input_normalisation.apply(model.tower(), RewriteInputs())
    assert isinstance(tower, Tower)
    return build_stages(tower, tuple(stage.blocks_done for stage in manifest.stages[:-1]))


def _sheets(
    out: Path,
    sources: Sequence[Path],
    seen: Seen,
    studied: ExitStudy,
    wanted: NDArray[np.int64],
    bank: LabelBank,
    manifest: Manifest,
) -> list[tuple[str, str]]:
    """Contact sheets of rescued and harmed images, written beside the page."""
    found = []
    directions = unit(seen.found.embeddings)
    for word, places in (("rescued", studied.rescued), ("harmed", studied.harmed)):
        chosen = places[:MOST]
        if not chosen:
            continue
        names = {seen.names[i] for i in chosen}
        tensors = {item.name: tensor_of(item, manifest.preprocessing) for item in samples(sources) if item.name in names}
        captions = []
        for i in chosen:
            early, full = (bank.names[int((directions[i, stage] @ bank.vectors.T).argmax())] for stage in (studied.left[i], -1))
            block = manifest.stages[studied.left[i]].blocks_done
            captions.append((bank.names[int(wanted[i])], f"block {block}: {early}", f"full: {full}"))
        shown = f", {MOST} shown" if len(places) > MOST else ""
        title = f"{word.capitalize()}: {len(places)} of {studied.images} images{shown}"
        write_atomically(out / f"{word}.png", contact_sheet(np.stack([tensors[seen.names[i]] for i in chosen]), captions, title))
        found.append((title, f"{word}.png"))
    return found


def _show(data: dict[str, Any], title: str) -> None:
    console = Terminal()
    if data["quadrants"]:
        console.print(
            _filled(title, list(zip(page.QUADRANTS, *page.quadrant_rows(data), strict=True)))
        )  # upright: eighty columns
    console.print(_filled("" if data["quadrants"] else title, [page.EXITS, *page.exit_rows(data)]))
    console.print(f"Float on this machine, PyTorch, one image at a time: {data['float_ms']:.1f} ms")


def _filled(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first row is its head."""
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if number else "left")
    for row in rows[1:]:
        table.add_row(*row)
    return table
