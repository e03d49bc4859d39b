"""The bundle's `manifest.json` as frozen dataclasses; reading checks every field, writing is its exact inverse."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

from tflite_runtime_app.bundle.fields import parsed_json, read_fields
from tflite_runtime_app.bundle.ranges import BUNDLE
from tflite_runtime_app.errors import BundleIncompatible

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
    """Everything the board must know of a bundle besides the flatbuffer and the label matrix.

    An answer is none of the labels where the best cosine is below `none_threshold`, which holds for the labels that it was fitted on, or
    where a background name's is higher by more than `none_margin`, whatever the labels; 2 turns nothing away.
    """

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
    none_margin: float = 2.0
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


def from_json(text: str | bytes) -> Manifest:
    """The manifest that `to_json` wrote, a former policy's name replaced by today's.

    Raises BundleIncompatible naming a field missing, unknown, of another type or out of its range (`ranges.py`).
    """
    value = parsed_json(text, "manifest.json")
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA_VERSION:
        raise BundleIncompatible(
            f"the bundle's manifest has schema {schema!r:.40}, this program reads {SCHEMA_VERSION}; "
            "build the bundle again with this version's: convert build"
        )
    manifest = read_fields(Manifest, value, "manifest", BUNDLE)
    name = manifest.policy.name
    return dataclasses.replace(manifest, policy=dataclasses.replace(manifest.policy, name=FORMER_POLICIES.get(name, name)))
