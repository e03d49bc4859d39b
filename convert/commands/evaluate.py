"""`convert evaluate`: what leaving early does to a bundle's answers on any images, in float and in INT8."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from calibration.samples import count, samples
from convert.commands.matching import matching_model
from convert.measure.float_time import float_milliseconds
from convert.measure.parity import cascade_of
from convert.measure.stream import Seen, tensor_of, through_both
from convert.measure.study import study
from convert.model.labels import embed_labels, imagenet_labels, named_places, read_labels_of
from convert.model.load import ClipModel
from convert.model.tower import Tower
from convert.report import evaluation_page as page
from convert.report.contact_sheet import MOST, contact_sheet
from convert.rewrites import input_normalisation
from convert.stages.stage import Stage, build_stages
from convert.support.errors import UsageError
from convert.support.files import write_atomically
from convert.support.progress import OnTerminal, Progress
from tflite_runtime_app.bundle.file import Bundle, read_bundle
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.exits.refit import for_other_labels
from tflite_runtime_app.text.label_list import LabelList

FEW = 8  # pictures that the float network is timed on


def run(
    file: Path,
    images: tuple[Path, ...],
    labels: str | None,
    imagenet: Path | None,
    skip: int,
    out: Path,
    as_json: bool,
    model: str | None,
    pretrained: str | None,
    models: Path | None,
) -> None:
    """`out` holds evaluation.json, index.html and the contact sheets; the tables are shown. A run that was cut off goes on."""
    if (imagenet is None) == (not images):
        raise UsageError("give pictures by --images FOLDER|TAR, or ImageNet's validation folder by --imagenet DIR, not both")
    sources = (imagenet,) if imagenet is not None else images
    for path in sources:
        if not path.exists():
            raise UsageError(f"{path}: no such folder, tar file or picture")
    bundle, progress = read_bundle(file), OnTerminal()
    loaded = matching_model(bundle.manifest, file, model, pretrained, models)
    listed, bank = _labels(bundle, labels, imagenet, loaded)
    manifest = _usable(bundle, bank, progress)
    total = count(sources) - skip
    if total <= 0:
        raise UsageError(f"the sources hold {total + skip} pictures, --skip {skip} leaves none")
    key = hashlib.sha256(
        f"{bundle.manifest.flatbuffer_sha256} {_states(sources)} {skip} {loaded.weights_sha256}".encode()
    ).hexdigest()
    items = (item for number, item in enumerate(samples(sources)) if number >= skip)
    cascade, stages = cascade_of(bundle.flatbuffer, manifest), _float_stages(loaded, manifest)
    kept = out / "seen"
    seen = through_both(items, total, manifest.preprocessing, cascade, stages, kept, key, progress)
    if not seen.names:
        raise UsageError(f"none of {total} pictures could be read, the first: {seen.skipped[0]}")
    places = named_places(listed, seen.folders, progress)
    seen = seen if len(places) == len(seen.names) else seen.chosen(places)
    known = listed.indices(seen.folders)
    wanted = None if known is None else np.array(known, np.int64)
    data = study(seen.found, seen.float_found, wanted, cascade, manifest, bank)
    data |= {"file": str(file), "model": loaded.name, "labels": len(bank.names), "skip": skip, "skipped": list(seen.skipped)}
    data |= {"names": list(seen.names), "noise": bundle.report.get("noise")}
    data["float_ms"] = float_milliseconds(loaded, _first_tensors(sources, seen.names[:FEW], manifest))
    sheets = _sheets(out, sources, skip, seen, data, wanted, bank, manifest)
    write_atomically(out / "evaluation.json", json.dumps(data).encode())
    title = f"{loaded.name}: leaving early, on {data['images']} images"
    write_atomically(out / "index.html", page.render(data, title, sheets).encode())
    if as_json:
        print(json.dumps(data))
        return
    _show(data, title)
    print((out / "evaluation.json").resolve())
    print((out / "index.html").resolve())


def _first_tensors(sources: Sequence[Path], names: Sequence[str], manifest: Manifest) -> list[NDArray[np.int8]]:
    """The pictures of these names as tensors; no more is read than it takes to find them."""
    found = (tensor_of(item, manifest.preprocessing) for item in samples(sources) if item.name in names)
    return list(islice(found, len(names)))


def _labels(bundle: Bundle, option: str | None, imagenet: Path | None, model: ClipModel) -> tuple[LabelList, LabelBank]:
    if imagenet is not None:
        listed = imagenet_labels(imagenet)
        return listed, embed_labels(listed, model)
    if option is None:
        if bundle.labels is None:
            raise UsageError("the bundle holds no labels; give --labels FILE")
        return LabelList(bundle.labels.names, bundle.labels.names), bundle.labels
    if not Path(option).is_file():
        raise UsageError(f"--labels {option}: no such file; one `id TAB names` a line is expected")
    listed = read_labels_of(Path(option))
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
    tower = input_normalisation.apply(model.tower(), {})
    assert isinstance(tower, Tower)
    return build_stages(tower, tuple(stage.blocks_done for stage in manifest.stages[:-1]))


def _sheets(
    out: Path,
    sources: Sequence[Path],
    skip: int,
    seen: Seen,
    data: dict[str, Any],
    wanted: np.ndarray[Any, np.dtype[np.int64]] | None,
    bank: LabelBank,
    manifest: Manifest,
) -> list[tuple[str, str]]:
    """Contact sheets of rescued and harmed images, written beside the page."""
    if wanted is None:
        return []
    found = []
    unit = seen.found.embeddings / np.maximum(np.linalg.norm(seen.found.embeddings, axis=-1, keepdims=True), 1e-12)
    for word in ("rescued", "harmed"):
        chosen = data[word][:MOST]
        if not chosen:
            continue
        names = {seen.names[i] for i in chosen}
        tensors = {item.name: tensor_of(item, manifest.preprocessing) for item in samples(sources) if item.name in names}
        captions = []
        for i in chosen:
            early, full = (bank.names[int((unit[i, stage] @ bank.vectors.T).argmax())] for stage in (data["left"][i], -1))
            block = manifest.stages[data["left"][i]].blocks_done
            captions.append((bank.names[int(wanted[i])], f"block {block}: {early}", f"full: {full}"))
        title = f"{word.capitalize()}: {len(data[word])} of {data['images']} images" + (
            f", {MOST} shown" if len(data[word]) > MOST else ""
        )
        write_atomically(out / f"{word}.png", contact_sheet(np.stack([tensors[seen.names[i]] for i in chosen]), captions, title))
        found.append((title, f"{word}.png"))
    return found


def _show(data: dict[str, Any], title: str) -> None:
    console = Console(highlight=False)
    if data["quadrants"]:
        console.print(
            _filled(title, list(zip(page.QUADRANTS, *page.quadrant_rows(data), strict=True)))
        )  # upright: eighty columns
    console.print(_filled("" if data["quadrants"] else title, [page.EXITS, *page.exit_rows(data)]))
    console.print(f"Float on this machine, PyTorch, one picture at a time: {data['float_ms']:.1f} ms")


def _filled(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first row is its head."""
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if number else "left")
    for row in rows[1:]:
        table.add_row(*row)
    return table
