"""The page of `convert evaluate`: quadrants in float and INT8, accuracy over cost, where images leave, and the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convert.measure.curves import Point
from convert.report.exit_plots import pareto
from convert.report.template import page


def quadrant_rows(data: dict[str, Any]) -> list[list[str]]:
    """A row each for INT8 and float: quadrants with intervals, gain, McNemar's p-value, accuracy and MACs."""
    rows = []
    for word, key in (("INT8", "int8"), ("float, same gates", "float")):
        q = data["quadrants"][key]
        shares = [f"{q[name] * 100:.1f} % ({_range(q[f'{name}_interval'])})" for name in ("both", "rescued", "harmed", "neither")]
        gain = f"{q['gain'] * 100:+.2f} ({_range(q['gain_interval'])})"
        accuracy = f"{q['accuracy_full'] * 100:.2f} → {q['accuracy'] * 100:.2f} %"
        rows.append([word, *shares, gain, f"{q['p_value']:.2g}", accuracy, f"{q['share_of_macs'] * 100:.1f} %"])
    return rows


QUADRANTS = ("", "right, right", "rescued", "harmed", "wrong, wrong", "gain, points", "p (McNemar)", "full → with exits", "MACs")


def exit_rows(data: dict[str, Any]) -> list[list[str]]:
    """A row per stage: cost, accuracy of all images leaving there in INT8 and float, INR, and who leaves there."""
    rows = []
    for k, block in enumerate(data["blocks"]):
        here, exact = data["exits"][k], data["float_exits"][k]
        rows.append(
            [
                str(block),
                f"{data['macs'][k] / 1e6:.1f}",
                f"{data['ms'][k]:.1f}",
                f"{here['accuracy'] * 100:.2f} %",
                f"{exact['accuracy'] * 100:.2f} %",
                f"{data['inr'][k]:.0f}",
                f"{data['leaving'][k] * 100:.1f} %",
            ]
        )
    return rows


EXITS = ("after block", "MMAC until there", "ms", "INT8, all leaving there", "float", "INR", "left by")


def noise_rows(noise: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the noise after each block."""
    head = ["after block", *(str(block) for block in range(1, len(noise["nsr"]) + 1))]
    return head, [
        [name, *(f"{value * 100:.1f} %" for value in noise[key])] for name, key in (("NSR", "nsr"), ("its square", "power"))
    ]


def render(data: dict[str, Any], title: str, sheets: Sequence[tuple[str, str]]) -> str:
    """The page; `sheets` are titles and file names of contact sheets beside it."""
    from markupsafe import Markup

    curves = {name: [Point(**p) for p in points] for name, points in data["curves"].items()}
    exits, taken = [Point(**p) for p in data["exits"]], Point(**data["taken"])
    exact = data["float_exits"][-1]["accuracy"] if data["labelled"] else None
    drawn = [
        pareto(curves, exits, data["blocks"], taken, exact),
        pareto(curves, exits, data["blocks"], taken, exact, "ms", data.get("float_ms")),
    ]
    return page(
        "evaluation",
        data=data,
        title=title,
        what="right answers" if data["labelled"] else "answers equal to full depth's (the right ones are not known)",
        plots=[Markup(plot) for plot in drawn],
        quadrants=(QUADRANTS, quadrant_rows(data)) if data["quadrants"] else None,
        exits=(EXITS, exit_rows(data)),
        noise=noise_rows(data["noise"]) if data.get("noise") else None,
        sheets=sheets,
        classes=(class_head(data), class_rows(data)) if data["classes"] else None,
    )


def class_head(data: dict[str, Any]) -> list[str]:
    """The columns of the table of classes."""
    return ["class", "images", *(f"leave at {block}" for block in data["blocks"]), "rescued", "harmed"]


def class_rows(data: dict[str, Any]) -> list[list[str]]:
    """A row per class: where its images leave, and how many are rescued and harmed."""
    return [
        [r["label"], str(r["images"]), *(f"{s * 100:.0f} %" for s in r["leaving"]), str(r["rescued"]), str(r["harmed"])]
        for r in data["classes"]
    ]


def _range(interval: Sequence[float]) -> str:
    return f"{interval[0] * 100:.1f} to {interval[1] * 100:.1f}"
