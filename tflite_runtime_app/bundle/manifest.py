"""The bundle's `manifest.json` as frozen dataclasses; reading checks every field, writing is its exact inverse."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible

SCHEMA_VERSION = 1
# What policies were called before they had the paper's own name (layer-adaptive confidence thresholds, LCT); still read, never written.
FORMER_POLICIES = {"lact": "lct", "ltt-lact": "ltt-lct"}


FEATURES = ("confidence", "margin", "variance")  # what a gate looks at, in this order


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes the image tensor: resized (`shortest` side, or `squash`), centre-cropped to height x width.

    Mean and deviation do not stand here: they are folded into the patch convolution, so a pixel byte b enters as b - 128.
    """

    height: int
    width: int
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One int8 tensor of a signature: real value = scale * (code - zero_point)."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage: the signature that runs it, how many blocks are done after it, and what it costs.

    `macs` are the multiply-accumulates of its blocks (and of the patch embedding), `head_macs` those of its exit head.
    """

    signature: str
    blocks_done: int
    macs: int
    head_macs: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class GateSpec:
    """One gate: `FEATURES` are standardised by mean and deviation, quantized, scored.

    Stop when the int8 score >= threshold; thresholds run from -128 (always stops) to 128 (never stops).
    """

    signature: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    features: TensorSpec
    score: TensorSpec
    threshold: int


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """The exit policy by name, with its numbers."""

    name: str
    parameters: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where the ranges came from: digest of the image list, number of images, observer; `risk` holds alpha, delta, n.

    `labels` identifies the labels that gates and thresholds were fitted on (`tflite_runtime_app/exits/label_match.py`), empty where they
    were fitted on none. `observers` names the observer of each kind of tensor, where `observer` is a search's choice of them or one for
    all.
    """

    digest: str
    images: int
    observer: str
    labels: str = ""
    risk: dict[str, float] = field(default_factory=dict)
    observers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything the board must know of a bundle besides the flatbuffer and the label matrix."""

    name: str
    target: str
    weights_sha256: str
    space_id: str
    preprocessing: Preprocessing
    embedding_size: int
    logit_scale: float
    none_threshold: float
    stages: tuple[StageSpec, ...]
    gates: tuple[GateSpec, ...]
    policy: PolicySpec
    calibration: Calibration
    flatbuffer_sha256: str
    stream: str = "int8"
    ladder: tuple[str, ...] = ()
    limits: dict[str, float] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates of the full depth: every stage, and of the heads the last one's only."""
        return sum(stage.macs for stage in self.stages) + self.stages[-1].head_macs

    def macs_until(self, stage: int) -> int:
        """Multiply-accumulates spent when the image leaves at `stage`: its blocks, and every head on the way."""
        return sum(s.macs + s.head_macs for s in self.stages[: stage + 1])


def to_json(manifest: Manifest) -> str:
    """The manifest as JSON text; `from_json` gives back an equal manifest."""
    return json.dumps(dataclasses.asdict(manifest), indent=1, sort_keys=True)


def from_json(text: str) -> Manifest:
    """The manifest that `to_json` wrote, a former policy's name replaced by today's.

    Raises BundleIncompatible naming a field missing, unknown or of another type.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BundleIncompatible(f"manifest.json is not JSON ({error}); {BUILD_AGAIN}") from error
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA_VERSION:
        raise BundleIncompatible(
            f"the bundle's manifest has schema {schema!r}, this program reads {SCHEMA_VERSION}; "
            "build the bundle again with this version's: convert build"
        )
    manifest = typing.cast(Manifest, _read(Manifest, value, "manifest"))
    name = manifest.policy.name
    return dataclasses.replace(manifest, policy=dataclasses.replace(manifest.policy, name=FORMER_POLICIES.get(name, name)))


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value`, parsed JSON, as an instance of the annotated type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {str(key): _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _read(arguments[0], value, where)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    expected = getattr(kind, "__name__", str(kind))
    raise BundleIncompatible(f"{where} should be {expected}, found {value!r:.60}; {BUILD_AGAIN}")


def _read_dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise BundleIncompatible(f"{where} should be an object, found {value!r:.60}; {BUILD_AGAIN}")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(value) - set(hints))
    required = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
    missing = sorted(required - set(value))
    if unknown or missing:
        raise BundleIncompatible(
            f"{where} has unknown fields {unknown} and lacks {missing}; it was written by another version, build the bundle again"
        )
    return kind(**{name: _read(hints[name], item, f"{where}.{name}") for name, item in value.items()})
