"""What an image may show besides the labels: names of other things. An image that fits one of them better is none of these.

A name is left out where it says what a label says: it reads the same, or its vector lies near a label's. Near is a cosine of `NEAR` once
the mean of all names is taken out, which all vectors of a text tower share: "golden retriever" stays out beside "dog", "wolf" does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.bundle.labels import LabelBank, unit

NEAR = 0.6
NO_MARGIN = 2.0  # cosines differ by no more: with this margin nothing is turned away
ROWS = 256  # names compared at a time, so that a board has room for ten thousand labels


@dataclass(frozen=True, slots=True)
class Likeness:
    """The background name that an image fits best, and its cosine with it."""

    name: str
    cosine: float


def beside(labels: LabelBank, background: LabelBank | None) -> LabelBank | None:
    """The background without the names that say what a label says; None where there is none, or nothing is left of it."""
    if background is None:
        return None
    centre = background.vectors.mean(0)
    own, known = unit(labels.vectors - centre).T, {name.casefold() for name in labels.names}
    nearest = np.concatenate(
        [(unit(part - centre) @ own).max(1) for part in np.split(background.vectors, range(ROWS, len(background.names), ROWS))]
    )
    kept = [k for k, name in enumerate(background.names) if nearest[k] < NEAR and name.casefold() not in known]
    if not kept:
        return None
    return LabelBank(
        np.ascontiguousarray(background.vectors[kept]),
        tuple(background.names[k] for k in kept),
        background.templates,
        background.space_id,
    )


def likeness(embedding: npt.NDArray[np.float32], background: LabelBank) -> Likeness:
    """What `embedding` (float [E], of any norm) fits best of the background; one of zeros has cosine 0 with all names."""
    cosine = background.vectors @ unit(embedding.astype(np.float32))
    best = int(np.argmax(cosine))
    return Likeness(background.names[best], float(cosine[best]))
