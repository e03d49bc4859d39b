"""`convert calibrate`: build once on images and keep what calibration found in the model's folder."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from calibration.stored import to_bytes
from convert.board.estimate import for_board
from convert.build import build
from convert.commands.request import Leaving, make_request
from convert.report import summary_table
from convert.support.errors import UsageError
from convert.support.files import write_atomically
from convert.support.progress import OnTerminal


def run(
    images: tuple[Path, ...],
    model: str | None,
    labels: str | None,
    exits: str | None,
    target: str,
    observer: str | None,
    stream: str | None,
    seed: int,
    ladder: str | None,
    models: Path | None,
    leaving: Leaving,
) -> None:
    """The model folder's calibration.npz is the one found on these images."""
    progress = OnTerminal()
    request = make_request(target, model, None, images, labels, exits, observer, stream, seed, ladder, models, progress, leaving)
    request = for_board(request)
    if request.model.folder is None:
        raise UsageError(f"{request.model.name} is not a model folder; calibrate one with --model DIR, or build with --images")
    result = build(request, progress)
    path = request.model.folder / "calibration.npz"
    write_atomically(path, to_bytes(result.stored))
    Console(highlight=False).print(summary_table(result.report))
    print(path.resolve())
