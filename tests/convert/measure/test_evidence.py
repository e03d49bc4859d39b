"""Quadrants against counting and scipy, curves against policies run by hand, contact sheets, and a stream that goes on where it stopped."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from calibration.choose import Aim
from calibration.families import FAMILIES
from calibration.samples import Sample
from convert.calibrate.simulation import Simulation
from convert.measure import curves
from convert.measure.head_factorial import measure
from convert.measure.quadrants import mcnemar, quadrants
from convert.measure.stream import Networks, through_both
from convert.report.contact_sheet import MOST, contact_sheet
from convert.stages.float_replay import float_replay
from convert.support.progress import Silent
from tests.convert.conversion import images
from tests.convert.emit.test_integer_file import manifest_of
from tests.tflite_runtime_app.exits.test_observed import observed
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.inference.cascade import Cascade
from tflite_runtime_app.inference.engine import LiteRtEngine
from tflite_runtime_app.policies import Lct, Never


def test_the_four_quadrants_are_counted():
    seen = observed(800)
    left = seen.leaves(Lct((0, 0)))
    found = quadrants(seen, left)
    early = np.array([seen.top1[i, left[i]] == seen.wanted[i] for i in range(800)])
    full = seen.top1[:, -1] == seen.wanted
    counted = {"both": early & full, "rescued": early & ~full, "harmed": ~early & full, "neither": ~early & ~full}
    for name, part in counted.items():
        assert getattr(found, name) == pytest.approx(part.mean())
        low, high = getattr(found, f"{name}_interval")
        assert low <= part.mean() <= high
    assert found.gain == pytest.approx(early.mean() - full.mean())
    assert found.both + found.rescued + found.harmed + found.neither == pytest.approx(1)


def test_the_intervals_are_those_of_a_bootstrap_over_images():
    seen = observed(800)
    left = seen.leaves(Lct((0, 0)))
    harmed, rescued = seen.harmed(left).astype(float), seen.rescued(left).astype(float)
    random = np.random.default_rng(5)
    draws = [(rescued - harmed)[random.integers(0, 800, 800)].mean() for _ in range(2000)]
    np.testing.assert_allclose(quadrants(seen, left).gain_interval, np.quantile(draws, [0.025, 0.975]), atol=0.004)


def test_mcnemar_is_the_exact_binomial_test():
    assert mcnemar(30, 12) == pytest.approx(stats.binomtest(30, 42, 0.5).pvalue)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0


def test_without_labels_there_are_no_quadrants():
    with pytest.raises(ValueError, match="labels"):
        quadrants(observed(50, labelled=False), np.zeros(50, int))


def test_points_and_curves():
    seen, ms = observed(500), (1.0, 2.5, 4.0)
    exits = curves.every_exit(seen, ms)
    assert [point.share for point in exits] == [30 / 96, 60 / 96, 100 / 96]
    assert [point.ms for point in exits] == list(ms)
    assert [point.accuracy for point in exits] == [float((seen.top1[:, k] == seen.wanted).mean()) for k in range(3)]
    found = curves.curves(seen, seen, (0, 0), ms)
    assert set(found) == set(FAMILIES) - {"ltt-lct"}
    assert found["never"] == [exits[-1]]
    assert found["always"] == [exits[1], exits[0]]
    shares = [point.share for point in found["lct"]]
    assert shares == sorted(shares, reverse=True)


def test_families_are_compared_by_what_they_choose_elsewhere():
    learned, held, seen = (observed(1500, seed) for seed in (1, 2, 3))
    rows = {row.family: row for row in curves.compared(seen, learned, held, (0, 0), (1, 2, 3), Aim(loss=0.02))}
    assert set(rows) == set(FAMILIES)
    assert rows["never"].loss == 0
    assert rows["always"].point.share == 100 / 96, "every exit alone loses more than two points"
    assert rows["lct"].point.share <= rows["ltt-lct"].point.share < 1
    for row in rows.values():
        assert row.loss == pytest.approx(row.harmed - row.rescued)


def test_a_contact_sheet_shows_pictures_and_captions():
    random = np.random.default_rng(0)
    images = random.integers(-128, 128, (MOST + 9, 8, 8, 3), np.int8)
    content = contact_sheet(images, [("a very long name that cannot fit under an image", "b")] * len(images), "Title")
    with Image.open(io.BytesIO(content)) as sheet:
        assert sheet.width == 8 * 128 + 8
        assert sheet.height > 6 * 128
        assert len(np.unique(np.asarray(sheet.convert("L")))) > 50
    assert contact_sheet(images[:1], [("x",)], "One")


class Counted(Cascade):
    """A cascade that counts the images it sees."""

    seen = 0

    def stage_outputs(self, image):
        Counted.seen += 1
        return super().stage_outputs(image)


def test_a_stream_goes_on_where_it_was_cut_off_and_skips_what_is_broken(converted, tmp_path):
    random = np.random.default_rng(0)
    manifest = manifest_of(converted, (128,) * len(converted.gates))
    items = []
    for number in range(300):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (40, 40, 3), np.uint8)).save(buffer, "PNG")
        items.append(Sample(f"{number}.png", "folder", b"broken" if number in (3, 200) else buffer.getvalue()))
    cascade = Counted(LiteRtEngine(converted.integer_file), manifest, Never())
    networks = Networks(manifest.preprocessing, cascade, converted.stages)
    kept = tmp_path / "deep" / "seen"

    def run(given, key="key"):
        Counted.seen = 0
        found = through_both(iter(given), len(given), networks, kept, key, Silent())
        return found, Counted.seen

    def cut_off():
        yield from items[:200]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        through_both(cut_off(), 300, networks, kept, "key", Silent())
    resumed, computed = run(items)
    assert computed == 300 - 128 - 1
    assert run(items)[1] == 0
    (kept / "00001.npz").write_bytes(b"damaged")
    assert run(items)[1] == 300 - 128 - 1, "from the damaged chunk on"
    shutil.rmtree(kept)
    fresh, computed = run(items)
    assert computed == 298
    assert resumed.names == fresh.names
    assert len(fresh.skipped) == 2
    np.testing.assert_array_equal(resumed.found.embeddings, fresh.found.embeddings)
    np.testing.assert_allclose(resumed.float_found.embeddings, fresh.float_found.embeddings, atol=1e-5)
    assert run(items, "another file")[1] == 298


def test_the_factorial_asks_what_the_stages_answer(rotated):
    """The shared head on the mean patch token is the exit's own embedding, the last block's class token the tower's; no grid, no noise."""
    learned, asked = rotated.images[:40], images(rotated.visual, 30, 9)
    vectors = np.random.default_rng(0).normal(size=(6, 24)).astype(np.float32)
    bank = LabelBank(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), tuple("abcdef"), ("{}",), "small")
    outputs = float_replay(rotated.stages, asked).embeddings
    exit_top1, final_top1 = ((outputs[:, k] @ bank.vectors.T).argmax(1) for k in (0, -1))

    def accuracy(wanted, grids, **cell):
        cells = measure(Simulation(rotated.stages, grids, {}), learned, asked, wanted, bank, Silent())
        assert len(cells) == 3 * 2 * 2 * 2
        return next(c.accuracy for c in cells if all(getattr(c, name) == value for name, value in cell.items()))

    assert accuracy(exit_top1, {}, block=1, token="SSA", head="shared", arithmetic="float") == 1.0
    assert accuracy(final_top1, {}, block=3, token="class token", head="shared", arithmetic="float") == 1.0
    assert accuracy(final_top1, {}, block=3, token="class token", head="fitted", arithmetic="float") > 0.5
    assert accuracy(final_top1, rotated.grids, block=3, token="class token", head="shared", arithmetic="INT8") > 0.8
