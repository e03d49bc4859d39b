"""What the workshop prints: names are names, whatever a stranger has called them."""

import os

import pytest
from rich.table import Table

from convert.support.console import Terminal, say
from convert.support.progress import OnTerminal

EVIL = "[bold]x[/nope]:cat:\x1b[31m\u202e\u2028\x07"
SHOWN = r"[bold]x[/nope]:cat:\x1b[31m\u202e\u2028\x07"


def test_a_table_shows_names_as_they_are_and_obeys_none(capsys):
    table = Table(title=EVIL, caption=EVIL)
    table.add_column(EVIL, footer=EVIL)
    table.add_row(EVIL)
    Terminal(width=200).print(table)
    Terminal(width=200).print(EVIL)
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 5
    assert all(line.isprintable() for line in out.split("\n"))


def test_a_path_is_one_line_that_can_be_printed(capfd):
    say(os.fsdecode(b"caf\xe9\nx"), "y")
    assert capfd.readouterr().out == "caf\\udce9\\nx\ny\n"


@pytest.mark.parametrize("name", [EVIL, os.fsdecode(b"caf\xe9\nx")])
def test_progress_is_a_line_a_step(capfd, name):
    progress = OnTerminal()
    progress.step(name)
    assert list(progress.over([1], 1, name)) == [1]
    lines = capfd.readouterr().err.split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    if name == EVIL:
        assert SHOWN in lines[0]
        assert f"{SHOWN} (1)" in lines[1]
