"""What leaving out patches late costs in float: the embedding with so many of them gone before a block, beside the whole one.

    python tools/measure_leaving_out.py models/pocket val.tar --labels models/pocket/classes.tsv --images 1010

Three choices: the picture's first patches, its last (a plain slice of the stream), and its most average ones, nearest to the mean of all
patches there (they differ from picture to picture, so a file would have to sort). Prints a Markdown table, a row a block: the mean cosine
with the whole tower's embedding and the change of top-1 in points.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from calibration.phases import RewriteInputs
from calibration.samples import load, samples
from convert.model.labels import embed_labels, read_label_list
from convert.model.load import load_model
from convert.model.tower import Tower
from convert.rewrites import input_normalisation
from convert.stages.run import batches
from convert.stages.stage import Stage, build_stages

Choice = Callable[[Tensor, int], Tensor]  # the patch tokens [B, N, D] -> places of those that go [B, n]


def first(patches: Tensor, count: int) -> Tensor:
    return torch.arange(count).expand(len(patches), -1)


def last(patches: Tensor, count: int) -> Tensor:
    return torch.arange(patches.shape[1] - count, patches.shape[1]).expand(len(patches), -1)


def most_average(patches: Tensor, count: int) -> Tensor:
    return (patches - patches.mean(1, keepdim=True)).norm(dim=-1).argsort(1)[:, :count]


CHOICES: dict[str, Choice] = {"first": first, "last": last, "most average": most_average}


def without(stream: Tensor, gone: Tensor) -> Tensor:
    """The stream [B, T, D] without those patches; the class token stays."""
    batch, tokens, width = stream.shape
    stays = torch.ones(batch, tokens, dtype=torch.bool).scatter(1, gone + 1, False)
    return stream[stays].reshape(batch, -1, width)


def blocks(stage: Stage, stream: Tensor, begin: int, end: int) -> Tensor:
    """The stream [B, T, D] after the blocks begin .. end - 1."""
    batch, _, width = stream.shape
    rows = stream.reshape(-1, 1, width)
    for number in range(begin, end):
        rows = stage._block(rows, stage.tower.blocks[number], number + 1, batch)
    return rows.reshape(batch, -1, width)


def embeddings(stage: Stage, image: Tensor, count: int) -> dict[tuple[str, int], Tensor]:
    """Unit embeddings [B, E] by choice and blocks done before; ("whole", 0) is the tower's own."""
    depth, stream, found = len(stage.tower.blocks), stage._embed(image), {}
    for done in range(1, depth):
        stream = blocks(stage, stream, done - 1, done)
        for name, choice in CHOICES.items():
            left = blocks(stage, without(stream, choice(stream[:, 1:], count)), done, depth)
            found[name, done] = normalize(stage._final(left), dim=-1)
    found["whole", 0] = normalize(stage._final(blocks(stage, stream, depth - 1, depth)), dim=-1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("source", type=Path)
    parser.add_argument("--labels")
    parser.add_argument("--images", type=int, default=256, help="so many, from the beginning")
    parser.add_argument("--leave-out", type=int, default=2, help="so many patches")
    given = parser.parse_args()
    model = load_model(given.model, None, None)
    images = load(itertools.islice(samples([given.source]), given.images), model.preprocessing)
    labels = read_label_list(given.labels, model)
    vectors, wanted = torch.from_numpy(embed_labels(labels, model).vectors).float(), labels.indices(images.folders)
    tower = input_normalisation.apply(dataclasses.replace(model.tower(), exit_heads={}), RewriteInputs())
    assert isinstance(tower, Tower)
    (stage,) = build_stages(tower, (), whole=True)
    with torch.no_grad():
        parts = [embeddings(stage, batch, given.leave_out) for batch in batches(images.images)]
    found = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def right(key: tuple[str, int]) -> float:
        """Points of top-1; nan without labels."""
        if wanted is None:
            return float("nan")
        return 100 * float(np.mean((found[key] @ vectors.T).argmax(1).numpy() == np.array(wanted)))

    whole = ("whole", 0)
    print(f"{len(images)} images, top-1 {right(whole):.1f} %")
    print("| after block | " + " | ".join(CHOICES) + " |\n|---" + "|---" * len(CHOICES) + "|")
    for done in range(1, len(tower.blocks)):
        cells = (
            f"{float((found[name, done] * found[whole]).sum(1).mean()):.4f} ({right((name, done)) - right(whole):+.1f})"
            for name in CHOICES
        )
        print(f"| {done} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
