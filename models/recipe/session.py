"""Carries a recipe out: phase after phase from where the last call stopped, then the model folder and its scores."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from calibration.samples import load, samples
from convert.model.labels import TEMPLATES, parse_templates
from convert.model.torchvision_ops import open_clip
from convert.model.tower import tower_from_open_clip
from convert.support import precision
from convert.support.progress import OnTerminal
from models.recipe import images, lexicon, names, narrow, pack, score, seen, start, text, tower, train, wordnet
from models.recipe.kinds import Teaching
from models.recipe.losses import Taught
from models.recipe.plan import START, Phase, Recipe, RecipeError
from models.recipe.soup import soup
from models.recipe.vocabulary import Vocabulary, of_classifier, vocabulary
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.text.label_list import read_label_file

JUDGED = 1010  # the first images of the validation tar: the others are left for reports
LOG = "log.jsonl"  # in the work folder
FITTED = 1000  # images that a narrower tower is fitted to
HYPERNYMS = Path(__file__).parent / "hypernyms.tsv"
EXITS = (2, 4, 6, 8, 10, 12)


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies."""

    train: tuple[Path, ...]
    validation: Path
    classes: Path | None  # without it the start's own labels, whose vectors lie ready
    start: Path
    work: Path
    out: Path
    clone: Path
    nouns: Path | None = None
    wordnet: Path | None = None


def carry_out(recipe: Recipe, places: Places, deadline: float, device: str | None, threads: int) -> bool:
    """True when all phases are done and the folder is written, False when the deadline came first."""
    if threads:
        torch.set_num_threads(threads)
    on = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if recipe.words is not None and places.nouns is None:
        raise RecipeError(f"{recipe.name}'s text tower is distilled over words; give --nouns FILE, one a line")
    if recipe.words is not None and recipe.words.names and places.wordnet is None:
        raise RecipeError(f"{recipe.name}'s names have their places in WordNet; give --wordnet FOLDER, that of data.noun")
    places.work.mkdir(parents=True, exist_ok=True)
    log = places.work / LOG
    given, ready = start.weights(places.start), None
    if places.classes is None:
        classes, ready = names.ready(places.start)
    else:
        classes = names.read(places.classes)
    shown = images.read_sets(
        places.train,
        classes.ids,
        recipe.stored,
        places.work,
        others=not any(phase.names for phase in recipe.phases),
        held=recipe.held,
    )
    state = _begun(recipe, places, given, shown.photographs)
    bank, kinds = ready, None
    if bank is None:
        templates = parse_templates(places.start / TEMPLATES)
        speaker, tokenizer = start.build(recipe.configuration(), state).eval(), _tokenizer(recipe)
        bank = names.bank(speaker, tokenizer, classes, templates)
        if any(phase.kinds for phase in recipe.phases):
            kinds = names.kinds_of(speaker, tokenizer, classes, names.read(HYPERNYMS), templates).to(on)
    judge, teach = _judge(recipe, places, classes, bank.first().to(on)), _teacher(recipe, places, on)
    mean, deviation = torch.tensor(recipe.mean), torch.tensor(recipe.deviation)
    ended, grid = {START: state}, recipe.side // int(recipe.vision["patch_size"])
    for number, phase in enumerate(recipe.phases):
        side = phase.image_size or recipe.side
        model = start.build(recipe.configuration(side), state)
        setting = train.Setting(
            phase, number, recipe.seed, side, mean, deviation, bank=bank, kinds=kinds, images=shown, device=on, teach=teach
        )
        checkpoint = places.work / f"{number}-{phase.name}.pt"
        going = train.prepare(setting, model.visual, float(model.logit_scale.detach()), _bridge(recipe, phase, places))
        if checkpoint.is_file():
            train.load(going, checkpoint)
        ahead = going.step < setting.steps
        finished = not ahead or train.train(
            setting, going, checkpoint, log, deadline, _shown(f"{phase.name}, steps of {phase.batch} images")
        )
        model.visual.load_state_dict(going.average)
        model.logit_scale.data.fill_(float(going.scale.detach()))
        state = ended[phase.name] = model.cpu().state_dict()
        if ahead:
            found = judge(start.build(recipe.configuration(), state).visual.eval().to(on))
            _tell(log, f"{phase.name}, step {going.step} of {setting.steps}", found)
        if not finished:
            return False
    model = start.build(recipe.configuration(), soup(recipe.end, ended, grid) if recipe.end else state)
    if recipe.end:
        _tell(log, "the weights that the recipe ends with", judge(model.visual.eval().to(on)))
    known = None
    if recipe.words is not None:
        known = _vocabulary(recipe, places, model.cpu(), classes, bank)
        if not _distilled(recipe, places, model, known, deadline):
            return False
    pack.write(places.out, recipe, model.state_dict())
    if known is not None and known.exact:
        names.keep(places.out, known.examples.texts[: known.exact], known.examples.vectors[: known.exact])
    return True


def _begun(recipe: Recipe, places: Places, state: dict[str, Tensor], seen: images.TrainingImages) -> dict[str, Tensor]:
    """The weights to start from: the folder's as they are, or those of a narrower tower made from its."""
    configuration, width = start.configuration(places.start, recipe.side), int(recipe.vision["width"])
    if int(configuration["vision_cfg"]["width"]) == width:
        return state
    wide = tower_from_open_clip(start.build(configuration, state).visual, recipe.mean, recipe.deviation)
    some = np.random.default_rng(recipe.seed).permutation(len(seen))[:FITTED]
    x = torch.from_numpy(seen.pixels[np.sort(some)]).permute(0, 3, 1, 2).float() / 255
    x = nn.functional.interpolate(x, size=(recipe.side, recipe.side), mode="bicubic", antialias=True, align_corners=False)
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (recipe.mean, recipe.deviation))
    heads, hidden = width // int(recipe.vision["head_width"]), round(width * float(recipe.vision.get("mlp_ratio", 4.0)))
    small = narrow.narrowed(wide, (x - mean) / deviation, width, heads, hidden)
    text = {name: value for name, value in state.items() if not name.startswith("visual.")}
    return {**text, **narrow.state_of(small)}


def _vocabulary(recipe: Recipe, places: Places, model: Any, classes: names.Classes, bank: names.Bank) -> Vocabulary:
    """What the text tower is taught and judged by."""
    assert recipe.words is not None and places.nouns is not None
    if recipe.words.names:
        return _classifiers(model, recipe, places, classes, bank.vectors)
    own = [name for listed in classes.names for name in listed]
    return vocabulary(model, _tokenizer(recipe), own, bank.vectors, places.nouns, places.work)


def _distilled(recipe: Recipe, places: Places, model: Any, known: Vocabulary, deadline: float) -> bool:
    """True when the text tower, in place, follows the vocabulary as far as the recipe asks; before and after are told."""
    assert recipe.words is not None
    tokenizer, plan = _tokenizer(recipe), recipe.words
    _tell(places.work / LOG, "text tower as it was", known.agreement(model, tokenizer))
    shown = _shown(f"text tower, steps of {plan.batch} texts")
    if not text.distil(
        model, tokenizer, known.examples, plan, seed=recipe.seed, kept=places.work / "text.pt", deadline=deadline, wrap=shown
    ):
        return False
    model.logit_scale.data.add_(math.log(known.longer))
    _tell(places.work / LOG, "text tower, distilled", known.agreement(model, tokenizer))
    return True


def _classifiers(model: Any, recipe: Recipe, places: Places, classes: names.Classes, vectors: Tensor) -> Vocabulary:
    """What the text tower is taught where the classes' vectors are a classifier's."""
    assert recipe.words is not None and places.nouns is not None and places.wordnet is not None
    embeddings, ids = seen.embedded(model.visual, recipe, places.train, places.work)
    teaching = Teaching(embeddings, vectors, float(model.logit_scale.detach().exp()))
    everyday = read_label_file(places.clone / recipe.words.names)
    known = lexicon.Known(classes, wordnet.read(places.wordnet), everyday, teaching, ids)
    return of_classifier(known, places.nouns, places.work)


def _shown(what: str) -> Callable[[range], Iterable[int]]:
    """A progress bar over the steps of something."""
    return lambda steps: OnTerminal().over(steps, len(steps), what)


def _tokenizer(recipe: Recipe) -> Any:
    return open_clip.tokenizer.SimpleTokenizer(context_length=int(recipe.text["context_length"]))


def _judge(recipe: Recipe, places: Places, classes: names.Classes, bank: Tensor) -> Callable[[Any], score.Score]:
    """Scores a tower on the first images of the validation tar."""
    place = {wnid: number for number, wnid in enumerate(classes.ids)}
    first = itertools.islice(samples([places.validation]), JUDGED)
    shown = load((sample for sample in first if sample.folder in place), Preprocessing(recipe.side, recipe.side))
    if not len(shown):
        raise RecipeError(f"{places.validation} holds no image of the classes of {places.classes}")
    of = [place[folder] for folder in shown.folders]
    exits = [done for done in EXITS if done <= int(recipe.vision["layers"])]
    mean, deviation = torch.tensor(recipe.mean), torch.tensor(recipe.deviation)
    return lambda visual: score.score(visual, score.batches(shown, of, mean, deviation), bank, exits)


def _teacher(recipe: Recipe, places: Places, device: torch.device) -> Callable[[Tensor], Taught] | None:
    """What gives the teacher's view of normalised crops."""
    if recipe.teacher is None:
        return None
    folder = places.clone / recipe.teacher.folder
    configuration = start.configuration(folder, recipe.teacher.image_size)
    side = int(configuration["vision_cfg"]["image_size"])
    visual = start.build(configuration, start.weights(folder)).visual.eval().to(device)

    @torch.no_grad()
    def teach(x: Tensor) -> Taught:
        if side != x.shape[-1]:
            x = nn.functional.interpolate(x, size=(side, side), mode="bicubic", align_corners=False)
        with precision.fast(device, len(visual.positional_embedding)):
            seen = tower.run(visual, x, (), torch.Generator()).float()
        return Taught(seen.embedding, seen.tokens)

    return teach


def _bridge(recipe: Recipe, phase: Phase, places: Places) -> nn.Linear | None:
    """The linear map from the tower's width to the teacher's, where tokens are learned from."""
    if recipe.teacher is None or not phase.tokens:
        return None
    taught = start.configuration(places.clone / recipe.teacher.folder)["vision_cfg"]
    torch.manual_seed(recipe.seed)
    return nn.Linear(int(recipe.vision["width"]), int(taught["width"]))


def _tell(log: Path, phase: str, found: score.Score | text.Agreement) -> None:
    """What was found behind a phase, in the log and on stderr."""
    print(f"{phase}: {found.line()}", file=sys.stderr)
    with log.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"phase": phase, "score": dataclasses.asdict(found)}) + "\n")
