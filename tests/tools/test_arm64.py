"""What the emulated runs are held to: equality to the bit, and near ties alone where a decision may differ."""

import dataclasses

import pytest

from tools.arm64 import claims, table
from tools.arm64.probe import Seen, parts
from tools.arm64.runs import Run


def seen(name="cat", *, outputs="a", exit=1, top1=3, scores=(-20, 10), lead=0.2):
    return Seen(name, "tensor", outputs, exit, top1, scores, lead, 0.5)


def run(*pictures, machine="cortex-a72", asked=1, threads=1):
    versions = {"python": "3.11.2", "numpy": "1.24.2", "pillow": "9.4.0", "ai-edge-litert": "2.3.0"}
    return Run(machine, "xnnpack", asked, threads, versions, 1.0, pictures)


def test_one_other_byte_anywhere_breaks_equality():
    same, other = seen("cat"), seen("dog")
    assert claims.equal("", [run(same, other), run(same, other)], "outputs").holds
    found = claims.equal("", [run(same, other), run(same, dataclasses.replace(other, outputs="b"))], "outputs")
    assert not found.holds
    assert found.found == "1 of 2 comparisons equal"


def test_runs_that_share_no_picture_show_nothing():
    assert not claims.equal("", [run(seen("cat")), run(seen("dog"))], "outputs").holds


def test_what_is_not_claimed_is_told_and_holds():
    shown = claims.shown("on two threads", [run(seen()), run(seen(outputs="b"))], "outputs")
    assert shown.holds
    assert (shown.sentence, shown.found) == ("(not claimed) on two threads", "0 of 1 comparisons equal")


NEAR = (claims.NEAR_SCORE, claims.NEAR_LEAD)


@pytest.mark.parametrize(
    ("there", "holds"),
    [
        (seen(), True),
        (seen(exit=0, scores=(-20 + NEAR[0],)), True),
        (seen(exit=0, scores=(-19 + NEAR[0],)), False),
        (seen(top1=4, lead=NEAR[1]), False),  # the host's lead of 0.2 is none that rounding could turn
    ],
)
def test_another_exit_or_label_is_a_near_tie_or_a_fault(there, holds):
    many = [seen(f"image {n}") for n in range(20)]
    assert claims.decisions(run(*many, seen()), run(*many, there)).holds is holds


def test_near_ties_are_few_or_the_claim_fails():
    here = [seen(f"image {n}", lead=NEAR[1] / 2) for n in range(100)]
    there = [dataclasses.replace(one, top1=4) for one in here]
    allowed = int(claims.SHARE * 100)
    for different, holds in ((allowed, True), (allowed + 1, False)):
        assert claims.decisions(run(*here), run(*there[:different], *here[different:])).holds is holds


def test_dot_products_are_counted_on_the_processor_that_has_them_alone():
    assert claims.dotted({"cortex-a53": 0, "cortex-a76": 120}).holds
    assert not claims.dotted({"cortex-a53": 4, "cortex-a76": 120}).holds
    assert not claims.dotted({"cortex-a53": 0, "cortex-a76": 0}).holds
    assert not claims.dotted({"cortex-a53": 0}).holds


def test_the_table_says_where_fewer_threads_were_taken_than_asked_for():
    row = table.of_runs([run(seen(), asked=4)]).splitlines()[-1]
    assert "| 1, asked for 4 |" in row


def test_thirty_parts_of_a_picture_lie_inside_it():
    found = list(parts())
    assert len(found) == 30
    assert found[0] == (1.0, 0.0, 0.0)
    assert all(0 <= left <= left + share <= 1 + 1e-9 and 0 <= top + share <= 1 + 1e-9 for share, left, top in found)
