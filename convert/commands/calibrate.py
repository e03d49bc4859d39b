"""`convert calibrate`: build once on images and keep what calibration found in the model's folder."""

from __future__ import annotations

from calibration.stored import to_bytes
from convert.board.estimate import check_fits
from convert.build import build
from convert.calibrate.from_folder import FILE
from convert.options import BuildOptions
from convert.report import summary_table
from convert.request import make_request
from convert.support.console import Terminal, say
from convert.support.errors import UsageError
from convert.support.files import write_atomically
from convert.support.progress import OnTerminal


def calibrate(options: BuildOptions) -> None:
    """The model folder's calibration.npz is the one found on these images."""
    progress = OnTerminal()
    request = make_request(options, progress)
    check_fits(request)
    if request.model.folder is None:
        raise UsageError(f"{request.model.name} is not a model folder; calibrate one with --model DIR, or build with --images")
    result = build(request, progress)
    path = request.model.folder / FILE
    write_atomically(path, to_bytes(result.calibrated))
    Terminal().print(summary_table(result.report.to_dict()))
    say(path.resolve())
