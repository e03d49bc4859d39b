"""What is claimed of the runs, and whether they bear it out.

Integer arithmetic leaves no room, so most claims are of equality to the bit. One is not: XNNPACK takes no int8 softmax, and LiteRT's own
for Arm rounds otherwise than that for x86. Decisions may then differ, on near ties alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.arm64.probe import Seen
from tools.arm64.runs import HOST, Run

# What was measured on 207 parts of photographs, and a little more: 14 codes, 0.0196, and 18 images.
NEAR_SCORE = 16  # codes of the gate's int8 score: so far apart may the two scores be that lie on both sides of a threshold
NEAR_LEAD = 0.025  # of cosine: so close is the second label where the best one may change
SHARE = 0.1  # of the images may be near ties that are decided otherwise; of few images, two


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, what was found, and whether that is what it says."""

    sentence: str
    found: str
    holds: bool


def equal(sentence: str, runs: Sequence[Run], part: str) -> Claim:
    """Every run has the same digest `part` ("tensor" or "outputs") for each image that it shares with the first run."""
    first = {one.name: getattr(one, part) for one in runs[0].seen}
    pairs = [(first[one.name], getattr(one, part)) for run in runs[1:] for one in run.seen if one.name in first]
    different = sum(wanted != found for wanted, found in pairs)
    found = f"{len(pairs) - different} of {len(pairs)} comparisons equal" if pairs else "nothing to compare"
    return Claim(sentence, found, bool(pairs) and not different)


def shown(sentence: str, runs: Sequence[Run], part: str) -> Claim:
    """The same comparison where nothing is claimed: what is found is told, and holds whatever it is."""
    return Claim(f"(not claimed) {sentence}", equal(sentence, runs, part).found, True)


def decisions(here: Run, there: Run) -> Claim:
    """Both take the same exits and give the same labels, but for near ties in at most SHARE of the images."""
    pairs = list(zip(here.seen, there.seen, strict=True))
    exits = [pair for pair in pairs if pair[0].exit != pair[1].exit]
    labels = [pair for pair in pairs if pair[0].exit == pair[1].exit and pair[0].top1 != pair[1].top1]
    odd = [pair for pair in exits if apart(*pair) > NEAR_SCORE] + [pair for pair in labels if lead(*pair) > NEAR_LEAD]
    found = f"{len(pairs) - len(exits) - len(labels)} of {len(pairs)}; {len(exits)} left elsewhere"
    found += f" (gates' scores at most {max(apart(*pair) for pair in exits)} codes apart)" if exits else ""
    found += f", {len(labels)} got another label"
    found += f" (the two cosines at most {max(lead(*pair) for pair in labels):.4f} apart)" if labels else ""
    found += f"; no near tie: {', '.join(pair[0].name for pair in odd)}" if odd else ""
    allowed = max(2, int(SHARE * len(pairs)))
    sentence = f"{there.machine} takes {here.machine}'s exits and labels under XNNPACK, but for at most {allowed} near ties"
    return Claim(sentence, found, bool(pairs) and not odd and len(exits) + len(labels) <= allowed)


def apart(one: Seen, other: Seen) -> int:
    """How far the gates' scores are apart at the exit where one left and the other did not, in codes; neither is farther than
    that from the threshold between them."""
    exit = min(one.exit, other.exit)
    return abs(one.scores[exit] - other.scores[exit])


def lead(one: Seen, other: Seen) -> float:
    """The greater lead of a best label over the second, as a cosine."""
    return max(one.lead, other.lead)


def dotted(counts: dict[str, int]) -> Claim:
    """`sdot` is used on the processor that has it, and on no other."""
    found = ", ".join(f"{cpu} {count}" for cpu, count in counts.items())
    holds = all((count > 0) is (cpu == "cortex-a76") for cpu, count in counts.items()) and "cortex-a76" in counts
    return Claim("cortex-a76 computes by `sdot`, the others do without", found, holds)


def answered(wanted: tuple[str, int], found: dict[str, tuple[str, int]]) -> Claim:
    """`classify` itself, its trial of the model in a child process included, answers what it does on the host."""
    told = "; ".join(f"{where}: {label}, exit {exit}" for where, (label, exit) in found.items())
    return Claim(f"`classify` answers as on {HOST}: {wanted[0]}, exit {wanted[1]}", told, set(found.values()) == {wanted})
