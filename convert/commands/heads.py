"""`convert heads`: train exits' own heads on images, best on labelled ones, and keep them in the model's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from convert.heads import ridge
from convert.heads.attending import embed, embed_tokens
from convert.heads.tokens import BATCH, Place, mean_tokens, normed, of_place, reader
from convert.heads.training import Schedule, train
from convert.heads.training_set import Names, TrainingSet
from convert.model import head_files as files
from convert.model.labels import embed_labels, read_label_list
from convert.model.load import load_model
from convert.model.tower import Head, Tower
from convert.options import ModelOptions
from convert.request import parse_blocks
from convert.stages.run import batches
from convert.support.console import Terminal, say
from convert.support.errors import UsageError
from convert.support.files import write_atomically
from convert.support.images import load_images
from convert.support.progress import OnTerminal, Progress
from tflite_runtime_app.bundle.labels import LabelBank

HELD = 10  # every tenth image is kept apart
LEAST = 500
HEADS = ("fitted", "trained")
COLUMNS = ("fitted", "trained", "class token too")


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """Which heads to make, and how: blocks as in `4,6,8`, `trained` or `fitted`, random views of every image to train on."""

    exits: str
    kind: str
    views: int
    seed: int


def heads(images: tuple[Path, ...], model: ModelOptions, labels: tuple[str, ...], options: HeadOptions) -> None:
    """The model folder's heads.safetensors has a head of that kind for each of the blocks; a table compares them with other kinds.

    A trained head reads the patch tokens or, where the tower's embedding is read off it, the class token too, whichever is right more
    often on the images kept apart. Heads are trained by every list of labels and judged by the first. What training has done so far is
    kept beside the file after every view, and a second call goes on from there.
    """
    kind, seed = options.kind, options.seed
    if kind not in HEADS:
        raise UsageError(f"--kind {kind!r} is none of {', '.join(HEADS)}")
    progress = OnTerminal()
    loaded = load_model(model.model, None, model.models, with_heads=False)
    if loaded.folder is None:
        raise UsageError(f"{loaded.name} is not a model folder; give one with --model DIR")
    lists = [read_label_list(given, loaded) for given in labels or (None,)]
    banks = [embed_labels(names, loaded) for names in lists]
    samples = load_images(images, loaded.preprocessing, progress)
    distinct = np.array(samples.distinct(), np.int64)  # of equal images one in training and one kept apart would prove nothing
    if len(distinct) < LEAST:
        raise UsageError(
            f"--images holds {len(distinct)} distinct readable images; heads learn from thousands, {LEAST} is the least"
        )
    order = np.random.default_rng(seed).permutation(distinct)
    held, rest = np.sort(order[: len(order) // HELD]), np.sort(order[len(order) // HELD :])
    rights = [np.array([names.place.get(folder, -1) for folder in samples.folders]) for names in lists]
    tower = loaded.tower_without_heads()
    chosen = _blocks(options.exits, len(tower.blocks))
    means, embeddings = mean_tokens(tower, chosen, samples.images, progress)
    bank, known = banks[0], lists[0].told_by(samples.folders)
    target = rights[0] if known else (embeddings @ bank.vectors.T).argmax(1)
    held = held[target[held] >= 0]
    found = {done: ridge.fit(means[rest, k], embeddings[rest])[0] for k, done in enumerate(chosen)}
    shared = Head((tower.projection,))
    kept = loaded.folder / f"{files.FILE}.state"
    scores = [
        [_share_right(embed(head, means[held, k], tower.activation), bank, target[held]) for head in (shared, found[done])]
        for k, done in enumerate(chosen)
    ]
    if kind == "trained":
        lists_of_names = tuple(Names(one.vectors, right[rest]) for one, right in zip(banks, rights, strict=True))
        examples = TrainingSet(samples.images, rest, lists_of_names, loaded.logit_scale)
        places = [Place(block, class_token) for block in chosen for class_token in _class_tokens(tower)]
        trained = train(tower, places, examples, Schedule(views=options.views), seed, progress, kept)
        seen = _of_tokens(trained, tower, samples.images[held], progress)
        shares = {place: _share_right(value, bank, target[held]) for place, value in zip(places, seen, strict=True)}
        for row, block in zip(scores, chosen, strict=True):
            row += [shares[place] for place in places if place.block == block]
            found[block] = trained[max((place for place in places if place.block == block), key=lambda place: shares[place])]
    path = loaded.folder / files.FILE
    write_atomically(path, files.to_bytes(found))
    kept.unlink(missing_ok=True)
    table = _table(dict(zip(chosen, scores, strict=True)), "top-1" if known else "the whole tower's answer")
    table.title = f"Heads of {loaded.name}, on {len(held)} images kept apart"
    console = Terminal()
    console.print(table)
    console.print("a calibration made before no longer fits: convert calibrate")
    say(path.resolve())


def _table(scores: dict[int, list[float]], what: str) -> Table:
    """The share of right answers by block and head: the tower's own, the fitted one, and the trained ones where there are some."""
    table = Table(box=box.SIMPLE_HEAD, caption=what)
    columns = ("block", "shared", *COLUMNS)
    for column in columns[: 1 + max(map(len, scores.values()))]:
        table.add_column(column, justify="right")
    for done, row in scores.items():
        table.add_row(str(done), *(f"{score * 100:.1f} %" for score in row))
    return table


def _class_tokens(tower: Tower) -> tuple[bool, ...]:
    """Whether a head reads the class token too: both are tried where the tower's own embedding is read off it."""
    return (False, True) if tower.pooling == "class_token" else (False,)


def _of_tokens(heads: dict[Place, Head], tower: Tower, images: NDArray[np.int8], progress: Progress) -> list[NDArray[np.float32]]:
    """The embeddings [n, E] of every head that pools by attention, of images [n, H, W, 3]."""
    blocks, found = tuple(sorted({place.block for place in heads})), []
    read = reader(tower, blocks)
    for batch in batches(images, progress, "heads on the images kept apart", BATCH):
        tokens = normed(read(batch)[0], tower.norm_post)
        found.append(
            [
                embed_tokens(head, of_place(tokens[:, blocks.index(place.block)], place.class_token), tower.activation)
                for place, head in heads.items()
            ]
        )
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def _share_right(embeddings: NDArray[np.float32], bank: LabelBank, target: NDArray[np.int64]) -> float:
    return float(((embeddings @ bank.vectors.T).argmax(1) == target).mean())


def _blocks(text: str, count: int) -> tuple[int, ...]:
    found = tuple(sorted(set(parse_blocks(text))))
    if not all(0 < block < count for block in found):
        raise UsageError(f"--exits lie between 1 and {count - 1}, found {text}")
    return found
