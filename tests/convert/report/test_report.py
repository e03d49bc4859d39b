"""The report shows what the data holds, needs nothing but itself, and says plainly what was not measured."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from convert.model import head_files as heads
from convert.model.load import load_model
from convert.report import summary_table, write_report
from convert.report.build_page import render
from convert.report.build_report import LADDER_FILE, at_cost_of, measured_ladder
from convert.report.formats import SPACE
from convert.report.plots import cosine_plot, exits_plot, noise_plot
from convert.report.wilson import wilson
from tests.convert import model_folder
from tests.convert.conversion import random_head

VOID = {"meta", "br", "link", "img", "hr"}


def parity(images: int = 200, labels: bool = True) -> dict:
    top1 = (0.1234, 0.4321, 0.6543) if labels else (None,) * 3
    rows = zip((2, 4, 6), (0.3111, 0.5222, 0.9333), (0.1444, 0.4555, 0.8777), top1, (0.05, 0.15, 0.8), (41, 62, 83), strict=True)
    exits = [
        {"blocks_done": b, "cosine": c, "agreement": a, "top1": t, "share": s, "macs": m * 1_000_000, "ms": b / 2 + 0.25}
        for b, c, a, t, s, m in rows
    ]
    return {
        "images": images,
        "cosine_mean": 0.9333,
        "cosine_p5": 0.8012,
        "agreement": 0.8777,
        "top1_float": 0.7111 if labels else None,
        "top1_int8": 0.6543 if labels else None,
        "top1_exits": 0.6321 if labels else None,
        "agreement_exits": 0.8555,
        "mean_macs": 77_700_000.0,
        "full_macs": 82_800_000,
        "exits": exits,
        "cosines": [0.8 + 0.19 * (k / images) ** 0.5 for k in range(images)],
    }


def report_data() -> dict:
    macs = {0: 41_000_000, 1: 21_000_000, 2: 21_000_000}
    nsr = [0.0811, 0.0922, 0.1033, 0.1144, 0.1255, 0.1366]
    tower = {"blocks": 6, "width": 64, "heads": 2, "tokens": 26, "image_size": [70, 70], "patch_size": [14, 14], "embedding": 32}
    return {
        "model": {
            "name": "tiny",
            "weights_sha256": "ab" * 32,
            "tower": {**tower, "activation": "gelu", "pooling": "class_token", "norm_pre": False},
        },
        "target": {"name": "rpi", "title": "any 64-bit Raspberry Pi"},
        "flatbuffer_bytes": 12_340_000,
        "stages": [
            {
                "operators": {"FULLY_CONNECTED": 25 + k, "ADD": 7},
                "macs": macs[k],
                "macs_xnnpack": macs[k] // 2,
                "left_by_scale": ["SUB making block_01/rest: scales 462 apart"] if k == 1 else [],
                "signature": f"stage_{k}",
                "blocks_done": 2 * k + 2,
                "head_macs": 100_000,
            }
            for k in range(3)
        ],
        "passes": [{"name": "key-layout", "count": 12}, {"name": "gelu-form", "count": 0}],
        "ladder": [{"name": "step-one", "refusal": None}, {"name": "step-two", "refusal": "there is nothing to fold"}],
        "steps": None,
        "conversion_difference": 7.6e-6,
        "calibration": {"digest": "cd" * 32, "images": 321, "observer": "mse", "from": "images"},
        "gates": [
            {"threshold": -34, "mean": [0.1251, 0.0534, 0.6477], "deviation": [0.0721, 0.0666, 0.0401]},
            {"threshold": 128, "mean": [0.1788, 0.0858, 0.6379], "deviation": [0.1155, 0.1128, 0.0419]},
        ],
        "policy": "lct",
        "risk": {},
        "exits": {},
        "limits": {"cosine_mean": 0.8666, "agreement": 0.7554},
        "measured_on": "held-apart images",
        "parity": parity(),
        "recorded": None,
        "noise": {"images": 32, "nsr": nsr, "power": [value**2 for value in nsr]},
        "names": [],
        "skipped": ["broken.jpg: cannot identify image file"],
        "seconds": 125.0,
        "tools": {"torch": "2.13.0+cpu", "numpy": "2.1.3"},
    }


def on_photographs() -> dict:
    data = report_data()
    data["recorded"] = {**data["parity"], "cosines": []}
    data["parity"] = {**parity(9, labels=False), "cosine_mean": 0.9876, "agreement": 7 / 9}
    data["measured_on"], data["calibration"]["from"] = "the photographs in models/photographs", "calibration.npz"
    data["names"] = ["cat.jpg", "rocket.jpg"]
    return data


def unmeasured() -> dict:
    return {**report_data(), "parity": None, "noise": None, "recorded": None, "limits": {}, "gates": []}


def page(folder: Path, data: dict) -> str:
    return write_report(folder, data, Path("tiny-rpi.tflite")).read_text("utf-8")


def words(html: str) -> str:
    """The page's text as a reader sees it, in one line, every space a plain one."""
    body = re.sub(r"<(style|svg|head)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).replace("&nbsp;", " ").split())


def on_terminal(data: dict, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(summary_table(data))
    return console.export_text()


class Nesting(HTMLParser):
    """Collects ids and attributes, and fails where a tag is closed that is not the open one."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.note(attributes)

    def handle_startendtag(self, tag, attributes):
        self.note(attributes)

    def note(self, attributes):
        for name, value in attributes:
            self.ids += [value] if name == "id" else []
            self.links += [value] if name.rsplit(":", 1)[-1] in ("src", "href", "srcset", "action", "data") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("make", [report_data, on_photographs, unmeasured])
def test_the_page_is_well_formed_and_needs_nothing_else(tmp_path, make):
    html = page(tmp_path, make())
    seen = Nesting()
    seen.feed(html)
    assert seen.open == []
    assert len(seen.ids) == len(set(seen.ids)), "two elements share an id"
    assert all(link.startswith("#") and link[1:] in seen.ids for link in seen.links)
    assert not re.search(r"<script|<link|<iframe|@import|url\((?!#)", html)
    assert not re.search(r"https?://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", html))
    assert "{{" not in html and "None" not in re.sub(r"None\.|None:", "", words(html)), "a missing value leaked"


def test_it_contains_the_figures(tmp_path):
    text = words(page(tmp_path, report_data()))
    for number in ("12.3 MB", "71.1 %", "65.4 %", "63.2 %", "87.8 %", "6.2 % fewer", "85.5 %", "50.0 %", "14.4 %"):
        assert number in text, number
    low, high = wilson(0.6543, 200)
    assert f"{low * 100:.1f}–{high * 100:.1f} %" in text
    for shown in ("82.8", "77.7", "0.933", "0.801", "0.9333", "0.311", "11.4", "0.0131", "0.1251 ± 0.0721", "-34", "128 (off)"):
        assert shown in text, shown
    assert "SUB making block_01/rest: scales 462 apart" in text and text.count("leaves to slower kernels") == 1
    for shown in ("not applied: there is nothing to fold", "cd" * 32, "321 for the ranges", "mse", "broken.jpg", "2.13.0+cpu"):
        assert shown in text, shown
    assert "2020" not in text and "Measured on 200 held-apart images" in text


def test_without_labels_accuracy_is_not_measured(tmp_path):
    text = words(page(tmp_path, {**report_data(), "parity": parity(labels=False)}))
    assert "not measured the labels of the images are not known" in text
    assert "87.8 %" in text


def test_without_parity_it_says_so(tmp_path):
    text = words(page(tmp_path, unmeasured()))
    assert "there were no images to measure on" in text and "There are no gates" in text
    assert "82.8" in text, "the full depth's cost is known without images"


def test_recorded_figures_cost_what_this_file_takes():
    """An exit's share of images is of that day, its multiply-accumulates are this file's."""
    costs = SimpleNamespace(stages=("stage_0", "stage_1"), macs_until=lambda stage: (101, 152)[stage], total_macs=151)
    rows = [{"share": share, "macs": 7, "top1": 0.5} for share in (0.25, 0.75)]
    found = at_cost_of(costs, {"exits": rows, "mean_macs": 7, "full_macs": 7, "images": 9})
    assert [row["macs"] for row in found["exits"]] == [101, 152]
    assert (found["mean_macs"], found["full_macs"], found["images"]) == (0.25 * 101 + 0.75 * 152, 151, 9)
    assert at_cost_of(costs, {}) == {}, "nothing was recorded"


def test_recorded_figures_come_first_when_only_photographs_were_measured(tmp_path):
    text = words(page(tmp_path, on_photographs()))
    assert "measured on 9 images, the photographs in models/photographs" in text
    assert "show only that the file works" in text and "its 200 held-apart images" in text
    assert text.index("0.933") < text.index("0.9876"), "the few images' figures stand in the comparison, not in the headline"


def test_few_images_without_recorded_figures_carry_a_warning(tmp_path):
    data = {**on_photographs(), "recorded": None}
    assert "(n = 9) show only that the file works" in words(page(tmp_path, data))


def test_json_holds_the_data_and_no_temporary_file_stays(tmp_path):
    data = report_data()
    assert write_report(tmp_path / "new" / "report", data, Path("tiny.tflite")) == tmp_path / "new" / "report" / "index.html"
    assert json.loads((tmp_path / "new" / "report" / "report.json").read_text("utf-8")) == data
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == ["index.html", "report.json"]


def test_the_same_data_give_the_same_page(tmp_path):
    assert page(tmp_path / "a", report_data()) == page(tmp_path / "b", report_data())


def test_hostile_names_are_escaped(tmp_path):
    data = report_data()
    evil = "<script>alert(1)</script>\"'&[bold]"
    data["model"]["name"], data["target"]["title"], data["skipped"], data["names"] = evil, evil, [evil], [evil]
    data["ladder"][1]["refusal"], data["tools"] = evil, {evil: evil}
    html = page(tmp_path, data)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 7
    assert "[bold]" in on_terminal(data, 120), "rich took the name for markup"


@pytest.mark.parametrize(("k", "n"), [(0, 9), (9, 9), (7, 9), (81, 263), (1393, 2020)])
def test_wilson_is_scipys(k, n):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_is_newcombes_published_example():
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3: 81/263 and 15/148.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


@pytest.mark.parametrize("depth", [1, 2, 12, 24, 40])
def test_plots_are_svg_in_the_pages_colours(depth):
    blocks = list(range(1, depth + 1))
    macs = [block * 1e8 for block in blocks]
    drawn = (
        noise_plot([0.1] * depth, blocks[:-1]),
        exits_plot(blocks, [1 / depth] * depth, macs, macs[-1] / 2),
        cosine_plot([0.99] * depth, 0.99, 0.99),
    )
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img" and root.get("width") is None
        assert "currentColor" in svg and "var(--main)" in svg
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#ffffff"}, "a colour that CSS does not decide"


def test_plots_leave_matplotlibs_settings_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    noise_plot([0.1, 0.2], [1])
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("make", [report_data, on_photographs, unmeasured])
def test_the_terminal_table_fits_and_is_not_cut(width, make):
    text = on_terminal(make(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text and "tiny for rpi" in text


def test_the_terminal_table_holds_the_figures():
    text = on_terminal(report_data(), 80).replace(SPACE, " ")
    for number in ("71.1 %", "65.4 %", "63.2 %", "87.8 %", "0.933", "82.8", "77.7", "80.0 %", "12.3 MB", "6.2 % fewer"):
        assert number in text, number
    assert "only" not in text
    assert "ran on 9 images only (7 of 9 as in float)" in " ".join(on_terminal(on_photographs(), 80).split())


def test_the_measured_ladder_is_shown_where_there_is_one(tmp_path):
    rung = {"rewrites": 1, "observer": "min-max", "stream": "int8", "cosine_mean": 0.9012, "cosine_p5": 0.74, "agreement": 0.732}
    rung |= {"top1": 0.552, "top1_float": 0.665, "nsr": [0.2, 0.63], "megabytes": 22.9, "ms": 5.5}
    steps = {"images": 456, "ladder": [{**rung, "name": "naive <min-max>"}, {**rung, "name": "+ rotation", "nsr": [0.1, 0.099]}]}
    without, page = (render({**report_data(), "steps": found}, Path("x.tflite")) for found in (None, steps))
    assert "What each step earns" in page and "What each step earns" not in without
    assert "456 images" in page and "naive &lt;min-max&gt;" in page and "63.0 %" in page and "9.9 %" in page
    assert "<svg" in page[page.index("What each step earns") :]


def test_the_measured_ladder_is_the_towers_whatever_heads_its_exits_have(tmp_path):
    folder = model_folder.write(tmp_path / "small")
    (folder / LADDER_FILE).write_text(json.dumps({"space_id": load_model(str(folder), None, None).space_id, "images": 3}))
    assert measured_ladder(load_model(str(folder), None, None))["images"] == 3
    tower = load_model(str(folder), None, None).tower()
    (folder / heads.FILE).write_bytes(heads.to_bytes({2: random_head(tower, 8)}))
    assert measured_ladder(load_model(str(folder), None, None))["images"] == 3
    (folder / LADDER_FILE).write_text(json.dumps({"space_id": "another", "images": 3}))
    assert measured_ladder(load_model(str(folder), None, None)) is None


def with_exits() -> dict:
    """A report whose exits were measured: three stages, a bound that let forty settings pass."""
    point = {"share": 0.8, "ms": 9.5, "accuracy": 0.66}
    quadrant = dict.fromkeys(("both", "rescued", "harmed", "neither"), 0.25)
    quadrant |= {f"{name}_interval": (0.2, 0.3) for name in (*quadrant, "gain")}
    quadrant |= {"gain": 0.0, "p_value": 0.8, "accuracy": 0.66, "accuracy_full": 0.665, "share_of_macs": 0.8}
    gate = {"chance": (0.2, 0.8), "share": (0.25, 0.75), "count": (50, 50), "ece": 0.05, "equal": 0.997, "threshold": -34}
    leaving = {
        "images": 400,
        "labelled": True,
        "blocks": [2, 4, 6],
        "policies": [
            {"family": name, "point": point, "loss": 0.001, "harmed": 0.006, "rescued": 0.005} for name in ("never", "ltt-lct")
        ],
        "curves": {"lct": [point, {**point, "share": 0.6}], "patience": [point]},
        "exits": [point] * 3,
        "float_exits": [point] * 3,
        "taken": point,
        "quadrants": {"int8": quadrant, "float": quadrant},
        "inr": [180.0, 200.0, 250.0],
    }
    risk = {"alpha": 0.02, "delta": 0.1, "images": 1010.0, "losses": 14.0, "passed": 40.0, "tested": 41.0, "label_free": 0.0}
    ablation = [{"confidence": 0.7, "margin": 0.71}, {"confidence": 0.8, "margin": 0.81}]
    gates = {"kind": "logistic", "ablation": ablation, "exits": [gate, gate]}
    lct = {"strength": 0.25, "strengths": {"0.0": 0.76, "0.25": 0.75}}
    return {**report_data(), "risk": risk, "exits": {"gates": gates, "lct": lct, "leaving": leaving}}


def test_the_page_tells_of_bound_policies_and_gates(tmp_path):
    text = page(tmp_path, with_exits())
    told = words(text)
    assert "with 90.0 % confidence at most 2.0 % of images are wrong where they leave" in told
    assert "14 of 1010 images" in told and "40 of 41 settings" in told
    for heading in ("Policies compared", "Rescued and harmed, in INT8 and in float", "Information to noise"):
        assert heading in told
    assert "0.0 (one threshold for all exits): 76.0 %, 0.25: 75.0 %" in told
    assert "99.7 %" in told, "how often the integer gate decides as the float one"
    assert text.count("<svg") == 5


def test_the_page_says_when_no_setting_passed(tmp_path):
    data = with_exits()
    data["risk"] |= {"passed": 0.0, "losses": 0.0, "images": 90.0}
    assert "let no setting pass on 90 images" in words(page(tmp_path, data))


def test_rows_that_tiles_leave_empty_are_told(tmp_path):
    data = report_data()
    assert "tiles of" not in words(page(tmp_path, data))
    data["target"]["tiles"] = "37 tokens fill 92 % of the rows of the int8 kernel's tiles of 4; 36 would fill them whole."
    assert data["target"]["tiles"] in words(page(tmp_path, data)).replace("&#39;", "'")
