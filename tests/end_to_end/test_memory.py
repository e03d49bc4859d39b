"""What a bundle costs the board in memory, measured on one that is large enough to be told from everything else."""

from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.end_to_end.memory_growth import measure_growth
from tests.tflite_runtime_app import tiny_bundle
from tests.tflite_runtime_app.tiny_bundle import EMBEDDING, IMAGE, VECTOR, Graph, Tiny
from tflite_runtime_app.bundle.manifest import PolicySpec, StageSpec, TensorSpec

WIDTH, LAYERS = 1024, 16
HIDDEN = TensorSpec("hidden", (1, WIDTH), 0.03, 5)


@pytest.fixture(scope="module")
def large(tiny) -> Tiny:
    """Two stages of LAYERS products with WIDTH x WIDTH weights each: 32 MB."""
    model = schema.ModelT()
    model.version, model.description = 3, b"large"
    model.buffers, model.operatorCodes, model.subgraphs, model.signatureDefs = [schema.BufferT()], [], [], []
    random, stages = np.random.default_rng(0), []
    for number, source in enumerate((IMAGE, HIDDEN)):
        graph = Graph(model)
        given = graph.spec(source)
        rows = graph.reshape(given, graph.tensor((1, 192), source.scale, source.zero_point)) if number == 0 else given
        for _ in range(LAYERS):
            columns = model.subgraphs[-1].tensors[rows].shape[1]
            rows = graph.fully_connected(rows, random.integers(-127, 128, (WIDTH, columns), np.int8), graph.spec(HIDDEN))
        vector = graph.fully_connected(rows, random.integers(-127, 128, (EMBEDDING, WIDTH), np.int8), graph.spec(VECTOR))
        made = {"embedding": vector} if number else {"hidden": rows, "embedding": vector}
        graph.signature(f"stage_{number}", {source.name: given}, made)
        outputs = (VECTOR,) if number else (HIDDEN, VECTOR)
        stages.append(StageSpec(f"stage_{number}", number + 1, 1, 1, (source,), outputs))
    builder = flatbuffers.Builder(1 << 26)
    builder.Finish(model.Pack(builder), b"TFL3")
    manifest = replace(tiny.manifest, stages=tuple(stages), gates=(), policy=PolicySpec("never"))
    return Tiny(bytes(builder.Output()), manifest, {})


def test_the_runner_needs_at_most_two_and_a_half_times_the_file(large, tmp_path):
    """The file's bytes once, which LiteRT reads constants from, and once more as XNNPACK lays the weights out."""
    path = tiny_bundle.write(tmp_path / "large.tflite", large, tiny_bundle.bank())
    assert path.stat().st_size > 30e6
    growth = measure_growth(path)
    assert growth.running <= 2.5
    assert 1 <= growth.reading <= growth.running
