"""The page of `convert evaluate`: quadrants in float and INT8, accuracy over cost, where images leave, and the pictures."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from convert.measure.curves import Point
from convert.report.exit_plots import pareto

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src 'self'">
<title>{title}</title><style>
:root {{ color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --rule: #d5dae0; --quiet: #59636e; --main: #0072b2; --accent: #d55e00 }}
@media (prefers-color-scheme: dark) {{
:root {{ --paper: #14181c; --ink: #e4e8ec; --rule: #343b43; --quiet: #9aa5b1; --main: #56b4e9; --accent: #e69f00 }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem;
padding: 0 1rem; background: var(--paper); color: var(--ink) }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }} .wide {{ overflow-x: auto; margin: .8rem 0 }}
td, th {{ padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--rule) }}
th {{ color: var(--quiet); font-weight: 500 }}
td:first-child, th:first-child {{ text-align: left }} p {{ max-width: 44rem }} .quiet {{ color: var(--quiet); font-size: .9rem }}
figure {{ margin: 1rem 0; max-width: 38rem }} svg {{ display: block; width: 100%; height: auto }}
svg text {{ font-family: system-ui, sans-serif !important }}
img {{ max-width: 100%; height: auto; border: 1px solid var(--rule) }}
</style><h1>{title}</h1>{body}</html>
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of texts."""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


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


NOISE_NOTE = (
    '<p class="quiet">NSR: the residual stream’s noise over its signal, √(Σ |ĥ − h|² / Σ |h|²), as the build measured it on '
    "{images} images; its square is the ratio of energies.</p>"
)


def noise_rows(noise: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the noise after each block."""
    head = ["after block", *(str(block) for block in range(1, len(noise["nsr"]) + 1))]
    return head, [
        [name, *(f"{value * 100:.1f} %" for value in noise[key])] for name, key in (("NSR", "nsr"), ("its square", "power"))
    ]


def render(data: dict[str, Any], title: str, sheets: Sequence[tuple[str, str]]) -> str:
    """The page; `sheets` are titles and file names of contact sheets beside it."""
    curves = {name: [Point(**p) for p in points] for name, points in data["curves"].items()}
    exits, taken = [Point(**p) for p in data["exits"]], Point(**data["taken"])
    exact = data["float_exits"][-1]["accuracy"] if data["labelled"] else None
    what = "right answers" if data["labelled"] else "answers equal to full depth's (the right ones are not known)"
    parts = [
        f"<p>Policy <code>{html.escape(data['policy'])}</code> on {data['images']} images. An image is <em>rescued</em> when it is right "
        "at the exit taken and wrong at full depth, <em>harmed</em> when it is the other way round.</p>"
    ]
    if data["quadrants"]:
        parts += [
            "<h2>Four quadrants</h2>",
            table(QUADRANTS, quadrant_rows(data)),
            '<p class="quiet">Intervals: bootstrap, 95 %. The float row asks the same gates at the same thresholds about the float '
            "network: what it rescues has nothing to do with quantization.</p>",
        ]
    float_ms = data.get("float_ms")
    parts += [
        f"<h2>{what.capitalize()} over cost</h2>",
        f"<figure>{pareto(curves, exits, data['blocks'], taken, exact)}</figure>",
        f"<figure>{pareto(curves, exits, data['blocks'], taken, exact, 'ms', float_ms)}</figure>",
        '<p class="quiet">Each line is one family of policies along all its thresholds, on these very images: it shows what is to be had, '
        "not what a threshold chosen elsewhere would give. The diamond is the file’s own policy, fitted on other images.</p>",
        "<h2>Exits</h2>",
        table(EXITS, exit_rows(data)),
        '<p class="quiet">INR: Σ z² / Σ (ẑ − z)² over images and labels, z the float logits at that exit and ẑ the integer ones, '
        "both centred over labels.</p>",
    ]
    if data.get("noise"):
        parts += ["<h2>Noise</h2>", table(*noise_rows(data["noise"])), NOISE_NOTE.format(images=data["noise"]["images"])]
    for name, file in sheets:
        parts.append(f'<h2>{html.escape(name)}</h2><img src="{html.escape(file)}" alt="{html.escape(name)}">')
    if data["classes"]:
        head = ("class", "images", *(f"leave at {block}" for block in data["blocks"]), "rescued", "harmed")
        rows = [
            [r["label"], str(r["images"]), *(f"{s * 100:.0f} %" for s in r["leaving"]), str(r["rescued"]), str(r["harmed"])]
            for r in data["classes"]
        ]
        parts += ["<h2>Classes</h2>", table(head, rows)]
    return _PAGE.format(title=html.escape(title), body="".join(parts))


def _range(interval: Sequence[float]) -> str:
    return f"{interval[0] * 100:.1f} to {interval[1] * 100:.1f}"
