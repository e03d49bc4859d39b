"""Stages are converted apart and merged: every signature computes what its part did, under names that no other tensor has."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from convert.emit import export
from convert.emit.onnx_worker import STAGES
from convert.emit.tflite_worker import stage_path
from convert.support.errors import EmitError
from convert.support.progress import Silent
from convert.tflite.flatbuffer import operator_name, read_model, schema, signatures, text, write_model
from convert.tflite.merge import Part, merge, single
from tests.tflite_runtime_app.tiny_bundle import Graph


def part(key: str, weights: np.ndarray, version: int = 4, prefix: str = "") -> Part:
    """x int8 [1, n] times `weights` [m, n]; tensors are called t0, t1, t2 whatever the part, with that prefix."""
    model = schema.ModelT()
    model.version, model.description = 3, b"part"
    model.buffers, model.operatorCodes, model.subgraphs, model.signatureDefs = [schema.BufferT()], [], [], []
    graph = Graph(model)
    source = graph.tensor((1, weights.shape[1]), 1.0)
    target = graph.tensor((1, weights.shape[0]), 1.0)
    matrix = graph.tensor(weights.shape, 1.0, 0, weights)
    graph.operator("FULLY_CONNECTED", [source, matrix, -1], target, version, schema.FullyConnectedOptionsT())
    graph.graph.inputs, graph.graph.outputs = [source], [target]
    for tensor in graph.graph.tensors:
        tensor.name = f"{prefix}{text(tensor.name)}".encode()
    return Part(key, write_model(model), ("given",), ("made",))


def matrix(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-2, 3, (rows, columns), np.int8)


def test_every_signature_computes_its_parts_product_under_its_own_names():
    matrices = {"stage_0": matrix(3, 4, 0), "stage_1": matrix(5, 3, 1), "stage_2": matrix(2, 5, 2)}
    merged = merge([part(key, weights) for key, weights in matrices.items()])
    interpreter = Interpreter(model_content=merged)
    assert list(interpreter.get_signature_list()) == list(matrices)
    for key, weights in matrices.items():
        given = np.random.default_rng(3).integers(-3, 4, (1, weights.shape[1]), np.int8)
        made = interpreter.get_signature_runner(key)(given=given)
        np.testing.assert_array_equal(made["made"], given.astype(int) @ weights.T)


def test_how_many_models_keras_had_made_before_does_not_show():
    early, late = (merge([part("stage_0", matrix(3, 4, 0), prefix=f"model_{count}/dense/")]) for count in (1, 23))
    assert early == late
    assert b"stage_0/model/dense/t0" in early


def test_names_are_unique_and_codes_and_constants_are_stored_once():
    same = matrix(4, 4, 0)
    model = read_model(merge([part("a", same), part("b", same), part("c", matrix(4, 4, 1), version=1)]))
    names = [text(tensor.name) for graph in model.subgraphs for tensor in graph.tensors]
    assert sorted(names) == sorted(f"{key}/t{number}" for key in "abc" for number in range(3))
    assert sorted(code.version for code in model.operatorCodes) == [1, 4]
    assert len(model.buffers) == 3  # the empty one, and two matrices
    assert [len(graph.operators) for graph in model.subgraphs] == [1, 1, 1]


def test_a_part_of_another_form_is_refused():
    good = part("stage_3", matrix(2, 2, 0))
    with pytest.raises(EmitError, match=r"stage_3 should have the outputs made, more, the converter made 1"):
        merge([dataclasses.replace(good, outputs=("made", "more"))])
    with pytest.raises(EmitError, match=r"stage_3 should have the inputs , the converter made 1"):
        merge([dataclasses.replace(good, inputs=())])
    model = read_model(good.content)
    model.subgraphs[0].tensors[2].name = b"t0"
    with pytest.raises(EmitError, match="stage_3 has several tensors called t0"):
        merge([dataclasses.replace(good, content=write_model(model))])
    model.subgraphs.append(model.subgraphs[0])
    with pytest.raises(EmitError, match="stage_3 should be one subgraph, the converter made 2"):
        merge([dataclasses.replace(good, content=write_model(model))])


def test_a_signature_alone_and_merged_again_computes_what_it_did(rotated):
    keys = [key for key, _, _, _ in signatures(read_model(rotated.float_file))]
    alone = {key: single(rotated.float_file, key) for key in keys}
    assert all(len(content) < 0.7 * len(rotated.float_file) for content in alone.values())
    parts = []
    for key, graph, inputs, outputs in signatures(read_model(rotated.float_file)):
        ordered = {int(index): name for name, index in (*inputs.items(), *outputs.items())}
        parts.append(
            Part(key, alone[key], tuple(ordered[int(i)] for i in graph.inputs), tuple(ordered[int(i)] for i in graph.outputs))
        )
    before, after = Interpreter(model_content=rotated.float_file), Interpreter(model_content=merge(parts))
    value = {"image": np.random.default_rng(0).random((1, *rotated.visual.image_size, 3), np.float32)}
    for key in keys:
        wanted, found = before.get_signature_runner(key)(**value), after.get_signature_runner(key)(**value)
        assert set(wanted) == set(found)
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values)
        value = {"hidden": wanted.get("hidden")}


def test_a_signature_that_is_not_there(rotated):
    with pytest.raises(KeyError, match="stage_9"):
        single(rotated.float_file, "stage_9")


def test_the_float_file_has_the_stages_names_and_no_name_twice(converted):
    model = read_model(converted.float_file)
    found = {key: (list(inputs), list(outputs)) for key, _, inputs, outputs in signatures(model)}
    assert found == {f"stage_{s.part.index}": ([s.input_name], list(s.output_names)) for s in converted.stages}
    names = [text(tensor.name) for graph in model.subgraphs for tensor in graph.tensors]
    assert len(set(names)) == len(names)
    assert "FULLY_CONNECTED" in {operator_name(model, operator) for operator in model.subgraphs[0].operators}


@pytest.mark.slow
def test_equal_stages_give_equal_bytes(plain):
    assert export.stages_to_float_tflite(plain.stages, Silent()) == plain.float_file


def test_a_stage_that_cannot_be_converted_is_named(plain):
    tower = plain.stages[1].tower
    wrong = dataclasses.replace(tower, projection=dataclasses.replace(tower.projection, weight=torch.zeros(5, 7)))
    with pytest.raises(EmitError, match=r"stage 1 cannot be converted: .*\w") as caught:
        export.stages_to_float_tflite((type(plain.stages[1])(wrong, plain.stages[1].part),), Silent())
    assert "\n" not in str(caught.value)
    assert "Traceback" in str(caught.value.__cause__)


def test_a_conversion_that_the_system_kills_says_so(plain, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "killed"))
    Path(sys.executable).write_text("#!/bin/sh\nkill -9 $$\n")
    Path(sys.executable).chmod(0o755)
    with pytest.raises(EmitError, match=r"stage 0 cannot be converted: its process was killed.*memory"):
        export.stages_to_float_tflite(plain.stages, Silent())


@pytest.mark.parametrize("module", ["convert.emit.onnx_worker", "convert.emit.tflite_worker"])
def test_the_converting_processes_end_with_their_parent(plain, tmp_path, module):
    torch.save(plain.stages, tmp_path / STAGES)
    child = subprocess.Popen([sys.executable, "-m", module, str(tmp_path)], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.close()  # what the system does when the parent dies
    assert child.wait(timeout=60) == 1
    assert not stage_path(tmp_path, 1).exists()
