"""The simulated integer network against the file it stands for, and the shares that `culprit` takes from it."""

import pytest
import torch

from calibration.samples import pixels
from convert.measure.culprit import measure, tensor_class
from convert.stages import simulate
from convert.support.progress import Silent
from tests.convert.conversion import images, run
from tflite_runtime_app.inference.engine import LiteRtEngine


def batch(conversion, count: int) -> torch.Tensor:
    return torch.from_numpy(pixels(images(conversion.visual, count, 21)))


def file_embeddings(conversion, count: int) -> torch.Tensor:
    engine, found = LiteRtEngine(conversion.integer_file), []
    for image in images(conversion.visual, count, 21):
        *_, (stage, _, outputs) = run(conversion, engine.invoke, image)
        facts = engine.signatures[f"stage_{stage.part.index}"].outputs["embedding"]
        codes = torch.from_numpy(outputs["embedding"].astype("float32")).reshape(-1)
        found.append((codes - facts.zero_points[0]) * facts.scales[0])
    return torch.stack(found)


def test_its_noise_is_that_of_the_file(rotated):
    """Not bit for bit, but of the same size: that is all a choice between ranges needs."""
    exact = simulate.run(rotated.stages, [batch(rotated, 24)], None)
    exits = tuple(stage.part.blocks_done for stage in rotated.stages[:-1])
    from convert.stages.stage import build_stages

    rounded = build_stages(simulate.quantized_weights(rotated.stages[0].tower), exits)
    simulated = simulate.run(rounded, [batch(rotated, 24)], simulate.quantizing_tap(rotated.grids))

    def noise(found: torch.Tensor) -> float:
        return float((found - exact).norm() / exact.norm())

    assert 0.002 < noise(simulated) < 0.2
    assert noise(simulated) == pytest.approx(noise(file_embeddings(rotated, 24)), rel=0.35)


def test_without_a_grid_nothing_changes(rotated):
    exact = simulate.run(rotated.stages, [batch(rotated, 4)], None)
    assert torch.allclose(simulate.run(rotated.stages, [batch(rotated, 4)], simulate.quantizing_tap({})), exact, atol=1e-5)


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("block_03/norm_1/square", "norm"),
        ("block_03/query/weight", "weight"),
        ("block_01/scores", "scores"),
        ("embed/patch", "patch"),
    ],
)
def test_classes(role, name):
    assert tensor_class(role) == name


def test_the_culprit_is_found(rotated):
    """One class on a grid sixteen times too coarse stands first, and taking it out helps most."""
    grids = {role: type(g)(g.scale * 16, g.zero_point) if role.endswith("/mixed") else g for role, g in rotated.grids.items()}
    found = measure(rotated.stages, grids, [batch(rotated, 8)], Silent())
    assert found.classes[0].name == "mixed"
    assert min(found.classes, key=lambda share: share.without).name == "mixed"
    assert found.everything > found.classes[0].alone * 0.5
    assert {share.name for share in found.blocks} == {"embed", *(f"block_{k:02d}" for k in range(1, 4))}
