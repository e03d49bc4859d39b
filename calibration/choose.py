"""Which policy of a family a build takes: what it aims for, and the boldest or the best member that keeps to it on held-apart images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tflite_runtime_app.exits.observed import Observed, joined
from tflite_runtime_app.exits.risk import ALPHA, DELTA, Bound
from tflite_runtime_app.exits.thresholds import bounded
from tflite_runtime_app.policies import Lct, Never, Policy

LOSS = 0.003  # of accuracy, as a share


@dataclass(frozen=True, slots=True)
class Aim:
    """What a build aims for: the share of images harmed at most `alpha` with confidence 1 - `delta`, the loss of accuracy at most `loss`.

    With a `budget`, a share of full depth's MACs, as little is harmed as that allows.
    """

    alpha: float = ALPHA
    delta: float = DELTA
    loss: float = LOSS
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The policy taken, its figures on the images that it was chosen on, and the bound, where one was asked for.

    `loss` is the drop of accuracy (of agreement with full depth where labels are not known), `share` that of full depth's MACs.
    """

    policy: Policy
    loss: float
    share: float
    harmed: float
    rescued: float
    images: int
    bound: Bound | None


def choose(members: Sequence[Policy], seen: Observed, aim: Aim, bound: bool = False, learned: Observed | None = None) -> Choice:
    """The member that saves most at a loss of `aim.loss` at most, or of those within the budget the one that loses least.

    The loss is taken over `learned` as well, the images that the gates were trained on: a gate's few numbers hardly overfit a thousand
    images, and on twice as many the loss, a small difference of two shares, is known that much better. The bound rests on `seen` alone.
    With `bound`, only members that Learn then Test lets pass come into question; choosing among them keeps the bound, since all of them
    have passed at once. Where none does, no image leaves early.
    """
    found = bounded(seen, [member for member in members if isinstance(member, Lct)], aim.alpha, aim.delta) if bound else None
    allowed = members if found is None else members[: found.kept + 1]
    judged = seen if learned is None else joined(learned, seen)
    figures = [_figures(member, judged, found) for member in (Never(), *allowed)]
    if aim.budget is None:
        return min((f for f in figures if f.loss <= aim.loss), key=lambda f: f.share, default=figures[0])
    within = [f for f in figures if f.share <= aim.budget]
    return min(within, key=lambda f: (f.loss, f.share)) if within else min(figures, key=lambda f: f.share)


def _figures(policy: Policy, seen: Observed, bound: Bound | None) -> Choice:
    left = seen.leaves(policy)
    harmed, rescued = seen.harmed(left), seen.rescued(left)
    share = seen.share(left)
    rates = (float(harmed.mean()), float(rescued.mean())) if len(seen) else (0.0, 0.0)
    return Choice(policy, rates[0] - rates[1], share, *rates, len(seen), bound)
