"""What a calibration found of exits, as JSON: among the facts of a `calibration.npz`, or alone, beside it, for another list of labels.

A model folder with several lists has the ranges, which know of no label, once; `exits-NAME.json` holds gates, thresholds and figures for
`labels-NAME.txt`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from calibration.gates import Gate, Layer
from calibration.phases import Calibrated, ExitCalibration, Origin
from calibration.ranges import Grid
from tflite_runtime_app.bundle.calibration_outputs import Remembered
from tflite_runtime_app.bundle.manifest import FORMER_POLICIES
from tflite_runtime_app.inference.background import NO_MARGIN

EXITS_FORMAT = 1


class StoredError(ValueError):
    """The file is no calibration of this format."""


def to_json(calibrated: Calibrated) -> bytes:
    """The exits alone, with what they belong to and their figures."""
    return json.dumps({"format": EXITS_FORMAT, **facts_of(calibrated)}, indent=1).encode()


def from_json(content: bytes, base: Calibrated) -> Calibrated:
    """The calibration `base` with the exits that `to_json` wrote. Raises StoredError for anything else, or where the two are not of one
    calibration."""
    try:
        facts = json.loads(content)
        if facts["format"] != EXITS_FORMAT:
            raise StoredError(f"exits have format {facts['format']}, this program reads {EXITS_FORMAT}")
        origin, exits, measured = origin_of(facts), exits_of(facts, base.exits.remembered), facts["measured"]
    except Exception as error:  # damaged JSON fails in many ways; none is a calibration of exits
        raise StoredError(f"no exits of format {EXITS_FORMAT}: {error}") from error
    if origin != base.origin:
        raise StoredError("its exits were fitted in another calibration than the one beside them")
    return dataclasses.replace(base, exits=exits, measured=measured)


def facts_of(calibrated: Calibrated) -> dict[str, Any]:
    """Origin, exits but for what they remember, and figures."""
    exits = calibrated.exits
    fields = (field.name for field in dataclasses.fields(exits) if field.name not in ("gates", "remembered"))
    return {
        **dataclasses.asdict(calibrated.origin),
        **{name: getattr(exits, name) for name in fields},
        "gates": [dataclasses.asdict(gate) for gate in exits.gates],
        "measured": calibrated.measured,
    }


def origin_of(facts: Mapping[str, Any]) -> Origin:
    """What the facts belong to."""
    known: dict[str, Any] = {field.name: facts[field.name] for field in dataclasses.fields(Origin)}
    return Origin(**{**known, "exits": tuple(known["exits"]), "ladder": tuple(known["ladder"])})


def exits_of(facts: Mapping[str, Any], remembered: Remembered | None) -> ExitCalibration:
    """The exits among the facts."""
    return ExitCalibration(
        gates=tuple(_gate(entry) for entry in facts["gates"]),
        thresholds=tuple(facts["thresholds"]),
        policy=FORMER_POLICIES.get(facts["policy"], facts["policy"]),
        parameters=facts["parameters"],
        risk=facts["risk"],
        none_threshold=facts["none_threshold"],
        none_margin=facts.get("none_margin", NO_MARGIN),
        labels=facts.get("labels", ""),
        evidence=_renamed(facts["evidence"]),
        remembered=remembered,
    )


def _gate(entry: dict[str, Any]) -> Gate:
    return Gate(
        mean=tuple(entry["mean"]),
        deviation=tuple(entry["deviation"]),
        layers=tuple(Layer(tuple(map(tuple, layer["weights"])), tuple(layer["bias"])) for layer in entry["layers"]),
        features=Grid(**entry["features"]),
        hidden=Grid(**entry["hidden"]) if entry["hidden"] else None,
        score=Grid(**entry["score"]),
    )


def _renamed(value: Any) -> Any:
    """The evidence with former policies' names, as keys and as values, replaced by today's."""
    if isinstance(value, dict):
        return {FORMER_POLICIES.get(key, key): _renamed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner) for inner in value]
    return FORMER_POLICIES.get(value, value) if isinstance(value, str) else value
