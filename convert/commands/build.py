"""`convert build`: write the bundle and its report, show the summary, end with their paths."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from convert.bench.float_files import KINDS, float_path, write_float_files
from convert.board.estimate import for_board
from convert.build import build, bundle_bytes
from convert.commands.request import Leaving, make_request
from convert.report import summary_table, write_report
from convert.request import Request
from convert.support.errors import LimitMissed, UsageError
from convert.support.files import write_atomically
from convert.support.progress import OnTerminal, Progress
from convert.text.make import build_text
from targets.profile import load as load_profile
from tflite_runtime_app.text.file import text_path


def run(
    target: str,
    model: str | None,
    pretrained: str | None,
    images: tuple[Path, ...],
    labels: str | None,
    exits: str | None,
    out: Path | None,
    report: Path | None,
    observer: str | None,
    stream: str | None,
    seed: int,
    ladder: str | None,
    force: bool,
    keep_float: bool,
    with_text: bool,
    models: Path | None,
    leaving: Leaving,
) -> None:
    """The report is written, then the bundle (with `keep_float` its float files too, with `with_text` the text tower before it).

    The paths of bundle and report are the last lines of standard output. For a microcontroller the bundle is a folder, the report in it.
    """
    micro = load_profile(target).micro
    if micro and (keep_float or with_text):
        raise UsageError(f"--keep-float and --with-text are for boards that run classify; {target} is a microcontroller")
    if out is not None and not micro:
        _refuse_to_overwrite(out, keep_float, with_text, force)
    if leaving != Leaving() and not images:
        raise UsageError("--policy, --risk, --budget and --gate are fitted to pictures: give --images FOLDER|TAR")
    progress = OnTerminal()
    request = make_request(
        target, model, pretrained, images, labels, exits, observer, stream, seed, ladder, models, progress, leaving
    )
    request = for_board(request)
    if micro:
        _run_micro(request, out or Path(f"{request.model.name}-{target}"), force, progress)
        return
    path = out or Path(f"{request.model.name}-{target}.tflite")
    _refuse_to_overwrite(path, keep_float, with_text, force)
    text = (
        build_text(request.model, None, progress).content if with_text else None
    )  # first: what cannot be converted says so at once
    folder = report or path.with_name(f"{path.stem}-report")
    result = build(request, progress)
    content, _ = bundle_bytes(result)
    page = write_report(folder, result.report, path)
    if keep_float:
        kept = write_float_files(path, result.float_file)
        progress.step(f"float files kept: {', '.join(file.name for file in kept)}")
    if text is not None:
        write_atomically(text_path(path), text)
        progress.step(f"text tower written: {text_path(path).name}")
    write_atomically(path, content)
    Console(highlight=False).print(summary_table(result.report))
    print(path.resolve())
    print(page.resolve())


def _run_micro(request: Request, folder: Path, force: bool, progress: Progress) -> None:
    """The folder is written; it and its page are the last lines of standard output."""
    from convert.micro.assemble import build_folder, missed
    from convert.micro.folder import refuse_to_overwrite
    from convert.micro.summary import stage_table

    refuse_to_overwrite(folder, force)
    data, page = build_folder(request, folder, progress)
    console = Console(highlight=False)
    console.print(summary_table(data))
    console.print(stage_table(data["micro"], f"{request.model.name} for {request.profile.title}"))
    print(folder.resolve())
    print(page.resolve())
    told = missed(data["micro"])
    if told:
        raise LimitMissed(f"{folder} misses {request.profile.name}'s limits: {'; '.join(told)}")


def _refuse_to_overwrite(path: Path, keep_float: bool, with_text: bool, force: bool) -> None:
    for file in (path, *(float_path(path, kind) for kind in KINDS if keep_float), *([text_path(path)] if with_text else [])):
        if file.exists() and not force:
            raise UsageError(f"{file} exists; write over it with --force, or name another file with --out")
