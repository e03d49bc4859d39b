"""The map of the code, and that imports keep to it.

Packages: models -> convert -> calibration -> tflite_runtime_app, and convert -> targets. Inside a package ORDER names the parts from the
bottom to the top: a module imports from its own part and from those below. Imports inside functions and under TYPE_CHECKING count as well.
"""

import ast
import sys
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.clone import ROOT

MAY_IMPORT = {
    "tflite_runtime_app": set(),
    "calibration": {"tflite_runtime_app"},
    "targets": set(),
    "convert": {"calibration", "targets", "tflite_runtime_app"},
    "models": {"calibration", "convert", "tflite_runtime_app"},
}

# The parts of each package, folders and loose modules, from the bottom to the top, with what each holds.
ORDER = {
    "convert": {
        "__init__": "nothing: the package's name",
        "support": "errors, atomic files, progress, quiet libraries",
        "tflite": "a TensorFlow Lite file read, merged and audited",
        "model": "the open_clip model: loaded, refused or taken apart into a tower, with its labels and heads",
        "rewrites": "exact changes of the float tower",
        "stages": "the tower cut at its exits, run in float and as the integer file will run it",
        "passes": "exact changes of the float file before it is quantized",
        "options": "what can be asked of a build, by phase",
        "request": "what a build was asked for, with its model, labels and board",
        "emit": "from stages to one integer file with its manifest",
        "calibrate": "from images to ranges, weights, gates, thresholds and policy",
        "heads": "heads of the exits' own, fitted or trained",
        "measure": "how near the integer file is to float, and what its exits do",
        "report": "pages, figures and tables of what was measured",
        "board": "whether a bundle fits a board, and how long it takes there",
        "text": "the text tower's file",
        "build": "one build from request to bundle",
        "ladder": "what each step of a build earns",
        "bench": "a bundle's speed beside its peers",
        "micro": "a bundle as files and C for microcontrollers",
        "commands": "the subcommands, from options to files and text",
        "cli": "the command line",
        "__main__": "`python -m convert`",
    },
    "tflite_runtime_app": {
        "version": "the version, for whoever needs nothing else",
        "errors": "errors that a user can mend",
        "escaping": "strangers' words made harmless for terminals and spreadsheets",
        "files": "files written whole or not at all",
        "board": "what is known of the machine it runs on",
        "bundle": "the file's parts: zip, manifest, labels, arrays",
        "policies": "who decides to stop at an exit",
        "inference": "from an image to an answer, stage by stage",
        "exits": "exits observed, bounded and fitted anew",
        "admission": "a file checked, tried and opened, or refused",
        "text": "names made label vectors",
        "sources": "where images come from",
        "sinks": "where answers go",
        "classifier": "an opened bundle with its labels, ready for images",
        "batch": "images that lie there, decoded ahead, or answered by several processes",
        "live": "a source watched over for months",
        "checks": "what `classify doctor` looks at",
        "commands": "the subcommands, from options to files and text",
        "cli": "the command line",
        "__main__": "`python -m tflite_runtime_app`",
        "__init__": "what the package offers to other programs",
    },
    "calibration": {
        "__init__": "nothing: the package's name",
        "archives": "tar and zip files, read member by member",
        "samples": "representative images, in a fixed order",
        "statistics": "what is remembered of a tensor over all images",
        "relevance": "what of a tensor its reader sees",
        "observers": "how a range is chosen from what was seen",
        "ranges": "from what was seen to every tensor's grid",
        "collect": "the stages run over the images, statistics kept",
        "probabilities": "grids of attention's probabilities in two int8 terms",
        "two_term": "grids of a stream of two int8 terms",
        "search": "which observer for which kind of tensor",
        "rounding": "weights rounded by GPTQ",
        "gates": "the chance that stopping is right, learned",
        "gate_evidence": "what gates are worth",
        "phases": "what the phases of a build hand on, as types",
        "inr": "information and noise of an exit's logits",
        "families": "members of each family of exit policies",
        "choose": "which policy of a family a build takes",
        "stored_exits": "exits as JSON, also for a further list of labels",
        "stored": "`calibration.npz`",
    },
    "targets": {
        "__init__": "nothing: the package's name",
        "cost": "milliseconds from rates that others published",
        "memory": "bytes from a tower's shapes",
        "tiles": "rows that a kernel's tiles leave empty",
        "facts": "what a board's file may say",
        "profile": "a board as data",
    },
}
LOOSE = 8  # modules beside a package's folders, `__init__` and `__main__` counted: more are a folder that nobody has named

BOARD = {"numpy", "PIL", "ai_edge_litert", "tflite_runtime_app"}
# What is not of the board's short list, and the one file or folder that may import it.
EXTRAS = {
    "av": "tflite_runtime_app/sources/libav.py",
    "picamera2": "tflite_runtime_app/sources/picamera.py",
    "paho": "tflite_runtime_app/sinks/mqtt/sink.py",
    "pillow_heif": "tflite_runtime_app/inference/heif.py",
    "tornado": "tflite_runtime_app/sinks/web/door.py",
    "cryptography": "tflite_runtime_app/admission/signing.py",
}


def imported(source: str, modules: Collection[str] = ()) -> Iterator[str]:
    """What `source` imports anywhere, late imports too: a name of `modules` where one is meant; "." for a relative import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield "."
        elif isinstance(node, ast.ImportFrom):
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in modules else str(node.module) for name in inner)


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} has no files: this test would pass on nothing"
    return found


def module(path: Path) -> str:
    """convert/report/page.py is `convert.report.page`, convert/report/__init__.py is `convert.report`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for package in MAY_IMPORT for path in files(package)}
GRAPH = {name: set(imported(path.read_text("utf-8"), MODULES)) & set(MODULES) for name, path in MODULES.items()}


def roots(package: str) -> dict[Path, set[str]]:
    return {path: {name.split(".")[0] for name in imported(path.read_text("utf-8"))} for path in files(package)}


def may_import(path: Path, name: str) -> bool:
    place = EXTRAS.get(name)
    return place is not None and path.relative_to(ROOT).as_posix().startswith(place)


def part(name: str) -> str:
    """The part of ORDER that a module belongs to: its folder, its own name if it is loose, `__init__` for the package itself."""
    names = name.split(".")
    return names[1] if len(names) > 1 else "__init__"


def upward(package: str, order: Collection[str], graph: dict[str, set[str]]) -> list[str]:
    """The imports of the graph that go from a lower part of the package to a higher one."""
    rank = {name: number for number, name in enumerate(order)}
    pairs = ((a, b) for a, names in sorted(graph.items()) for b in sorted(names))
    inner = ((a, b) for a, b in pairs if a.split(".")[0] == b.split(".")[0] == package)
    return [f"{a} -> {b}" for a, b in inner if rank.get(part(a), 0) < rank.get(part(b), 0)]


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A circle of the graph, in the order of its imports; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return list(reversed(found.args[1]))
    return []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_downwards_only(package: str) -> None:
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] - {package} | {"", "tests", "tools"}
    wrong = {str(path.relative_to(ROOT)): names & forbidden for path, names in roots(package).items() if names & forbidden}
    assert not wrong


def test_the_board_needs_numpy_pillow_litert_and_the_standard_library_only() -> None:
    allowed = BOARD | sys.stdlib_module_names
    extra = {
        str(path.relative_to(ROOT)): wrong
        for path, names in roots("tflite_runtime_app").items()
        if (wrong := {name for name in names - allowed if not may_import(path, name)})
    }
    assert not extra


@pytest.mark.parametrize("package", ORDER)
def test_the_map_names_all_that_there_is_and_nothing_else(package: str) -> None:
    there = {part(name) for name in MODULES if name.split(".")[0] == package}
    assert not there - set(ORDER[package]), "give it a place in ORDER"
    assert not set(ORDER[package]) - there, "take it out of ORDER"


@pytest.mark.parametrize("package", ORDER)
def test_folders_import_downwards_only(package: str) -> None:
    wrong = upward(package, ORDER[package], GRAPH)
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    found = circle(GRAPH)
    assert not found, " -> ".join(found)


@pytest.mark.parametrize("package", ["convert", "tflite_runtime_app"])
def test_few_modules_lie_loose(package: str) -> None:
    assert len(list((ROOT / package).glob("*.py"))) <= LOOSE


def test_late_and_relative_imports_are_seen() -> None:
    source = "def f():\n    import torch.nn\n    from convert.cli import main\nfrom . import x\n"
    assert sorted(imported(source)) == [".", "convert.cli", "torch.nn"]


def test_imports_for_types_are_seen() -> None:
    assert list(imported("if TYPE_CHECKING:\n    from convert.cli import main\n")) == ["convert.cli"]


def test_a_module_taken_from_its_package_is_told_from_a_name() -> None:
    assert list(imported("from a import b, c\n", {"a", "a.b"})) == ["a.b", "a"]


def test_an_import_upward_is_found_and_one_within_a_folder_is_not() -> None:
    graph = {"p.low.a": {"p.high", "p.low.b", "q.high"}, "p.low.b": set(), "p.high": {"p.low.a"}, "p": {"p.high"}}
    assert upward("p", ["low", "high", "__init__"], graph) == ["p.low.a -> p.high"]
    assert upward("p", ["__init__", "low", "high"], graph) == ["p -> p.high", "p.low.a -> p.high"]


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}}
    found = circle(graph)
    assert set(found) == {"b", "c"}
    assert all(after in graph[before] for before, after in pairwise(found))
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
