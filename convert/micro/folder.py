"""The folder that a microcontroller's build leaves: stages as files, C, manifest and report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convert.micro.split import StageFile
from convert.report import write_report
from convert.support.errors import UsageError
from convert.support.files import write_atomically
from tflite_runtime_app.bundle.manifest import Manifest, to_json

MANIFEST, REPORT = "manifest.json", "report.json"
OURS = ("stage_*.tflite", "clip_rescue*.[ch]", "tflm_stages.cc", MANIFEST, REPORT, "index.html")


def refuse_to_overwrite(folder: Path, force: bool) -> None:
    """Returns when nothing is in the folder's place. Raises UsageError for a file, and for a folder with something in it unless `force`."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, a microcontroller's build is a folder; name another with --out")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder} exists; write over it with --force, or name another folder with --out")


def write(
    folder: Path,
    stages: Sequence[StageFile],
    compiled: Sequence[bytes],
    sources: Mapping[str, str],
    manifest: Manifest,
    report: dict[str, Any],
) -> Path:
    """`folder` holds the build and nothing of an earlier one; the path of its page."""
    if folder.is_dir():
        for old in (path for pattern in OURS for path in folder.glob(pattern)):
            old.unlink()
    for number, stage in enumerate(stages):
        write_atomically(folder / stage_name(number), stage.content)
    for number, content in enumerate(compiled):
        write_atomically(folder / stage_name(number, True), content)
    for name, text in sources.items():
        write_atomically(folder / name, text.encode())
    write_atomically(folder / MANIFEST, to_json(manifest).encode())
    return write_report(folder, report, folder)


def stage_name(number: int, compiled: bool = False) -> str:
    """The file of a stage, or of what Vela made of it."""
    return f"stage_{number}{'_vela' if compiled else ''}.tflite"


def read_stages(path: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Plain and Vela's files by name, of a folder that a build left or of one stage's file. Raises UsageError for anything else."""
    if path.is_dir():
        plain = sorted((p for p in path.glob("stage_*.tflite") if not p.stem.endswith("_vela")), key=_number)
        compiled = sorted(path.glob("stage_*_vela.tflite"), key=_number)
    else:
        plain, compiled = [path] if path.is_file() else [], []
    if not plain:
        raise UsageError(f"{path}: expected a stage's .tflite or a folder of them; build one with: convert build --target mcu-…")
    return {p.name: p.read_bytes() for p in plain}, {p.name: p.read_bytes() for p in compiled}


def read_report(path: Path) -> dict[str, Any]:
    """The report in a folder, {} where there is none."""
    file = path / REPORT
    try:
        found = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise UsageError(f"{file} should be JSON ({error}); build the folder again") from error
    return found if isinstance(found, dict) else {}


def _number(path: Path) -> tuple[int, str]:
    digits = path.stem.removeprefix("stage_").removesuffix("_vela")
    return (int(digits), "") if digits.isdigit() else (1 << 30, digits)
