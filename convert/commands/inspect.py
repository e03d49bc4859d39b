"""`convert inspect`: everything a bundle says of itself, as tables or JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from convert.support.console import Terminal
from convert.tflite import xnnpack
from convert.tflite.audit import census
from convert.tflite.flatbuffer import read_model
from convert.tflite.flatbuffer import signatures as signatures_of
from tflite_runtime_app.admission.open import accepted_bundle
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.escaping.terminal import escaped


def inspect(file: Path, as_json: bool) -> None:
    """Prints the facts; the bundle was checked to the last byte on the way."""
    facts = describe(accepted_bundle(file))
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        console = Terminal()
        console.width = max(console.width, 120)  # a narrow terminal wraps lines better than cells would
        for table in _tables(facts):
            console.print(table)


def describe(bundle: Bundle) -> dict[str, Any]:
    """The manifest's facts, with the operators of each signature, the share of MACs that XNNPACK takes, and the islands it makes of them.

    `islands` holds for each signature what LiteRT does on this machine, and what `convert/tflite/xnnpack.py` expects of the file alone.
    """
    signatures = {key: dataclasses.asdict(value) for key, value in census(bundle.flatbuffer).items()}
    total = sum(entry["macs"] for entry in signatures.values())
    return {
        "file": str(bundle.path),
        "bytes": bundle.path.stat().st_size,
        "flatbuffer_bytes": len(bundle.flatbuffer),
        "labels": 0 if bundle.labels is None else len(bundle.labels.names),
        "xnnpack_share_of_macs": sum(entry["macs_xnnpack"] for entry in signatures.values()) / total,
        "operators": signatures,
        "islands": _islands(bundle.flatbuffer),
        "manifest": dataclasses.asdict(bundle.manifest),
    }


def _islands(flatbuffer: bytes) -> dict[str, Any]:
    model = read_model(flatbuffer)
    return {
        key: {
            **dataclasses.asdict(xnnpack.measured(flatbuffer, key)),
            "expected": dataclasses.asdict(xnnpack.expected(model, graph)),
        }
        for key, graph, _, _ in signatures_of(model)
    }


def _tables(facts: dict[str, Any]) -> list[Table]:
    manifest = facts["manifest"]
    calibration, preprocessing = manifest["calibration"], manifest["preprocessing"]
    rows = {
        "file": facts["file"],
        "size": f"{facts['bytes'] / 1e6:.2f} MB, flatbuffer {facts['flatbuffer_bytes'] / 1e6:.2f} MB",
        "model": f"{manifest['name']}, weights {manifest['weights_sha256'][:16]}",
        "target": manifest["target"],
        "preprocessing": "{resize_mode} side to {height} x {width}, {interpolation}".format(**preprocessing),
        "labels": f"{facts['labels']}, space {manifest['space_id']}",
        "calibration": f"{calibration['observer']} on {calibration['images']} images, digest {calibration['digest'][:16]}",
        "rewrites": ", ".join(manifest["ladder"]),
        "policy": manifest["policy"]["name"],
        "bound": _bound(calibration["risk"]),
        "none of these": f"cosine below {manifest['none_threshold']:.3f}",
        "MACs XNNPACK takes": f"{facts['xnnpack_share_of_macs'] * 100:.2f} %",
        "limits": ", ".join(f"{key} {value}" for key, value in manifest["limits"].items()) or "none",
        "flatbuffer sha256": manifest["flatbuffer_sha256"],
    }
    overview = Table(show_header=False)
    for name, value in rows.items():
        overview.add_row(name, escaped(value))
    return [overview, _stage_table(facts), _tensor_table(manifest)]


def _bound(risk: dict[str, float]) -> str:
    """What Learn then Test found, in words."""
    if not risk or not risk["passed"]:
        return "none"
    what = "answers changed" if risk["label_free"] else "images harmed"
    measured = f"{risk['losses']:.0f} of {risk['images']:.0f} here"
    return f"at most {risk['alpha']:.1%} of {what}, with {1 - risk['delta']:.0%} confidence ({measured})"


def _stage_table(facts: dict[str, Any]) -> Table:
    manifest = facts["manifest"]
    table = Table(title="stages")
    for column in (
        "signature",
        "blocks",
        "MMAC",
        "head MMAC",
        "gate stops at",
        "operators",
        "XNNPACK's islands",
        "left to plain kernels",
    ):
        table.add_column(column)
    thresholds = [f"score >= {gate['threshold']}" for gate in manifest["gates"]]
    for index, stage in enumerate(manifest["stages"]):
        cut = facts["islands"][stage["signature"]]
        threshold = thresholds[index] if index < len(thresholds) else "-"
        cells = (
            stage["signature"],
            str(stage["blocks_done"]),
            f"{stage['macs'] / 1e6:.1f}",
            f"{stage['head_macs'] / 1e6:.2f}",
            threshold,
            _counted(facts["operators"][stage["signature"]]["operators"]),
            str(cut["pieces"]),
            _counted(cut["left"]) or "none",
        )
        table.add_row(*cells)
    return table


def _counted(operators: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in operators.items())


def _tensor_table(manifest: dict[str, Any]) -> Table:
    table = Table(title="inputs and outputs, all int8")
    for column in ("signature", "", "tensor", "shape", "scale", "zero point"):
        table.add_column(column)
    for stage in manifest["stages"]:
        for direction in ("inputs", "outputs"):
            for tensor in stage[direction]:
                shape = " x ".join(str(n) for n in tensor["shape"])
                table.add_row(
                    stage["signature"], direction[:-1], tensor["name"], shape, f"{tensor['scale']:.6g}", str(tensor["zero_point"])
                )
    for gate in manifest["gates"]:
        for direction, tensor in (("input", gate["features"]), ("output", gate["score"])):
            shape = " x ".join(str(n) for n in tensor["shape"])
            table.add_row(
                gate["signature"], direction, tensor["name"], shape, f"{tensor['scale']:.6g}", str(tensor["zero_point"])
            )
    return table
