"""A contact sheet: the images side by side with their answers, where they left, and their milliseconds."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.files import write_atomically, writing
from tflite_runtime_app.inference.answer import Answer
from tflite_runtime_app.sinks.base import Result, Sink
from tflite_runtime_app.sinks.drawing import ACCENT, INK, PAPER, QUIET, font, shortened

SIDE, GAP, LINE, COLUMNS = 200, 16, 20, 6
MOST = 200  # images on a sheet
LETTERS = 27  # of a line below an image


@dataclass(frozen=True, slots=True)
class Cell:
    """One image, small, and the lines below it: the answer, whether it is doubted, and what it took."""

    image: Image.Image
    answer: str
    doubted: bool
    cost: str
    name: str


class SheetSink(Sink):
    """`path` is a PNG of the first `MOST` images, written at the end, whole or not at all."""

    def __init__(self, path: str) -> None:
        if not path.casefold().endswith(".png"):
            raise UsageError(f"--sheet {path}: expected a file name that ends in .png")
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise UsageError(f"--sheet {path}: {folder} is no folder; make it first")
        self._path, self._cells, self._images = path, list[Cell](), 0

    def result(self, result: Result) -> None:
        self._images += 1
        if result.image is None or len(self._cells) == MOST:
            return
        small = ImageOps.pad(result.image.convert("RGB"), (SIDE, SIDE), Image.Resampling.BILINEAR, PAPER)
        where = "full depth" if result.block == result.blocks else f"block {result.block} of {result.blocks}"
        words = _words(result.answer)
        name = os.path.basename(result.source)
        self._cells.append(Cell(small, words, not result.answer.sure, f"{where}, {result.ms:.1f} ms", name))

    def close(self) -> None:
        if not self._cells:
            return
        content = io.BytesIO()
        draw(self._cells, self._images).save(content, "PNG")
        with writing("--sheet", self._path):
            write_atomically(self._path, content.getvalue())


def draw(cells: list[Cell], images: int) -> Image.Image:
    """The sheet of these cells, which are the first of so many images."""
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    more = f"the first {len(cells)} of {images} images" if images > len(cells) else ""
    height = SIDE + 3 * LINE + GAP
    canvas = Image.new("RGB", (columns * (SIDE + GAP) + GAP, rows * height + GAP + (LINE if more else 0)), PAPER)
    pen, bold, plain = ImageDraw.Draw(canvas), font(14), font(12)
    for number, cell in enumerate(cells):
        left, top = GAP + number % columns * (SIDE + GAP), GAP + number // columns * height
        canvas.paste(cell.image, (left, top))
        pen.text((left, top + SIDE + 2), shortened(cell.answer, LETTERS), ACCENT if cell.doubted else INK, bold)
        pen.text((left, top + SIDE + 2 + LINE), cell.cost, QUIET, plain)
        pen.text((left, top + SIDE + 2 + 2 * LINE), shortened(cell.name, LETTERS), QUIET, plain)
    if more:
        pen.text((GAP, rows * height + GAP // 2), more, QUIET, plain)
    return canvas


def _words(answer: Answer) -> str:
    """The answer, short."""
    best = answer.top[0]
    if answer.none:
        return f"none of these ({answer.like})" if answer.like else "none of these"
    return f"{best.label} {best.probability:.0%}" if answer.sure else f"not sure: {best.label}"
