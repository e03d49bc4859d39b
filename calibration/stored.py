"""`calibration.npz`: everything that calibration found, as numbers, so that a model can be built again without any data set.

It holds no images: ranges, channel means, gates, thresholds, the digest of the images they came from, the hash of the weights and
exits they belong to, and the figures measured on held-apart images.
"""

from __future__ import annotations

import dataclasses
import io
import json
import lzma
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.gates import Gate, Layer
from calibration.ranges import Grid
from tflite_runtime_app.bundle.calibration_outputs import Remembered
from tflite_runtime_app.bundle.manifest import FORMER_POLICIES

FORMAT = 2
PRESET = 1  # of lzma: higher ones take minutes and save a tenth
_PLAIN = (
    "weights_sha256",
    "exits",
    "ladder",
    "stream",
    "digest",
    "images",
    "observer",
    "thresholds",
    "policy",
    "parameters",
    "risk",
    "evidence",
    "none_threshold",
    "measured",
    "labels",
    "observers",
)


class StoredError(ValueError):
    """The file is no calibration of this format."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A calibration: `means` and other numbers per channel, `grids` and `largest` values per role, `thresholds` and `gates` per exit.

    `policy` and its `parameters` say how thresholds are used, `risk` what the bound found, `evidence` what exits were chosen by;
    `remembered` are the outputs of some images.
    `measured` are the figures on held-apart images that the report shows; `labels` identifies the labels that gates and figures are for;
    `rounding` are the steps that each layer's weights lie off their nearest codes, `corrections` what is added to the heads' biases;
    `observers` names the observer of each kind of tensor (none in files older than the search).
    """

    weights_sha256: str
    exits: tuple[int, ...]
    ladder: tuple[str, ...]
    stream: str
    digest: str
    images: int
    observer: str
    means: dict[str, NDArray[np.float32]]
    grids: dict[str, Grid]
    largest: dict[str, float]
    gates: tuple[Gate, ...]
    thresholds: tuple[int, ...]
    none_threshold: float
    measured: dict[str, Any]
    labels: str = ""
    observers: dict[str, str] = field(default_factory=dict)
    rounding: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    corrections: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    policy: str = "never"
    parameters: dict[str, float] = field(default_factory=dict)
    risk: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    remembered: Remembered | None = None


def to_bytes(stored: Stored) -> bytes:
    """The calibration as the bytes of an npz file."""
    facts = {
        "format": FORMAT,
        **{name: getattr(stored, name) for name in _PLAIN},
        "gates": [dataclasses.asdict(gate) for gate in stored.gates],
    }
    roles = sorted(stored.grids)
    arrays: dict[str, NDArray[Any]] = {f"mean:{role}": value for role, value in stored.means.items()}
    arrays |= {f"correction:{role}": value for role, value in stored.corrections.items()}
    arrays |= {f"shape:{layer}": np.array(value.shape, np.int32) for layer, value in sorted(stored.rounding.items())}
    steps = b"".join(value.tobytes() for _, value in sorted(stored.rounding.items()))
    if stored.remembered is not None:
        arrays |= {"embeddings": stored.remembered.embeddings, "variances": stored.remembered.variances}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        facts=np.array(json.dumps(facts)),
        rounding=np.frombuffer(lzma.compress(steps, preset=PRESET), np.uint8),  # a third of what the npz's own deflate leaves
        roles=np.array(roles),
        scales=np.array([stored.grids[role].scale for role in roles], np.float64),
        zero_points=np.array([stored.grids[role].zero_point for role in roles], np.int16),
        largest_roles=np.array(sorted(stored.largest)),
        largest=np.array([stored.largest[role] for role in sorted(stored.largest)], np.float64),
        **arrays,
    )
    return buffer.getvalue()


def from_bytes(content: bytes) -> Stored:
    """The calibration that `to_bytes` wrote. Raises StoredError for anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            _require_whole(content, arrays.zip)
            facts = json.loads(str(arrays["facts"]))
            if facts["format"] != FORMAT:
                raise StoredError(f"calibration has format {facts['format']}, this program reads {FORMAT}")
            scales, zero_points = arrays["scales"], arrays["zero_points"]
            grids = {str(r): Grid(float(s), int(z)) for r, s, z in zip(arrays["roles"], scales, zero_points, strict=True)}
            largest = {str(r): float(v) for r, v in zip(arrays["largest_roles"], arrays["largest"], strict=True)}
            corrections = _named("correction", arrays)
            rounding = _rounding(arrays["rounding"].tobytes(), _named("shape", arrays)) if "rounding" in arrays else {}
            means = _named("mean", arrays)
            remembered = Remembered(arrays["embeddings"], arrays["variances"]) if "embeddings" in arrays else None
        return Stored(
            weights_sha256=facts["weights_sha256"],
            exits=tuple(facts["exits"]),
            ladder=tuple(facts["ladder"]),
            stream=facts["stream"],
            digest=facts["digest"],
            images=facts["images"],
            observer=facts["observer"],
            means=means,
            grids=grids,
            largest=largest,
            gates=tuple(_gate(entry) for entry in facts["gates"]),
            thresholds=tuple(facts["thresholds"]),
            none_threshold=facts["none_threshold"],
            measured=facts["measured"],
            labels=facts.get("labels", ""),
            observers=facts.get("observers", {}),
            rounding=rounding,
            corrections=corrections,
            policy=FORMER_POLICIES.get(facts["policy"], facts["policy"]),
            parameters=facts["parameters"],
            risk=facts["risk"],
            evidence=_renamed(facts["evidence"]),
            remembered=remembered,
        )
    except Exception as error:  # damaged zips, array headers and JSON fail in a dozen ways; none is a calibration
        raise StoredError(f"no calibration of format {FORMAT}: {error}") from error


def _require_whole(content: bytes, archive: zipfile.ZipFile) -> None:
    """Every member is as it was written, and as many are listed as the zip's last record states; else StoredError.

    Some arrays may be absent: without this, damage to their names would take them away without a word.
    """
    stated, found = int.from_bytes(content[-12:-10], "little"), len(archive.namelist())
    if found != stated:
        raise StoredError(f"{stated} arrays are expected, {found} are listed; the file is damaged")
    if (damaged := archive.testzip()) is not None:
        raise StoredError(f"{damaged} is damaged")


def _renamed(value: Any) -> Any:
    """The evidence with former policies' names, as keys and as values, replaced by today's."""
    if isinstance(value, dict):
        return {FORMER_POLICIES.get(key, key): _renamed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner) for inner in value]
    return FORMER_POLICIES.get(value, value) if isinstance(value, str) else value


def _named(prefix: str, arrays: Any) -> dict[str, NDArray[Any]]:
    """The arrays of that prefix, by what stands behind it, in the order of the file."""
    return {name.removeprefix(f"{prefix}:"): arrays[name] for name in arrays.files if name.startswith(f"{prefix}:")}


def _rounding(packed: bytes, shapes: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.int8]]:
    """The steps of every layer, cut from one sequence; how long it must be is known before it is unpacked."""
    sizes = {layer: int(np.prod(shape.astype(np.int64))) for layer, shape in shapes.items()}
    unpacked = lzma.LZMADecompressor().decompress(packed, max_length=sum(sizes.values()) + 1)
    if len(unpacked) != sum(sizes.values()):
        raise StoredError(f"the weights' rounding has {len(unpacked)} steps, {sum(sizes.values())} are expected")
    steps, start, found = np.frombuffer(unpacked, np.int8), 0, {}
    for layer, size in sizes.items():
        found[layer] = steps[start : start + size].reshape([int(n) for n in shapes[layer]])
        start += size
    return found


def _gate(entry: dict[str, Any]) -> Gate:
    return Gate(
        mean=tuple(entry["mean"]),
        deviation=tuple(entry["deviation"]),
        layers=tuple(Layer(tuple(map(tuple, layer["weights"])), tuple(layer["bias"])) for layer in entry["layers"]),
        features=Grid(**entry["features"]),
        hidden=Grid(**entry["hidden"]) if entry["hidden"] else None,
        score=Grid(**entry["score"]),
    )
