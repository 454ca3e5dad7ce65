"""Normal values of a skill's trajectories; they travel with the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kalm_core.se3 import Array

_FLOOR = np.array([0.005] * 3 + [0.03] * 6 + [0.04])
"""Smallest scale of position [m], 6D rotation and gripper [m]: finer differences are noise."""


@dataclass(frozen=True)
class Normalizer:
    """Maps (..., 48, 10) rows to deviations from the mean trajectory, about 1 in size.

    Each pose has its own mean and scale: where all demonstrations agree, at the grasp, a millimetre
    counts for more than where they scatter.

    Attributes:
        mean: (48, 10) float64, units of the rows.
        scale: (48, 10) float64, units of the rows, positive.
    """

    mean: Array
    scale: Array

    @staticmethod
    def from_rows(rows: Array) -> Normalizer:
        """Measure mean and scale of (N, 48, 10) rows of the demonstrations."""
        return Normalizer(rows.mean(axis=0), np.sqrt(rows.var(axis=0) + _FLOOR**2))

    def normalize(self, rows: Array) -> Array:
        """Return deviations from the mean in units of the scale."""
        return (rows - self.mean) / self.scale

    def unnormalize(self, values: Array) -> Array:
        """Return rows; the inverse of `normalize`."""
        return values * self.scale + self.mean
