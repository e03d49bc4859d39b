"""`convert build`: write the bundle and its report, show the summary, end with their paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convert.bench.float_files import KINDS, float_path, write_float_files
from convert.board.estimate import check_fits
from convert.build import build as build_bundle
from convert.build import bundle_bytes
from convert.options import BuildOptions, ExitOptions
from convert.report import summary_table, write_report
from convert.request import Request, make_request
from convert.support.console import Terminal, say
from convert.support.errors import LimitMissed, UsageError
from convert.support.files import check_target, write_atomically
from convert.support.progress import OnTerminal, Progress
from convert.text.make import build_text
from targets.profile import load as load_profile
from tflite_runtime_app.text.beside import text_path


@dataclass(frozen=True, slots=True)
class BuildFiles:
    """What a build writes; None for the default names. `force` writes over files that exist."""

    out: Path | None = None
    report: Path | None = None
    force: bool = False
    keep_float: bool = False
    with_text: bool = False


def build(options: BuildOptions, files: BuildFiles) -> None:
    """The report is written, then the bundle (with `keep_float` its float files too, with `with_text` the text tower before it).

    The paths of bundle and report are the last lines of standard output. For a microcontroller the bundle is a folder, the report in it.
    """
    target = options.target
    micro = load_profile(target).micro
    if micro and (files.keep_float or files.with_text):
        raise UsageError(f"--keep-float and --with-text are for boards that run classify; {target} is a microcontroller")
    if files.out is not None and not micro:
        _refuse_to_overwrite(files.out, files)
    if options.leaving != ExitOptions() and not options.images:
        raise UsageError("--policy, --risk, --budget and --gate are fitted to images: give --images FOLDER|ARCHIVE")
    progress = OnTerminal()
    request = make_request(options, progress)
    check_fits(request)
    if micro:
        _build_micro(request, files.out or Path(f"{request.model.name}-{target}"), files.force, progress)
        return
    path = files.out or Path(f"{request.model.name}-{target}.tflite")
    _refuse_to_overwrite(path, files)
    if files.report is not None:
        check_target(files.report / "index.html", "--report")
    # The text tower comes first: one that cannot be converted says so at once.
    text = build_text(request.model, None, progress).content if files.with_text else None
    result = build_bundle(request, progress)
    content, _ = bundle_bytes(result)
    report = result.report.to_dict()
    page = write_report(files.report or path.with_name(f"{path.stem}-report"), report, path)
    if files.keep_float:
        kept = write_float_files(path, result.float_file)
        progress.step(f"float files kept: {', '.join(file.name for file in kept)}")
    if text is not None:
        write_atomically(text_path(path), text)
        progress.step(f"text tower written: {text_path(path).name}")
    write_atomically(path, content)
    Terminal().print(summary_table(report))
    say(path.resolve())
    say(page.resolve())


def _build_micro(request: Request, folder: Path, force: bool, progress: Progress) -> None:
    """The folder is written; it and its page are the last lines of standard output."""
    from convert.micro.assemble import build_folder, missed
    from convert.micro.folder import refuse_to_overwrite
    from convert.micro.summary import stage_table

    refuse_to_overwrite(folder, force)
    data, page = build_folder(request, folder, progress)
    console = Terminal()
    console.print(summary_table(data))
    console.print(stage_table(data["micro"], f"{request.model.name} for {request.profile.title}"))
    say(folder.resolve())
    say(page.resolve())
    told = missed(data["micro"])
    if told:
        raise LimitMissed(f"{folder} misses {request.profile.name}'s limits: {'; '.join(told)}")


def _refuse_to_overwrite(path: Path, files: BuildFiles) -> None:
    beside = [float_path(path, kind) for kind in KINDS if files.keep_float] + ([text_path(path)] if files.with_text else [])
    for file in (path, *beside):
        check_target(file)
        if file.exists() and not files.force:
            raise UsageError(f"{file} exists; write over it with --force, or name another file with --out")
