"""Two small towers taken all the way to a gated full-integer file; every test of finished files reads these."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from calibration.gates import KINDS, Gate, fit_gate
from calibration.phases import RangeCalibration
from calibration.probabilities import with_two_terms
from calibration.ranges import Grid
from convert.calibrate import channels
from convert.calibrate.ranges import range_calibration
from convert.emit.export import stages_to_float_tflite
from convert.emit.gates import add_gates
from convert.emit.integer import make_integer
from convert.emit.roles import Roles, recognise
from convert.model.tower import Attention, Head, Linear, Tower
from convert.rewrites import LADDER, rewrite
from convert.stages.stage import Stage, build_stages
from convert.support.progress import Silent
from convert.tflite.flatbuffer import read_model, signatures, text
from tests.convert.small import tower_of, vit
from tflite_runtime_app.inference.direct import Codes


@dataclass(frozen=True)
class Conversion:
    """One tower's way: open_clip's module, float stages, float file and its roles, integer file with gates; and images [n, H, W, 3].

    `by_name` and `grids` are those of the integer file; `ranges` those that calibration decided.
    """

    visual: Any
    stages: tuple[Stage, ...]
    float_file: bytes
    roles: Roles
    ranges: RangeCalibration
    stream: str
    by_name: dict[str, str]
    grids: dict[str, Grid]
    gates: tuple[Gate, ...]
    integer_file: bytes
    images: np.ndarray

    def __repr__(self) -> str:
        return f"Conversion({len(self.stages)} stages, {self.stream})"


def images(visual, count: int, seed: int) -> np.ndarray:
    """Images with structure of several sizes, int8 [n, H, W, 3]: noise alone would make all of them look alike to a ViT."""
    random = np.random.default_rng(seed)
    height, width = visual.image_size
    found = np.zeros((count, height, width, 3))
    for cells, strength in ((2, 70), (4, 50), (8, 30)):
        coarse = random.normal(0, strength, (count, cells, cells, 3))
        rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
        found += coarse[:, rows][:, :, columns]
    return np.clip(np.round(found), -128, 127).astype(np.int8)


def convert(visual, exits: tuple[int, ...], ladder=LADDER, heads: dict[int, Head] | None = None) -> Conversion:
    """Everything that a build does between model and bundle, with min-max ranges and a stream of one int8 tensor."""
    chosen = images(visual, 48, 0)
    inputs = channels.measure(tower_of(visual), exits, chosen, Silent())
    tower, _ = rewrite(replace(tower_of(visual), exit_heads=heads or {}), inputs, ladder)
    stages = build_stages(tower, exits)
    float_file = stages_to_float_tflite(stages, Silent())
    roles = recognise(float_file, stages)
    ranges = range_calibration(stages, chosen, frozenset(roles.by_name.values()), "min-max", "int8", Silent())
    random = np.random.default_rng(1)
    seen = [random.uniform(0.1, 0.9, (200, 3)).astype(np.float32) for _ in exits]
    gates = tuple(
        fit_gate(features, features[:, 0] + 0.3 * random.standard_normal(200) > 0.5, KINDS[k % len(KINDS)])
        for k, features in enumerate(seen)
    )
    unfinished = Conversion(visual, stages, float_file, roles, ranges, "", {}, {}, gates, b"", chosen)
    return with_stream(unfinished, "int8")


def with_stream(conversion: Conversion, stream: str) -> Conversion:
    """The same float file, made integer with a residual stream of that kind."""
    integer = make_integer(conversion.float_file, conversion.roles.by_name, conversion.ranges, stream)
    content = add_gates(integer.content, conversion.gates)
    return replace(conversion, stream=stream, by_name=integer.by_name, grids=integer.grids, integer_file=content)


def with_probabilities(conversion: Conversion) -> Conversion:
    """The same float file and stream, with attention's probabilities in two terms."""
    grids = with_two_terms(conversion.ranges.grids, conversion.stages[0].tower.tokens)
    return with_stream(replace(conversion, ranges=replace(conversion.ranges, grids=grids)), conversion.stream)


def rotated() -> Conversion:
    """Exact GELU, ln_pre, class token, two exits, one with a head of its own that pools all tokens by attention, the whole ladder."""
    visual = vit(0)
    return convert(visual, (1, 2), heads={2: random_head(tower_of(visual), 40, queries=3, class_token=True)})


def random_head(tower: Tower, hidden: int, queries: int = 0, class_token: bool = False) -> Head:
    """A head of two layers with random weights, pooling by that many queries or, with none, by the mean."""
    random = torch.Generator().manual_seed(7)

    def layer(a: int, b: int) -> Linear:
        return Linear(torch.randn(b, a, generator=random) / a**0.5, 0.1 * torch.randn(b, generator=random))

    values = 8
    sizes = (queries * values or tower.width, hidden, tower.embedding_size)
    layers = tuple(layer(a, b) for a, b in itertools.pairwise(sizes))
    return Head(layers, Attention(layer(tower.width, queries), layer(tower.width, values), class_token) if queries else None)


def plain() -> Conversion:
    """Quick GELU, LayerScale, average pooling before ln_post, no ln_pre, one exit; only pixels and scores are rewritten."""
    return convert(vit(1, quick=True, ls_init_value=0.5, no_ln_pre=True, pool_type="avg", layers=2), (1,), LADDER[:2])


def run(conversion: Conversion, invoke, image: np.ndarray) -> Iterator[tuple[Stage, Codes, Codes]]:
    """(stage, inputs, outputs) of every stage in turn for one image [H, W, 3]; `invoke(signature, inputs)` gives outputs by name."""
    given = {"image": image[None]}
    wanted = {key: list(inputs) for key, _, inputs, _ in signatures(read_model(conversion.integer_file))}
    for stage in conversion.stages:
        key = f"stage_{stage.part.index}"
        inputs = {name: given[name] for name in wanted[key]}
        given = invoke(key, inputs)
        yield stage, inputs, given


def interpreter_invoke(interpreter):
    """What `run` takes, of a LiteRT interpreter."""
    return lambda signature, inputs: interpreter.get_signature_runner(signature)(**inputs)


def place(conversion: Conversion, model, signature: str, role: str) -> Any:
    """The tensor object of that role in a stage of the integer file."""
    graph = next(graph for key, graph, _, _ in signatures(model) if key == signature)
    return next(tensor for tensor in graph.tensors if conversion.by_name.get(text(tensor.name)) == role)


def model_of(conversion: Conversion) -> Any:
    """The integer file as a ModelT to be spoilt."""
    return read_model(conversion.integer_file)
