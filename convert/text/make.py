"""The text tower's file of a model: the smallest form of the weights that still says what float says, chosen by measuring."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from dataclasses import dataclass
from pathlib import Path

from convert.model.labels import read_templates
from convert.model.load import ClipModel
from convert.support.errors import EmitError, UsageError
from convert.support.progress import Progress
from convert.support.quiet import quiet
from convert.text.agreement import Check, compare, float_vectors, sentences_of
from convert.text.emit import WEIGHTS, emit
from convert.text.text_tower import TextTower, text_tower
from tflite_runtime_app import __version__
from tflite_runtime_app.text.file import TextFile, TextManifest, pack_text
from tflite_runtime_app.text.trial import check_text, checked_text

LEAST_COSINE = 0.999  # with float, of every sentence looked at
SHORT = 16  # tokens: nearly every label in its sentence needs no more, and they take a fifth of the time of 77
TOOLS = ("torch", "open_clip_torch", "ai-edge-litert", "numpy")


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """The file's bytes, and a check of each form of the weights that was tried; the last is the file's own."""

    content: bytes
    checks: tuple[Check, ...]


def build_text(model: ClipModel, weights: str | None, progress: Progress) -> Built:
    """The model's text tower with `weights`, None for the smallest that keeps the cosine of every sentence looked at above LEAST_COSINE.

    Raises UnsupportedTower for a tower that cannot be converted, UsageError for unknown weights, EmitError when no form is good enough.
    """
    if weights not in (None, *WEIGHTS):
        raise UsageError(f"--weights {weights!r} is none of {', '.join(WEIGHTS)}")
    tower, sentences = text_tower(model), sentences_of(model)
    wanted = float_vectors(model, sentences)
    checks: list[Check] = []
    for form in WEIGHTS if weights is None else [form for form in WEIGHTS if form == weights]:
        manifest = _describe(model, tower, form)
        flatbuffer = emit(tower, form, manifest.lengths)
        with quiet():
            check = compare(TextFile(Path(model.name), flatbuffer, manifest), sentences, wanted)
        progress.step(check.words())
        checks.append(check)
        if check.least >= LEAST_COSINE:
            figures = {"sentences": float(check.sentences), "least": check.least, "mean": check.mean}
            content = pack_text(flatbuffer, dataclasses.replace(manifest, check=figures))
            check_text(checked_text(Path(model.name), content))  # what the board would refuse is found here
            return Built(content, tuple(checks))
    remedy = "leave --weights out" if weights is not None else "make label matrices on this machine instead, with: convert labels"
    raise EmitError(
        f"the text tower should keep every sentence's cosine with float at {LEAST_COSINE}, found "
        f"{', '.join(f'{check.least:.4f} with {check.weights} weights' for check in checks)}; {remedy}"
    )


def _describe(model: ClipModel, tower: TextTower, weights: str) -> TextManifest:
    tools = {name: importlib.metadata.version(name) for name in TOOLS}
    return TextManifest(
        name=model.name,
        weights_sha256=model.weights_sha256,
        space_id=model.space_id,
        context=tower.context,
        lengths=(SHORT, tower.context) if tower.context > SHORT else (tower.context,),
        vocabulary=int(tower.table.shape[0]),
        embedding_size=tower.embedding_size,
        templates=read_templates(model),
        weights=weights,
        tools={"clip-rescue": __version__, "python": platform.python_version(), **tools},
    )
