"""The same file and the same image give the same bytes: run after run, interpreter after interpreter, on any number of threads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_runtime_app import tiny_bundle
from tests.tflite_runtime_app.tiny_bundle import Graph, Tiny, schema
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.inference.engine import OP_RESOLVERS, LiteRtEngine

THREADS = (1, 2, 4)
IMAGES = 12


def digest(path: Path, threads: int, kernels: str, images: np.ndarray) -> str:
    """SHA-256 of every int8 output of every stage for every image, by a new interpreter."""
    cascade, total = load_cascade(read_bundle(path), threads, kernels), hashlib.sha256()
    for image in images:
        for output in cascade.stage_outputs(image[None]):
            for name in sorted(output.raw):
                total.update(name.encode() + output.raw[name].tobytes())
    return total.hexdigest()


def random_images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (IMAGES, tiny_bundle.SIDE, tiny_bundle.SIDE, 3), np.int8)


@pytest.mark.parametrize("kernels", OP_RESOLVERS)
@pytest.mark.parametrize("two_term", [False, True])
def test_outputs_are_the_same_over_runs_and_threads(tmp_path: Path, kernels: str, two_term: bool) -> None:
    path = tiny_bundle.write(tmp_path / "tiny.tflite", tiny_bundle.build(two_term))
    images = random_images(3)
    found = {digest(path, threads, kernels, images) for threads in (*THREADS, *THREADS)}
    assert len(found) == 1
    images[-1, 0, 0] ^= 0x40  # three numbers of the last image
    assert digest(path, 1, kernels, images) not in found, "a digest that does not change with the image shows nothing"


def test_an_image_does_not_depend_on_those_before_it(tiny: Tiny) -> None:
    images = random_images(4)
    engine = LiteRtEngine(tiny.flatbuffer, 2)
    alone = [LiteRtEngine(tiny.flatbuffer).invoke("stage_0", {"image": image[None]})["hidden"] for image in images]
    for image, expected in [*zip(images, alone, strict=True)][::-1]:
        np.testing.assert_array_equal(engine.invoke("stage_0", {"image": image[None]})["hidden"], expected)


def product(zero_point: int) -> bytes:
    """One product of two activations of attention's size; XNNPACK takes it where the second one's zero point is 0, and shares it out."""
    model = schema.ModelT()
    model.version, model.description = 3, b"product"
    model.buffers, model.operatorCodes, model.subgraphs, model.signatureDefs = [schema.BufferT()], [], [], []
    graph = Graph(model)
    rows, columns = graph.tensor((1, 6, 26, 64), 0.03, -6), graph.tensor((1, 6, 64, 26), 0.03, zero_point)
    scores = graph.tensor((1, 6, 26, 26), 0.2, -65)
    graph.operator("BATCH_MATMUL", [rows, columns], scores, 4, schema.BatchMatMulOptionsT())
    graph.signature("product", {"rows": rows, "columns": columns}, {"scores": scores})
    builder = tiny_bundle.flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("zero_point", [0, 7])
def test_attentions_products_are_right_on_any_number_of_threads(zero_point: int) -> None:
    random = np.random.default_rng(5)
    rows, columns = (random.integers(-128, 128, shape, np.int8) for shape in ((1, 6, 26, 64), (1, 6, 64, 26)))
    real = (rows.astype(float) + 6) @ (columns.astype(float) - zero_point) * 0.03 * 0.03 / 0.2 - 65
    expected = np.clip(np.rint(real), -128, 127)
    assert np.unique(expected).size > 100
    outputs = [
        LiteRtEngine(product(zero_point), threads).invoke("product", {"rows": rows, "columns": columns}) for threads in THREADS
    ]
    for output in outputs:
        np.testing.assert_array_equal(output["scores"], outputs[0]["scores"])
        assert np.abs(output["scores"] - expected).max() <= 1
