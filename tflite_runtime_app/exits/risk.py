"""A bound on what leaving early costs: Learn then Test (Angelopoulos et al., arXiv 2110.01052, sections 2 and 3).

A sequence of policies from the safest to the boldest is walked on images that nothing was fitted to. For each, H: risk > alpha is tested;
with k losses of 0 or 1 among n images its exact p-value is P(Bin(n, alpha) <= k). The walk stops at the first H that is not rejected at
level delta and the policy before it is kept. Then, with probability 1 - delta over the draw of the images, its risk is at most alpha: the
first true H of the sequence is rejected with probability delta at most, and nothing after it is looked at (fixed-sequence testing). No
monotony is asked for, which matters: leaving early also rescues, so a risk may fall as a policy gets bolder.

It holds for images that are exchangeable with those seen. The frames of one camera are not: take them far apart in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

ALPHA, DELTA = 0.02, 0.1


@dataclass(frozen=True, slots=True)
class Bound:
    """What a walk found: the place in the sequence of the policy kept (-1: none passed), and the figures of its test.

    `losses` are those of the policy kept among `images`; `tested` is how many policies were tested, the failing one included.
    """

    kept: int
    alpha: float
    delta: float
    images: int
    losses: int
    tested: int

    @property
    def risk(self) -> float:
        """The share of losses measured for the policy kept."""
        return self.losses / self.images if self.images else 0.0


def learn_then_test(losses: Iterable[int], images: int, alpha: float = ALPHA, delta: float = DELTA) -> Bound:
    """The last policy before the first failure; `losses` are the losses of each policy among `images`, safest first.

    They may come from a generator: what lies behind the first failure is not asked for. Raises ValueError for a level outside 0..1.
    """
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise ValueError(f"alpha and delta lie between 0 and 1, found {alpha} and {delta}")
    kept, kept_losses, tested = -1, 0, 0
    for place, count in enumerate(losses):
        tested += 1
        if images == 0 or binomial_p_value(count, images, alpha) > delta:
            break
        kept, kept_losses = place, count
    return Bound(kept, alpha, delta, images, kept_losses, tested)


def binomial_p_value(losses: int, images: int, alpha: float) -> float:
    """P(Bin(images, alpha) <= losses): how likely so few losses are if the risk were alpha, or more."""
    if losses >= images:
        return 1.0
    if losses < 0:
        return 0.0
    return min(1.0, math.fsum(math.exp(_log_binomial(i, images, alpha)) for i in range(losses + 1)))


def least_images(alpha: float = ALPHA, delta: float = DELTA) -> int:
    """How many images without a single loss show that the risk is at most alpha: (1 - alpha)^n <= delta."""
    return math.ceil(math.log(delta) / math.log(1 - alpha))


def _log_binomial(successes: int, trials: int, probability: float) -> float:
    """log P(Bin(trials, probability) = successes)."""
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    return ways + successes * math.log(probability) + (trials - successes) * math.log1p(-probability)
