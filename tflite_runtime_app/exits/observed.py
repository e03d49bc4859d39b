"""What was seen of images at every exit, and what a policy would make of them: where each leaves, what that costs and saves.

An image is *harmed* when it is wrong at the exit taken and right at full depth, *rescued* when it is the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.policies import Lct, Policy


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """n images: `features` [n, exits, 3], the gates' int8 `scores` [n, exits], the best label `top1` [n, stages].

    `wanted` [n] are the right labels, None where they are not known; `macs` what leaving at each stage costs, the heads of all exits
    passed among it; `full_macs` what full depth costs a network without exits; `labels` how many labels there are.
    """

    features: npt.NDArray[np.float32]
    scores: npt.NDArray[np.int64]
    top1: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.int64] | None
    macs: tuple[int, ...]
    full_macs: int
    labels: int

    def __len__(self) -> int:
        return len(self.top1)

    @property
    def exits(self) -> int:
        """How many exits there are before full depth."""
        return int(self.top1.shape[1]) - 1

    def leaves(self, policy: Policy) -> npt.NDArray[np.int64]:
        """The stage [n] that each image leaves at, decided as the cascade decides."""
        if isinstance(policy, Lct):  # hundreds of thresholds are tried on thousands of images: not one by one
            stops = self.scores >= np.asarray(policy.thresholds)
            return np.where(stops.any(1), stops.argmax(1), self.exits).astype(np.int64)
        left = np.full(len(self), self.exits, np.int64)
        scores = self.scores.tolist() if policy.needs_score else None
        for i, answers in enumerate(self.top1.tolist()):
            for exit in range(self.exits):
                score = None if scores is None else scores[i][exit]
                if policy.decide(exit, self.features[i, exit], score, answers[exit], tuple(answers[:exit])):
                    left[i] = exit
                    break
        return left

    def answers(self, left: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The best label [n] at the stage where each image left."""
        found: npt.NDArray[np.int64] = self.top1[np.arange(len(self)), left]
        return found

    def changed(self, left: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which answers [n] differ from those at full depth: the loss that needs no labels."""
        changed: npt.NDArray[np.bool_] = self.answers(left) != self.top1[:, -1]
        return changed

    def harmed(self, left: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which images [n] are wrong where they left and right at full depth; without labels those whose answers changed."""
        if self.wanted is None:
            return self.changed(left)
        harmed: npt.NDArray[np.bool_] = (self.answers(left) != self.wanted) & (self.top1[:, -1] == self.wanted)
        return harmed

    def rescued(self, left: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which images [n] are right where they left and wrong at full depth; none without labels."""
        if self.wanted is None:
            return np.zeros(len(self), np.bool_)
        rescued: npt.NDArray[np.bool_] = (self.answers(left) == self.wanted) & (self.top1[:, -1] != self.wanted)
        return rescued

    def loss(self, left: npt.NDArray[np.int64]) -> float:
        """The share harmed less the share rescued: what accuracy drops by."""
        return float(self.harmed(left).mean() - self.rescued(left).mean()) if len(self) else 0.0

    def mean_macs(self, left: npt.NDArray[np.int64]) -> float:
        """Multiply-accumulates of the mean image."""
        return float(np.array(self.macs)[left].mean()) if len(self) else float(self.macs[-1])

    def share(self, left: npt.NDArray[np.int64]) -> float:
        """The mean image's multiply-accumulates as a share of full depth's without exits; above 1 where nothing leaves."""
        return self.mean_macs(left) / self.full_macs

    def part(self, start: int, stop: int | None) -> Observed:
        """Images start .. stop - 1."""
        where = slice(start, stop)
        wanted = None if self.wanted is None else self.wanted[where]
        return Observed(
            self.features[where], self.scores[where], self.top1[where], wanted, self.macs, self.full_macs, self.labels
        )


def joined(*parts: Observed) -> Observed:
    """The images of all parts, which share their exits."""
    wanted = None if any(part.wanted is None for part in parts) else np.concatenate([part.wanted for part in parts])
    features, scores, top1 = (np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "scores", "top1"))
    return Observed(features, scores, top1, wanted, parts[0].macs, parts[0].full_macs, parts[0].labels)
