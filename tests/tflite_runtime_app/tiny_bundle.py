"""A real bundle of a few kilobytes: three full-integer stages and two gates, written with LiteRT's own schema.

Stage 0 cuts an 8 x 8 image into 4 rows of 48 numbers and maps them to width 8; each later stage maps width 8 to width 8.
Heads map the mean over tokens to an embedding of 6 and a variance of 1. Nothing of the workshop is needed.
"""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_runtime_app.bundle.file import write_bundle
from tflite_runtime_app.bundle.labels import LabelBank, labels_to_bytes
from tflite_runtime_app.bundle.manifest import (
    Calibration,
    GateSpec,
    Manifest,
    PolicySpec,
    Preprocessing,
    StageSpec,
    TensorSpec,
)

SIDE, TOKENS, WIDTH, EMBEDDING = 8, 4, 8, 6
SPACE = "space-of-the-tiny-tower"
WEIGHT_SCALE = 0.005
IMAGE = TensorSpec("image", (1, SIDE, SIDE, 3), 1 / 255, -128)
HIDDEN = TensorSpec("hidden", (1, TOKENS, WIDTH), 0.03, 5)
HIDDEN_LO = TensorSpec("hidden_lo", (1, TOKENS, WIDTH), 0.02, -3)
VECTOR = TensorSpec("embedding", (1, EMBEDDING), 0.02, 3)
VARIANCE = TensorSpec("variance", (1, 1), 0.01, -7)
FEATURES = TensorSpec("features", (1, 3), 0.05, 2)
SCORE = TensorSpec("score", (1, 1), 0.1, 0)


@dataclass
class Graph:
    """One subgraph under construction, the entry of one signature."""

    model: schema.ModelT
    graph: schema.SubGraphT = field(default_factory=schema.SubGraphT)

    def __post_init__(self) -> None:
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs.append(self.graph)

    def tensor(self, shape, scale=None, zero_point=0, data=None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.hasRank = f"t{len(self.graph.tensors)}".encode(), list(shape), True
        kinds = {"int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}
        tensor.type = kinds["int8" if data is None else str(data.dtype)]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero_point]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def spec(self, spec: TensorSpec) -> int:
        return self.tensor(spec.shape, spec.scale, spec.zero_point)

    def operator(self, name: str, inputs, output: int, version: int, options) -> int:
        operator, code = schema.OperatorT(), schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = version
        self.model.operatorCodes.append(code)
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.model.operatorCodes) - 1, list(inputs), [output]
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.graph.operators.append(operator)
        return output

    def reshape(self, source: int, output: int) -> int:
        shape = np.array(self.graph.tensors[output].shape, np.int32)
        options = schema.ReshapeOptionsT()
        options.newShape = shape.tolist()
        return self.operator("RESHAPE", [source, self.tensor(shape.shape, data=shape)], output, 1, options)

    def fully_connected(self, source: int, weights: np.ndarray, output: int) -> int:
        weight = self.tensor(weights.shape, WEIGHT_SCALE, 0, weights)
        return self.operator("FULLY_CONNECTED", [source, weight, -1], output, 4, schema.FullyConnectedOptionsT())

    def mean_of_tokens(self, source: int, scale: float, zero_point: int) -> int:
        axis = np.array([1], np.int32)
        output = self.tensor((1, WIDTH), scale, zero_point)
        return self.operator("MEAN", [source, self.tensor((1,), data=axis)], output, 2, schema.ReducerOptionsT())

    def signature(self, name: str, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        self.graph.inputs, self.graph.outputs = list(inputs.values()), list(outputs.values())
        entry = schema.SignatureDefT()
        entry.signatureKey, entry.subgraphIndex = name.encode(), len(self.model.subgraphs) - 1
        entry.inputs, entry.outputs = _tensor_maps(inputs), _tensor_maps(outputs)
        self.model.signatureDefs.append(entry)


def _tensor_maps(tensors: dict[str, int]) -> list[schema.TensorMapT]:
    maps = []
    for name, index in tensors.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        maps.append(entry)
    return maps


@dataclass(frozen=True)
class Tiny:
    """The flatbuffer, a manifest that fits it, and the int8 weights by signature and use."""

    flatbuffer: bytes
    manifest: Manifest
    weights: dict[str, np.ndarray]


def build(two_term: bool = False, seed: int = 0, fails_on_red: bool = False) -> Tiny:
    """Three stages (blocks 2, 4, 6) and two gates; `two_term` hands over `hidden_lo` as well.

    One that `fails_on_red` takes a reciprocal square root of less than zero, which LiteRT refuses, for an image of more red than green and
    blue together.
    """
    random = np.random.default_rng(seed)
    model = schema.ModelT()
    model.version, model.description = 3, b"tiny"
    model.buffers, model.operatorCodes, model.subgraphs, model.signatureDefs = [schema.BufferT()], [], [], []
    handed = (HIDDEN, HIDDEN_LO) if two_term else (HIDDEN,)
    weights: dict[str, np.ndarray] = {}
    stages = tuple(_stage(model, random, stage, handed, weights) for stage in range(3))
    if fails_on_red:
        _fail_on_red(model)
    gates = tuple(_gate(model, random, gate, weights) for gate in range(2))
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    manifest = Manifest(
        name="tiny",
        target="generic",
        weights_sha256="0" * 64,
        space_id=SPACE,
        preprocessing=Preprocessing(SIDE, SIDE),
        embedding_size=EMBEDDING,
        logit_scale=10.0,
        none_threshold=-1.0,
        stages=stages,
        gates=gates,
        policy=PolicySpec("lct"),
        calibration=Calibration("0" * 64, 1, "minmax"),
        flatbuffer_sha256="",
        stream="two_term" if two_term else "int8",
    )
    return Tiny(bytes(builder.Output()), manifest, weights)


def _stage(model, random, stage: int, handed, weights) -> StageSpec:
    graph, name, last = Graph(model), f"stage_{stage}", stage == 2
    incoming = (IMAGE,) if stage == 0 else handed
    inputs = {spec.name: graph.spec(spec) for spec in incoming}
    source, grid = (inputs["image"], IMAGE) if stage == 0 else (inputs["hidden"], HIDDEN)
    if "hidden_lo" in inputs:
        source = graph.operator("ADD", list(inputs.values()), graph.spec(HIDDEN), 2, schema.AddOptionsT())
    columns = 48 if stage == 0 else WIDTH
    rows = graph.reshape(source, graph.tensor((TOKENS, columns), grid.scale, grid.zero_point))
    produced = {}
    for spec in handed:
        weights[f"{name}.{spec.name}"] = matrix = random.integers(-127, 128, (WIDTH, columns), np.int8)
        flat = graph.fully_connected(rows, matrix, graph.tensor((TOKENS, WIDTH), spec.scale, spec.zero_point))
        produced[spec.name] = graph.reshape(flat, graph.spec(spec))
    mean = graph.mean_of_tokens(produced["hidden"], HIDDEN.scale, HIDDEN.zero_point)
    heads = (VECTOR,) if last else (VECTOR, VARIANCE)
    for spec in heads:
        weights[f"{name}.{spec.name}"] = matrix = random.integers(-127, 128, (spec.shape[1], WIDTH), np.int8)
        produced[spec.name] = graph.fully_connected(mean, matrix, graph.spec(spec))
    outgoing = heads if last else (*handed, *heads)
    graph.signature(name, inputs, {spec.name: produced[spec.name] for spec in outgoing})
    return StageSpec(name, 2 * (stage + 1), 1000 * (stage + 1), 10 + stage, incoming, outgoing)


def _fail_on_red(model) -> None:
    """Stage 0 also takes the reciprocal square root of green and blue less red, which nothing reads."""
    graph = object.__new__(Graph)
    graph.model, graph.graph = model, model.subgraphs[0]
    rows = graph.graph.operators[0].outputs[0]
    weights = np.tile(np.array([-60, 60, 60], np.int8), 16)[None]
    other = graph.fully_connected(rows, weights, graph.tensor((TOKENS, 1), 0.1, 0))
    graph.operator("RSQRT", [other], graph.tensor((TOKENS, 1), 0.1, 0), 2, None)


def _gate(model, random, gate: int, weights) -> GateSpec:
    graph, name = Graph(model), f"gate_{gate}"
    weights[name] = matrix = random.integers(-127, 128, (1, 3), np.int8)
    features = graph.spec(FEATURES)
    graph.signature(name, {"features": features}, {"score": graph.fully_connected(features, matrix, graph.spec(SCORE))})
    return GateSpec(name, (0.4, 0.2, 0.5), (0.2, 0.1, 0.25), FEATURES, SCORE, threshold=128)


def bank(names=("cat", "dog", "owl", "red fox"), space_id: str = SPACE, width: int = EMBEDDING) -> LabelBank:
    """Random unit vectors, one per name."""
    vectors = np.random.default_rng(7).normal(size=(len(names), width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return LabelBank(vectors, tuple(names), ("a photo of a {}.",), space_id)


def with_thresholds(manifest: Manifest, *thresholds: int) -> Manifest:
    """`manifest` with these gate thresholds: -128 always stops, 128 never does."""
    gates = tuple(replace(gate, threshold=value) for gate, value in zip(manifest.gates, thresholds, strict=True))
    return replace(manifest, gates=gates)


def write(path: Path, tiny: Tiny, labels: LabelBank | None = None, **changes) -> Path:
    """The bundle of `tiny` at `path`, its manifest changed by `changes`, with `labels` unless None, and a report."""
    members = {"report.json": b'{"cosine": 0.99}'}
    if labels is not None:
        members["labels.npz"] = labels_to_bytes(labels)
    write_bundle(path, tiny.flatbuffer, replace(tiny.manifest, **changes), members)
    return path


if __name__ == "__main__":  # python -m tests.tflite_runtime_app.tiny_bundle FILE, for `classify soak`
    write(Path(sys.argv[1]), build(), bank())
