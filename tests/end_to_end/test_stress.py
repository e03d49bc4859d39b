"""Stress: on planted outlier channels and high-norm tokens naive INT8 collapses, and the whole ladder recovers.

Collapse is shown by cosine and by the answers, not by the noise-to-signal ratio: a planted outlier is signal and would hide it.
Nothing planted is known to the ladder; it sees a model and images, as ever.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from calibration.observers import OBSERVERS
from calibration.ranges import decide
from calibration.samples import SampleSet, load, pixels, samples
from convert.calibrate import channels
from convert.calibrate.from_images import ImageCalibration
from convert.calibrate.images import Shares
from convert.calibrate.observers import simulated
from convert.calibrate.ranges import statistics
from convert.emit.graph import make_graph
from convert.emit.manifest import bare_cascade
from convert.measure import parity
from convert.model.labels import embed_labels
from convert.model.load import ClipModel, load_model
from convert.request import Request
from convert.rewrites.recipe import STEPS, Recipe, prefix
from convert.stages import simulate
from convert.stages.rewritten import rewritten_stages
from convert.stages.stage import build_stages
from convert.support.progress import Silent
from targets import profile
from tests.clone import ROOT
from tests.convert.small import perturb
from tests.end_to_end import stress
from tests.end_to_end.stress import LOUDNESS
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.exits.replay import replay
from tflite_runtime_app.inference.preprocess import image_to_tensor
from tflite_runtime_app.text.label_list import LabelList, read_label_file

PHOTOGRAPHS = ROOT / "models" / "photographs"
VALIDATION = ROOT.parent / "shared" / "data" / "tiny-imagenet" / "val.tar"  # where the data of this project lie, if they do
HELD = 3030  # the images before it are calibration's
EXITS = (6,)
TENS = 0.7  # loudness on real files: a channel tens of times the median
NAIVE, FINAL = prefix(STEPS[0]), prefix(None)


def crops(model: ClipModel) -> NDArray[np.int8]:
    """The embedded photographs, each whole and in overlapping quarters: 45 tensors [n, H, W, 3]."""
    found = []
    for path in sorted(PHOTOGRAPHS.glob("*.jpg")):
        with Image.open(path) as image:
            width, height = image.size
            for left, top, size in ((0, 0, 1.0), (0, 0, 0.6), (0.4, 0, 0.6), (0, 0.4, 0.6), (0.4, 0.4, 0.6)):
                corner = (int(left * width), int(top * height))
                box = (*corner, corner[0] + int(size * width), corner[1] + int(size * height))
                found.append(image_to_tensor(image.crop(box), model.preprocessing)[0])
    return np.stack(found)


@dataclass(frozen=True)
class Planted:
    """The embedded model under stress: the float baseline, what the ladder gets, images to calibrate on and to test on."""

    baseline: ClipModel
    model: ClipModel
    images: NDArray[np.int8]
    held: NDArray[np.int8]


@pytest.fixture(scope="module")
def pocket() -> ClipModel:
    return load_model("pocket", None, ROOT / "models")


def plant(pocket: ClipModel, kind: str, images: NDArray[np.int8], held: NDArray[np.int8], loudness: float = LOUDNESS) -> Planted:
    if kind == "outlier channels":
        return Planted(*stress.outlier_channels(pocket, images, loudness), images, held)
    planted = stress.high_norm_tokens(pocket, images)
    return Planted(planted, planted, images, held)


@pytest.fixture(scope="module")
def pictures(pocket) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    everything = crops(pocket)
    return everything[0::2], everything[1::2]


@pytest.fixture(scope="module")
def outliers(pocket, pictures) -> Planted:
    return plant(pocket, "outlier channels", *pictures)


@pytest.fixture(scope="module")
def high_norm(pocket, pictures) -> Planted:
    return plant(pocket, "high-norm tokens", *pictures)


def encode(model: ClipModel, images: NDArray[np.int8]) -> torch.Tensor:
    return model.encode(torch.from_numpy(pixels(images)))


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm(dim=-1).max() / wanted.norm(dim=-1).mean())


def cosine(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(found, wanted).mean())


def test_plain_norms_are_the_same_function(pocket, pictures):
    plain = stress.plain(pocket.module.visual)
    assert all(
        torch.equal(norm, torch.ones_like(norm))
        for block in plain.transformer.resblocks
        for norm in (block.ln_1.weight, block.ls_2.gamma)
    )
    images = pictures[1][:4]
    assert relative(encode(stress.with_tower(pocket, plain), images), encode(pocket, images)) < 1e-4


def test_the_turn_is_orthogonal_fixes_the_ones_and_hits_its_channels():
    random = torch.Generator().manual_seed(0)
    directions = torch.randn(48, 3, generator=random, dtype=torch.float64)
    directions = torch.linalg.qr(directions - directions.mean(0))[0]
    matrix = stress.onto_channels(directions, (5, 17, 40))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(48, dtype=torch.float64))
    torch.testing.assert_close(matrix @ torch.ones(48, dtype=torch.float64), torch.ones(48, dtype=torch.float64))
    assert (matrix @ directions).abs().argmax(0).tolist() == [5, 17, 40]
    assert float((matrix @ directions).abs().amax(0).min()) > 0.95


def test_outlier_channels_are_tens_of_times_the_median_and_change_no_embedding(pocket, outliers):
    found = outliers
    assert relative(encode(found.model, found.held), encode(found.baseline, found.held)) < 1e-4
    sizes = stress.channel_sizes(stress.norm_inputs(found.model.module.visual, found.model, found.held))
    ratios = [float(size.max() / size.median()) for size in sizes]
    assert min(ratios[1:]) > 18 and float(np.median(ratios)) > 25, [round(ratio) for ratio in ratios]
    assert cosine(encode(found.baseline, found.held), encode(pocket, found.held)) > 0.85, "still the embedded model, by and large"


def test_a_high_norm_token_is_ten_times_as_long_from_block_two_to_the_last(pocket, high_norm):
    found = high_norm
    norms = [stress.token_norms(h) for h in stress.norm_inputs(found.model.module.visual, found.model, found.held)]
    ratios = [float(n[:, stress.SINK].median() / n[:, stress.SINK + 1 :].median()) for n in norms]
    after, last = 2 * stress.FIRST, len(norms) - 2  # the last block's own sums come after its keys and values were read
    assert all(7 < ratio < 14 for ratio in ratios[after:last]), [round(ratio, 1) for ratio in ratios]
    assert cosine(encode(found.model, found.held), encode(pocket, found.held)) > 0.95, "still the embedded model, by and large"


def simulated_embeddings(found: Planted, recipe: Recipe) -> torch.Tensor:
    """The held images' embeddings from the simulated integer network of a recipe, its weights at their nearest codes."""
    measured = channels.measure(found.model.tower(), EXITS, found.images, Silent())
    stages, _ = rewritten_stages(found.model, recipe.rewrites, EXITS, measured)
    observer = OBSERVERS["min-max" if recipe is NAIVE else "mse"]
    grids = simulated(decide(statistics(stages, found.images, None, Silent()), observer), recipe.stream)
    rounded = build_stages(simulate.quantized_weights(stages[0].tower), EXITS)
    return simulate.run(rounded, [torch.from_numpy(pixels(found.held))], simulate.quantizing_tap(grids))


@pytest.mark.parametrize("kind", ["outliers", "high_norm"])
def test_naive_collapses_and_the_ladder_recovers(kind, request):
    planted = request.getfixturevalue(kind)
    wanted = encode(planted.model, planted.held)
    naive, final = (cosine(simulated_embeddings(planted, recipe), wanted) for recipe in (NAIVE, FINAL))
    assert naive < 0.85
    assert final > 0.98, f"naive {naive:.4f}"  # two dozen images to calibrate on; the files below get 0.99


# Real files. -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """An integer file against float: mean cosine, and the share of right answers, both of float and of the file."""

    cosine: float
    float_top1: float
    top1: float

    def __str__(self) -> str:
        return f"cosine {self.cosine:.4f}, top-1 {self.top1 * 100:.2f} % (float {self.float_top1 * 100:.2f} %)"


def measure(
    model: ClipModel, bank: LabelBank, recipe: Recipe, images: SampleSet, held: SampleSet, truth: NDArray | None
) -> Result:
    """A file made by the recipe as `build` makes it; without `truth` float's own answers are the right ones."""
    request = Request(model, profile.load("rpi"), LabelList(bank.names, bank.names), EXITS, (), None, recipe, 0)
    shares = Shares(images, *(images.part(0, 0),) * 3)
    calibration = ImageCalibration(request, shares, Silent())
    graph = make_graph(model, recipe.rewrites, EXITS, calibration.rewrite_inputs(), 0, Silent())
    integer, _ = calibration.integer(graph, calibration.ranges(graph.stages, graph.roles))
    cascade = bare_cascade(integer.content, graph.stages, model, "rpi")
    reference = parity.float_embeddings(model, held.images, Silent())
    answers = (reference @ bank.vectors.T).argmax(1)
    found = parity.at_full_depth(replay(cascade, held.images), bank, reference, list(answers if truth is None else truth))
    assert found.top1 is not None and found.top1_float is not None
    return Result(found.cosine_mean, found.top1_float, found.top1)


@pytest.fixture(scope="module")
def validation(pocket) -> tuple[SampleSet, SampleSet, NDArray | None]:
    """Images to calibrate on, images to measure on, and their labels: the validation split, else the photographs without labels."""
    if VALIDATION.is_file():
        found = load(samples([VALIDATION]), pocket.preprocessing)
        held = found.part(HELD, None)
        truth = read_label_file(ROOT / "models" / "pocket" / "classes.tsv").indices(held.folders)
        return found.part(0, 256), held, np.array(truth)
    pictures = crops(pocket)
    names = tuple(str(k) for k in range(len(pictures)))
    everything = SampleSet(names, names, pictures, "photographs", ())
    return everything.part(0, 25), everything.part(25, None), None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["outlier channels", "high-norm tokens"])
def test_the_embedded_model_under_stress(pocket, validation, kind):
    """Within a point of float, cosine 0.99; naive beside it loses ten points or more.

    The planted channel is twelve to thirty times the median one (median of all norms: twenty). At full loudness, twenty-five times, the
    float baseline itself reads 5 points worse than the embedded model and is three times as sensitive to any noise: there the whole ladder
    kept cosine 0.993 and lost 1.6 points.
    """
    images, held, truth = validation
    bank = embed_labels(read_label_file(ROOT / "models" / "pocket" / "classes.tsv"), pocket)
    model = plant(pocket, kind, images.images[:64], held.images, TENS).model
    naive, final = (measure(model, bank, recipe, images, held, truth) for recipe in (NAIVE, FINAL))
    print(f"{kind}: naive {naive}; ladder {final}")
    assert naive.top1 < naive.float_top1 - 0.1, f"naive {naive}"
    assert final.cosine >= 0.99, f"naive {naive}; ladder {final}"
    if truth is not None:  # twenty photographs cannot tell a point
        assert final.top1 >= final.float_top1 - 0.01, f"naive {naive}; ladder {final}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["outlier channels", "high-norm tokens"])
def test_vit_b_32_shaped_weights_under_stress(kind):
    """Width 768, 12 blocks, 50 tokens, ln_pre, random weights: which photograph is it a view of? Within a point of float, cosine 0.99.

    Random weights embed all images alike but for little, so the naive file's own cosine stays high; its answers tell.
    """
    torch.manual_seed(0)
    model = load_model("ViT-B-32", "random", ROOT / "models")
    perturb(model.module.visual, 0)
    images, held = views(model, 0), views(model, 1)
    if kind == "outlier channels":
        model = stress.outlier_norm_pre(model, 90.0, (133, 415, 650))
    else:
        model = stress.high_norm_tokens(model, images.images[:32])
    bank, truth = likenesses(model, images), np.array([int(name) for name in held.folders])
    naive, final = (measure(model, bank, recipe, images, held, truth) for recipe in (NAIVE, FINAL))
    print(f"{kind}: naive {naive}; ladder {final}")
    assert final.float_top1 > 0.6, "the images can be told apart"
    assert naive.top1 < naive.float_top1 - 0.1, f"naive {naive}"
    assert final.cosine >= 0.99 and final.top1 >= final.float_top1 - 0.01, f"naive {naive}; ladder {final}"


def views(model: ClipModel, seed: int) -> SampleSet:
    """Twelve random parts of each embedded photograph; the folder is the photograph's number."""
    random, found = np.random.default_rng(seed), []
    for path in sorted(PHOTOGRAPHS.glob("*.jpg")):
        with Image.open(path) as image:
            for _ in range(12):
                share = random.uniform(0.5, 0.9)
                left, top = random.uniform(0, 1 - share, 2)
                box = (left * image.width, top * image.height, (left + share) * image.width, (top + share) * image.height)
                found.append(image_to_tensor(image.crop(tuple(map(int, box))), model.preprocessing)[0])
    folders = tuple(str(number // 12) for number in range(len(found)))
    return SampleSet(folders, folders, np.stack(found), "views", ())


def likenesses(model: ClipModel, images: SampleSet) -> LabelBank:
    """A label per photograph: the mean embedding of its views less the mean of all, and orthogonal to that."""
    embeddings = parity.float_embeddings(model, images.images, Silent())
    mean, of = embeddings.mean(0), np.array([int(name) for name in images.folders])
    vectors = np.stack([embeddings[of == number].mean(0) for number in np.unique(of)]) - mean
    vectors -= np.outer(vectors @ mean, mean) / (mean @ mean)
    names = tuple(f"photograph {number}" for number in np.unique(of))
    return LabelBank(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), names, ("{}",), model.space_id)
