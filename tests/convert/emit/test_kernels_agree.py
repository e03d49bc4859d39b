"""One file, three sets of kernels, real images: XNNPACK's, LiteRT's plain ones and its plain loops give the same embeddings.

Every operator of one set is within one step of the other's; what remains at the end of a tower is those single steps, carried on.
"""

import itertools
from collections.abc import Iterable

import numpy as np
from PIL import Image

from tests.clone import ROOT
from tests.convert.conversion import run
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.inference.engine import OP_RESOLVERS, LiteRtEngine
from tflite_runtime_app.inference.preprocess import image_to_tensor
from tflite_runtime_app.policies import Never

PHOTOGRAPHS = sorted((ROOT / "models" / "photographs").glob("*.jpg"))

# Measured between any two of the three sets, over nine photographs and every exit: cosines from 0.9984, differences of at most 6 steps and
# on an image's average 1.9 on the small towers; 0.9971, 8 and 1.5 on the embedded model of twelve blocks.
COSINE, STEPS, MEAN_STEPS = 0.995, 12, 2.5

Embeddings = dict[str, list[tuple[np.ndarray, float, int]]]  # by kernels: codes, scale and zero point, image by image


def pictures(preprocessing: Preprocessing) -> Iterable[np.ndarray]:
    assert len(PHOTOGRAPHS) >= 5
    return [image_to_tensor(Image.open(path), preprocessing) for path in PHOTOGRAPHS]


def compare(found: Embeddings) -> None:
    """The embeddings of every two sets of kernels are within the bounds above, and not all alike."""
    for one, other in itertools.combinations(found, 2):
        for (a, scale, zero_point), (b, _, _) in zip(found[one], found[other], strict=True):
            x, y = ((codes.astype(float) - zero_point) * scale for codes in (a, b))
            cosine = float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
            difference = np.abs(a.astype(int) - b)
            assert cosine >= COSINE, (one, other)
            assert difference.max() <= STEPS, (one, other)
            assert difference.mean() <= MEAN_STEPS, (one, other)
    first = next(iter(found.values()))
    assert any((codes != first[0][0]).any() for codes, _, _ in first[1:]), "images that all look alike would prove nothing"


def test_the_small_towers(converted):
    height, width = converted.visual.image_size
    engines = {name: LiteRtEngine(converted.integer_file, op_resolver=name) for name in OP_RESOLVERS}
    for index in range(len(converted.stages)):
        facts = engines["xnnpack"].signatures[f"stage_{index}"].outputs["embedding"]
        found: Embeddings = {name: [] for name in engines}
        for picture in pictures(Preprocessing(height, width)):
            for name, engine in engines.items():
                outputs = next(itertools.islice(run(converted, engine.invoke, picture[0]), index, None))[2]
                found[name].append((outputs["embedding"].ravel(), facts.scales[0], facts.zero_points[0]))
        compare(found)


def test_the_embedded_model(embedded):
    bundle = read_bundle(embedded)
    cascades = {name: load_cascade(bundle, 1, name, Never()) for name in OP_RESOLVERS}
    by_stage: list[Embeddings] = [{name: [] for name in cascades} for _ in bundle.manifest.stages]
    for picture in pictures(bundle.manifest.preprocessing):
        for name, cascade in cascades.items():
            for stage, found, output in zip(bundle.manifest.stages, by_stage, cascade.stage_outputs(picture), strict=True):
                spec = next(tensor for tensor in stage.outputs if tensor.name == "embedding")
                found[name].append((output.raw["embedding"].ravel(), spec.scale, spec.zero_point))
    for found in by_stage:
        compare(found)
