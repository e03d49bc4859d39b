"""`convert calibrate`: build once on images and keep what calibration found in the model's folder."""

from __future__ import annotations

from pathlib import Path

from calibration.phases import Calibrated
from calibration.stored import from_bytes, to_bytes
from calibration.stored_exits import StoredError, from_json, to_json
from convert.board.estimate import check_fits
from convert.build import build
from convert.calibrate.from_folder import EXITS, FILE
from convert.model.labels import OWN, named_list
from convert.options import BuildOptions
from convert.report import summary_table
from convert.request import make_request
from convert.support.console import Terminal, say
from convert.support.errors import CalibrationError, UsageError
from convert.support.files import write_atomically
from convert.support.progress import OnTerminal


def calibrate(options: BuildOptions) -> None:
    """The model folder's calibration.npz is the one found on these images; for a further list of the folder, that list's exits are,
    beside a calibration.npz that was found on the same images."""
    progress = OnTerminal()
    request = make_request(options, progress)
    check_fits(request)
    folder = request.model.folder
    if folder is None:
        raise UsageError(f"{request.model.name} is not a model folder; calibrate one with --model DIR, or build with --images")
    further = options.labels if options.labels not in (None, OWN) and named_list(str(options.labels), folder) else None
    if further is not None and not (folder / FILE).is_file():
        raise UsageError(f"{folder} has no {FILE}, beside which the exits for {further} lie; calibrate without --labels first")
    result = build(request, progress)
    path = folder / (FILE if further is None else EXITS.format(further))
    write_atomically(path, to_bytes(result.calibrated) if further is None else _exits(result.calibrated, folder / FILE))
    Terminal().print(summary_table(result.report.to_dict()))
    say(path.resolve())


def _exits(calibrated: Calibrated, base: Path) -> bytes:
    """What is kept of a further list. Raises CalibrationError where its exits do not fit the calibration `base`."""
    content = to_json(calibrated)
    try:
        from_json(content, from_bytes(base.read_bytes()))
    except StoredError as error:
        raise CalibrationError(f"{base}: {error}; calibrate without --labels on the same images first") from error
    return content
