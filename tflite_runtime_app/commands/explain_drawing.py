"""`classify explain` as a drawing: what the model saw, and a row of bars per stage."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from tflite_runtime_app.exits.thresholds import NEVER
from tflite_runtime_app.files import write_atomically, writing
from tflite_runtime_app.inference.stage_views import StageView
from tflite_runtime_app.sinks.drawing import ACCENT, INK, MAIN, PAPER, QUIET, RULE, Font, font, shortened

WIDTH, MARGIN, SEEN, BAR, LINE = 900, 24, 240, 300, 22


def draw(image: Image.Image, tensor: np.ndarray, views: list[StageView], policy: str, path: str) -> None:  # type: ignore[type-arg]
    """`path` is a PNG of the explanation, whole or not at all."""
    plain, bold = font(14), font(17)
    heights = [(len(view.top) + 2) * LINE + 14 for view in views]
    canvas = Image.new("RGB", (WIDTH, max(sum(heights) + 2 * MARGIN + 30, SEEN + 130)), PAPER)
    pen = ImageDraw.Draw(canvas)
    shown = Image.fromarray((tensor[0].view(np.uint8) ^ np.uint8(0x80)).astype(np.uint8)).resize(
        (SEEN, SEEN), Image.Resampling.NEAREST
    )
    canvas.paste(shown, (MARGIN, MARGIN + 30))
    pen.text((MARGIN, MARGIN), "What the model sees", INK, bold)
    pen.text((MARGIN, MARGIN + SEEN + 38), f"{image.width} x {image.height} pixels, policy {policy}", QUIET, plain)
    left, top = MARGIN + SEEN + 40, MARGIN
    for view, height in zip(views, heights, strict=True):
        title = f"Block {view.block} of {views[-1].block}" + _word(view)
        pen.text((left, top), title, ACCENT if view.stopped else _ink(view), bold)
        _stage(pen, view, left, top, plain, policy)
        top += height
    content = io.BytesIO()
    canvas.save(content, "PNG")
    with writing("--out", path):
        write_atomically(path, content.getvalue())


def _word(view: StageView) -> str:
    return "  leaves here" if view.stopped else "  (had left)" if view.after else ""


def _ink(view: StageView) -> str:
    return QUIET if view.after else INK


def _stage(pen: ImageDraw.ImageDraw, view: StageView, left: int, top: int, plain: Font, policy: str) -> None:
    """One stage below its title: a bar a label, and what the gate said."""
    for number, match in enumerate(view.top):
        y = top + (number + 1) * LINE + 4
        colour = RULE if view.after else MAIN
        pen.rectangle((left, y, left + BAR, y + LINE - 6), outline=RULE)
        pen.rectangle((left, y, left + max(1, int(BAR * match.probability)), y + LINE - 6), fill=colour)
        pen.text((left + BAR + 10, y - 1), f"{match.probability:.1%}  {shortened(match.label)}", _ink(view), plain)
    if view.score is not None and view.threshold is not None:
        closed = view.threshold >= NEVER or policy == "never"
        said = f"gate {view.score}, " + ("exit closed" if closed else f"leaves from {view.threshold} on")
        pen.text((left, top + (len(view.top) + 1) * LINE + 4), said, QUIET, plain)
