"""`calibration.npz`: everything that calibration found, as numbers, so that a model can be built again without any data set.

It holds no images: ranges, channel means, gates, thresholds, the digest of the images they came from, the hash of the weights and
exits they belong to, and the figures measured on held-apart images.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.gates import Gate
from calibration.ranges import Grid

FORMAT = 1
_PLAIN = (
    "weights_sha256",
    "exits",
    "ladder",
    "stream",
    "digest",
    "images",
    "observer",
    "thresholds",
    "none_threshold",
    "measured",
    "labels",
)


class StoredError(ValueError):
    """The file is no calibration of this format."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A calibration: `means` per channel, `grids` and `largest` values per role, `thresholds` and `gates` per exit.

    `measured` are the figures on held-apart images that the report shows; `labels` identifies the labels that gates and figures are for.
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


def to_bytes(stored: Stored) -> bytes:
    """The calibration as the bytes of an npz file."""
    facts = {
        "format": FORMAT,
        **{name: getattr(stored, name) for name in _PLAIN},
        "gates": [dataclasses.asdict(gate) for gate in stored.gates],
    }
    roles = sorted(stored.grids)
    arrays = {f"mean:{role}": value for role, value in stored.means.items()}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        facts=np.array(json.dumps(facts)),
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
            facts = json.loads(str(arrays["facts"]))
            if facts["format"] != FORMAT:
                raise StoredError(f"calibration has format {facts['format']}, this program reads {FORMAT}")
            scales, zero_points = arrays["scales"], arrays["zero_points"]
            grids = {str(r): Grid(float(s), int(z)) for r, s, z in zip(arrays["roles"], scales, zero_points, strict=True)}
            largest = {str(r): float(v) for r, v in zip(arrays["largest_roles"], arrays["largest"], strict=True)}
            means = {name.removeprefix("mean:"): arrays[name] for name in arrays.files if name.startswith("mean:")}
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
        )
    except Exception as error:  # damaged zips, array headers and JSON fail in a dozen ways; none is a calibration
        raise StoredError(f"no calibration of format {FORMAT}: {error}") from error


def _gate(entry: dict[str, Any]) -> Gate:
    return Gate(
        mean=tuple(entry["mean"]),
        deviation=tuple(entry["deviation"]),
        weights=tuple(entry["weights"]),
        bias=entry["bias"],
        features=Grid(**entry["features"]),
        score=Grid(**entry["score"]),
    )
