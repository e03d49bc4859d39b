"""`calibration.npz`: how a calibration lies on disk, as numbers, so that a model can be built again without any data set.

It holds no images: ranges, channel means, gates, thresholds, the digest of the images they came from, the hash of the weights and
exits they belong to, and the figures measured on held-apart images.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.phases import Calibrated, RangeCalibration, RewriteInputs, WeightCalibration
from calibration.ranges import Grid
from calibration.stored_exits import StoredError, exits_of, facts_of, origin_of
from tflite_runtime_app.bundle.calibration_outputs import Remembered

FORMAT = 2
PRESET = 1  # of lzma: higher ones take minutes and save a tenth
_SEED, _LARGEST = "rotation/seed", "/largest"  # among the arrays `mean:…`, which began as means alone


def to_bytes(calibrated: Calibrated) -> bytes:
    """The calibration as the bytes of an npz file."""
    ranges, weights, exits = calibrated.ranges, calibrated.weights, calibrated.exits
    facts = {"format": FORMAT, **facts_of(calibrated), "observers": ranges.observers}
    roles = sorted(ranges.grids)
    arrays: dict[str, NDArray[Any]] = {f"mean:{role}": value for role, value in _channels(calibrated.rewrites).items()}
    arrays |= {f"correction:{role}": value for role, value in weights.corrections.items()}
    arrays |= {f"shape:{layer}": np.array(value.shape, np.int32) for layer, value in sorted(weights.rounding.items())}
    steps = b"".join(value.tobytes() for _, value in sorted(weights.rounding.items()))
    if exits.remembered is not None:
        arrays |= {"embeddings": exits.remembered.embeddings, "variances": exits.remembered.variances}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        facts=np.array(json.dumps(facts)),
        rounding=np.frombuffer(lzma.compress(steps, preset=PRESET), np.uint8),  # a third of what the npz's own deflate leaves
        roles=np.array(roles),
        scales=np.array([ranges.grids[role].scale for role in roles], np.float64),
        zero_points=np.array([ranges.grids[role].zero_point for role in roles], np.int16),
        largest_roles=np.array(sorted(ranges.largest)),
        largest=np.array([ranges.largest[role] for role in sorted(ranges.largest)], np.float64),
        **arrays,
    )
    return buffer.getvalue()


def from_bytes(content: bytes) -> Calibrated:
    """The calibration that `to_bytes` wrote. Raises StoredError for anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            _require_whole(content, arrays.zip)
            facts = json.loads(str(arrays["facts"]))
            if facts["format"] != FORMAT:
                raise StoredError(f"calibration has format {facts['format']}, this program reads {FORMAT}")
            remembered = Remembered(arrays["embeddings"], arrays["variances"]) if "embeddings" in arrays else None
            return Calibrated(
                origin_of(facts),
                _rewrite_inputs(_named("mean", arrays)),
                _ranges(facts, arrays),
                _weights(arrays),
                exits_of(facts, remembered),
                facts["measured"],
            )
    except Exception as error:  # damaged zips, array headers and JSON fail in a dozen ways; none is a calibration
        raise StoredError(f"no calibration of format {FORMAT}: {error}") from error


def _channels(inputs: RewriteInputs) -> dict[str, NDArray[np.float32]]:
    """The rewrites' inputs as arrays by name."""
    largest = {f"{role}{_LARGEST}": value for role, value in inputs.channel_maxima.items()}
    return {**inputs.channel_means, **largest, _SEED: np.array(inputs.rotation_seed, np.float32)}


def _rewrite_inputs(arrays: dict[str, NDArray[Any]]) -> RewriteInputs:
    """What `_channels` made arrays of."""
    seed = int(arrays.pop(_SEED, 0))
    maxima = {name.removesuffix(_LARGEST): arrays.pop(name) for name in list(arrays) if name.endswith(_LARGEST)}
    return RewriteInputs(arrays, maxima, seed)


def _ranges(facts: dict[str, Any], arrays: Any) -> RangeCalibration:
    grids = zip(arrays["roles"], arrays["scales"], arrays["zero_points"], strict=True)
    largest = zip(arrays["largest_roles"], arrays["largest"], strict=True)
    return RangeCalibration(
        {str(role): Grid(float(scale), int(zero_point)) for role, scale, zero_point in grids},
        {str(role): float(value) for role, value in largest},
        facts.get("observers", {}),
    )


def _weights(arrays: Any) -> WeightCalibration:
    rounding = _rounding(arrays["rounding"].tobytes(), _named("shape", arrays)) if "rounding" in arrays else {}
    return WeightCalibration(rounding, _named("correction", arrays))


def _require_whole(content: bytes, archive: zipfile.ZipFile) -> None:
    """Every member is as it was written, and as many are listed as the zip's last record states; else StoredError.

    Some arrays may be absent: without this, damage to their names would take them away without a word.
    """
    stated, found = int.from_bytes(content[-12:-10], "little"), len(archive.namelist())
    if found != stated:
        raise StoredError(f"{stated} arrays are expected, {found} are listed; the file is damaged")
    if (damaged := archive.testzip()) is not None:
        raise StoredError(f"{damaged} is damaged")


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
