"""The ladder: its page, and (slow) a climb on a tiny model through the command."""

import json
from xml.etree import ElementTree

import pytest

from calibration.observers import OBSERVERS
from convert.cli import main
from convert.emit.integer import MEASURED_STREAMS
from convert.report.ladder_page import cells, render, table
from convert.rewrites import LADDER
from convert.rewrites.recipe import QUANTIZER_STEPS
from tests.convert import model_folder

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
            "factorial": [RUNG],
        }
    )
    assert "a&lt;b" in page and "<min-max>" not in page
    assert page.count("63.0 %") == 2 and "9.0 %" in page and "0.9012" in page and "not known" in page
    assert "http://www.w3.org" in page and 'src="http' not in page and 'href="http' not in page
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


def test_the_table_has_a_row_a_rung():
    assert table({"model": "m", "images": 3, "ladder": [RUNG] * 2, "factorial": [RUNG]}).row_count == 3
    assert cells({**RUNG, "top1": 0.671})[7] == "67.1 %"


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
    assert found["ladder"][-1]["cosine_mean"] > found["ladder"][0]["cosine_mean"]
