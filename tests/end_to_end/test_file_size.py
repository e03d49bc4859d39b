"""A file holds every parameter once, in one byte, and little else."""

import zipfile

from convert.model.load import load_model
from convert.tflite.flatbuffer import read_model
from tests.end_to_end.memory_growth import measure_growth
from tflite_runtime_app.bundle.file import LABELS

OVERHEAD = 1.05


def test_constants_are_the_towers_parameters(converted):
    """A byte for each element of a matrix, four for one of a vector (biases are int32); exits share a head but for those with their own.

    With norm_pre a map [D, D] stands in its affine's place; a stream in two terms has a second term of positions and class token.
    """
    visual, width = converted.visual, converted.stages[0].tower.width
    parameters = sum(p.numel() * (1 if p.ndim > 1 else 4) for p in visual.parameters())
    heads = (layer for head in converted.stages[0].tower.exit_heads.values() for layer in head.linear.values())
    parameters += sum(layer.weight.numel() + 4 * layer.bias.numel() for layer in heads)
    extra = width * width * (converted.stages[0].tower.after_norm_pre is not None)
    if converted.stream == "two_term":
        extra += visual.positional_embedding.numel() + width
    stored = sum(len(buffer.data) for buffer in read_model(converted.integer_file).buffers if buffer.data is not None)
    assert 0.85 * (parameters + extra) <= stored <= OVERHEAD * (parameters + extra)


def test_the_embedded_models_file(embedded):
    """Beside labels at most a twentieth more than a byte for each parameter of the tower and of its exits' heads."""
    model = load_model(None, None, None)
    parameters = sum(p.numel() for p in model.module.visual.parameters())
    parameters += sum(
        layer.weight.numel() + layer.bias.numel() for head in model.heads.values() for layer in head.linear.values()
    )
    with zipfile.ZipFile(embedded) as archive:
        labels = archive.getinfo(LABELS).file_size
    assert embedded.stat().st_size <= OVERHEAD * parameters + labels


def test_what_the_embedded_model_costs_the_board(embedded):
    assert measure_growth(embedded).running <= 2.5
