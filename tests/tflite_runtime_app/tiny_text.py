"""A text tower of a few hundred kilobytes with the tiny bundle's embedding width: one block of width 8, 20 tokens, random weights."""

from pathlib import Path

import numpy as np

from convert.text.emit import emit
from convert.text.text_tower import Linear, TextBlock, TextTower
from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.text.file import TextManifest, pack_text

WIDTH, CONTEXT, LENGTHS, VOCABULARY = 8, 20, (12, 20), 49408
TEMPLATES = ("a photo of a {}.", "{} it is")


def tower(seed: int = 0) -> TextTower:
    """Weights large enough that every word of a sentence counts."""
    random = np.random.default_rng(seed)

    def linear(outputs: int, inputs: int) -> Linear:
        weight = random.normal(size=(outputs, inputs)).astype(np.float32)
        return Linear(weight, random.normal(size=outputs).astype(np.float32))

    square = [linear(WIDTH, WIDTH) for _ in range(4)]
    block = TextBlock(1e-5, *square, 1e-5, linear(3 * WIDTH, WIDTH), linear(WIDTH, 3 * WIDTH))
    table = random.normal(size=(VOCABULARY, WIDTH)).astype(np.float32)
    position = random.normal(size=(CONTEXT, WIDTH)).astype(np.float32)
    return TextTower(table, position, (block,), 2, "gelu", 1e-5, linear(tiny_bundle.EMBEDDING, WIDTH))


def manifest(**changes) -> TextManifest:
    facts = {
        "name": "tiny",
        "weights_sha256": "0" * 64,
        "space_id": tiny_bundle.SPACE,
        "context": CONTEXT,
        "lengths": LENGTHS,
        "vocabulary": VOCABULARY,
        "embedding_size": tiny_bundle.EMBEDDING,
        "templates": TEMPLATES,
        "weights": "float16",
        "check": {"least": 1.0},
        "tools": {"numpy": "2"},
    }
    return TextManifest(**{**facts, **changes})


def write(path: Path, seed: int = 0, **changes) -> Path:
    """The text tower's file at `path`, its manifest changed by `changes`."""
    path.write_bytes(pack_text(emit(tower(seed), "float16", LENGTHS), manifest(**changes)))
    return path
