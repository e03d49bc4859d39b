"""Wilson's score interval: how far a share seen on n images can be from the true one."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Both ends of the interval around `share` = k/n, without continuity correction (Wilson 1927).

    ( p + z²/2n ± z √( p(1-p)/n + z²/4n² ) ) / (1 + z²/n), with z the normal quantile of the two-sided level, 1.96 for 95 %.
    """
    if n < 1:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
