"""Which measurement the headline shows, and what follows from it.

A build without images of its own is measured on the handful of shipped photographs. They show that the file works and no more, so
the figures recorded when the calibration was made are put first where there are any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FEW = 100


@dataclass(frozen=True, slots=True)
class Figures:
    """A `convert.measure.parity.Parity` as plain data, where it was measured, and whether that was an earlier run."""

    values: dict[str, Any]
    where: str
    recorded: bool

    @property
    def images(self) -> int:
        """How many images it rests on."""
        return int(self.values["images"])

    @property
    def few(self) -> bool:
        """Too few images for the figures to mean more than that the file works."""
        return self.images < FEW

    @property
    def saving(self) -> float:
        """Share of the full depth's multiply-accumulates that exits save on average; negative when heads cost more than exits save."""
        return 1 - float(self.values["mean_macs"]) / float(self.values["full_macs"])


def measured_here(data: dict[str, Any]) -> Figures | None:
    """The figures of this very build."""
    values = data["parity"]
    if not values:
        return None
    photographs = data["calibration"]["from"] != "images"
    return Figures(values, f"{values['images']}{' images,' if photographs else ''} {data['measured_on']}", False)


def recorded(data: dict[str, Any]) -> Figures | None:
    """The figures that came with the calibration."""
    values = data["recorded"]
    return Figures(values, f"{values['images']} held-apart images, recorded with the calibration", True) if values else None


def headline(data: dict[str, Any]) -> Figures | None:
    """The figures to show first: the recorded ones where there are any, else this build's."""
    return recorded(data) or measured_here(data)


def full_macs(data: dict[str, Any]) -> int:
    """Multiply-accumulates of the full depth: every stage, and of the exit heads the last one's only."""
    stages = data["stages"]
    return sum(int(stage["macs"]) for stage in stages) - sum(int(stage["head_macs"]) for stage in stages[:-1])
