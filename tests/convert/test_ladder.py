"""The ladder: its page, and (slow) a climb on a tiny model through the command."""

import io
import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from calibration.observers import OBSERVERS
from convert.cli import main
from convert.emit.integer import MEASURED_STREAMS
from convert.ladder import raised
from convert.report.ladder_page import cells, render, rows, table
from convert.rewrites import LADDER
from convert.rewrites.recipe import QUANTIZER_STEPS
from tests.convert import model_folder

CHANCE = 1e-4  # of a mean cosine of 0.9994 on eight images

RUNG = {
    "name": "naive <min-max>",
    "rewrites": 1,
    "observer": "min-max",
    "stream": "int8",
    "cosine_mean": 0.90123,
    "cosine_p5": 0.74,
    "agreement": 0.732,
    "top1": None,
    "top1_float": None,
    "nsr": [0.18, 0.46, 0.63],
    "megabytes": 22.9,
    "ms": 5.5,
}


def test_the_page_shows_every_rung_and_escapes_its_name():
    page = render(
        {
            "model": "a<b",
            "images": 400,
            "ladder": [RUNG, {**RUNG, "name": "+ rotation", "nsr": [0.1, 0.1, 0.09]}],
            "left_out": [{**RUNG, "name": "all but rotation"}],
            "factorial": [RUNG],
        }
    )
    assert "a&lt;b" in page and "<min-max>" not in page
    assert (
        page.count("63.0 %") == 3 and "all but rotation" in page and "9.0 %" in page and "0.9012" in page and "not known" in page
    )
    assert "http://www.w3.org" in page and 'src="http' not in page and 'href="http' not in page
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


def test_the_table_has_a_row_a_rung():
    assert table({"model": "m", "images": 3, "ladder": [RUNG] * 2, "left_out": [RUNG], "factorial": [RUNG]}).row_count == 4
    assert cells({**RUNG, "top1": 0.671})[7] == "67.1 %"


def test_a_step_that_raised_the_noise_is_marked_in_the_digits_that_are_shown():
    climbed = [{**RUNG, "cosine_mean": cosine} for cosine in (0.9, 0.95, 0.94, 0.93996, 0.97)]
    assert [row[4] for row in rows(climbed)] == ["0.9000", "0.9500", "0.9400 ↓", "0.9400", "0.9700"]
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(table({"model": "m", "images": 3, "ladder": climbed, "left_out": [], "factorial": climbed}))
    shown = console.export_text()
    assert shown.count("0.9400 ↓") == 1 and "less near to float than the step before" in " ".join(shown.split())
    cosines = [0.9] * len(LADDER)
    cosines[5:] = [0.8] * (len(LADDER) - 5)
    assert raised(cosines) == [LADDER[5]]


@pytest.mark.slow
def test_a_climb_through_the_command(tmp_path, capfd):
    model, images = model_folder.write(tmp_path / "small"), model_folder.write_pictures(tmp_path / "pictures")
    arguments = ["ladder", "--model", str(model), "--images", str(images), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0, capfd.readouterr().err
    found = json.loads((tmp_path / "out" / "ladder.json").read_text())
    steps = len(LADDER)
    assert [rung["rewrites"] for rung in found["ladder"]] == [*range(1, steps + 1), *[steps] * len(QUANTIZER_STEPS)]
    assert [rung["name"] for rung in found["ladder"]][-len(QUANTIZER_STEPS) :] == [f"+ {step}" for step in QUANTIZER_STEPS]
    assert len(found["factorial"]) == 2 * len(OBSERVERS) * len(MEASURED_STREAMS)
    cosines = [rung["cosine_mean"] for rung in found["ladder"]]
    assert cosines[-1] > cosines[0], "the whole is nearer to float than the naive file; a single step need not be"
    assert [rung["name"] for rung in found["left_out"]] == [f"all but {step.name}" for step in raised(cosines[:steps])]
    assert all(cosines[-1] > rung["cosine_mean"] - CHANCE for rung in found["left_out"]), "and none of them is better left out"
