"""Files that texts name in backticks are there: in documents, and in the docstrings and comments of the packages and the tools."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clone import ROOT

PACKAGES = ("tflite_runtime_app", "calibration", "targets", "convert", "tools", "models/recipe")
SOURCES = (".py", ".toml", ".c", ".h", ".in")
DOCUMENTS = ("README.md", "NOTICE", "docs/*.md", "models/*/README.md")
SPAN = re.compile(r"`([^`\n]+)`")
NAMED = re.compile(r"(?<![\w./*<-])[\w./-]+\.(?:py|md|toml|c|h|html)(?![\w-]|\.\w)")

# What is meant by these is no file of the clone.
ELSEWHERE = {
    "clip_rescue_stage_0.c": "written by `convert build` for a microcontroller",
    "clip_rescue.h": "written by `convert build` for a microcontroller",
    "clip_rescue_model.h": "written by `convert build` for a microcontroller",
    "index.html": "written as a report",
    "recipe.toml": "a model's own",
    "targets/NAME.toml": "a board that is still to be added",
}


def said(path: Path) -> str:
    """What a text says: docstrings and comments of a Python module, all of any other file."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        return text
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join([*docstrings, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


def named(text: str) -> set[str]:
    """The files that a text names in backticks, in commands too."""
    return {name for span in SPAN.findall(text) for name in NAMED.findall(span)}


def exists(name: str, path: Path) -> bool:
    """Whether the file `path` may say `name`: from the root, from its own folder or its package, or alone where no other is called so."""
    package = next((ROOT / package for package in PACKAGES if path.is_relative_to(ROOT / package)), ROOT)
    if any((folder / name).is_file() for folder in (ROOT, path.parent, package)):
        return True
    return package != ROOT and "/" not in name and len(list(package.rglob(name))) == 1


def texts() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (path for path in sorted((ROOT / package).rglob("*")) if path.suffix in SOURCES)
    for pattern in DOCUMENTS:
        yield from sorted(ROOT.glob(pattern))


def test_files_that_texts_name_are_there() -> None:
    known = {path: named(said(path)) for path in texts()}
    missing = [
        f"{path.relative_to(ROOT)}: `{name}`"
        for path, names in known.items()
        for name in sorted(names - set(ELSEWHERE))
        if not exists(name, path)
    ]
    assert not missing, "name it by its path from the root:\n" + "\n".join(missing)
    everything = set().union(*known.values())
    assert len(everything) > 50, "this test would pass on nothing"
    assert not set(ELSEWHERE) - everything, "no text names these any more"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("see `rounding.py` and convert.py", {"rounding.py"}),
        ("`python tools/a.py FOLDER b.md`", {"tools/a.py", "b.md"}),
        ("`*.py`, `a.pyc`, `convert.cli`, `b.cc`, `c.c.in`", set()),
    ],
)
def test_names_are_found_in_backticks(text: str, names: set[str]) -> None:
    assert named(text) == names


def test_comments_and_docstrings_are_read_and_other_strings_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text('"""`a.py`"""\nx = "`b.py`"  # `c.py`\n\n\ndef f():\n    """`d.py`"""\n')
    assert named(said(path)) == {"a.py", "c.py", "d.py"}


def test_a_name_must_lead_to_one_file() -> None:
    page = ROOT / "convert" / "report" / "build_page.py"
    for name in ("templates/build.html", "report/build_page.py", "convert/report/build_page.py", "xnnpack.py"):
        assert exists(name, page), name
    for name in ("absent.py", "tflite/build_page.py"):
        assert not exists(name, page), name
    assert not exists("xnnpack.py", ROOT / "README.md")
    assert not exists("__main__.py", ROOT / "tools" / "check_torch.py"), "two programs have one"


def test_the_readme_stays_one_page_and_leaves_nothing_open() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert 300 < len(readme.split()) <= 900, "results belong into docs/results.md, commands into docs/workstation.md"
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        assert "TODO" not in path.read_text("utf-8"), path.name
