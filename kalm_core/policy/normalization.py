"""Trajectories as the network sees them; what is needed for it travels with the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kalm_core.policy.regression import FLOOR, TrajectoryRegression
from kalm_core.se3 import Array


@dataclass(frozen=True)
class Normalizer:
    """Maps (..., 48, 10) rows to deviations from what the regression expects, about 1 in size.

    Each pose has its own mean and scale: where all demonstrations agree, at the grasp, a millimetre
    counts for more than where they scatter.

    Attributes:
        regression: expects rows, given the keypoints.
        scale: (48, 10) float64, units of the rows, positive.
    """

    regression: TrajectoryRegression
    scale: Array

    @staticmethod
    def from_rows(
        rows: Array,
        deviations: Array,
        places: Array | None = None,
        trust: Array | None = None,
    ) -> Normalizer:
        """Fit (N, 48, 10) rows of the demonstrations, given (N, K, 3) deviations [m].

        See `TrajectoryRegression.from_rows` for `places` and `trust`.
        """
        regression = TrajectoryRegression.from_rows(rows, deviations, places=places, trust=trust)
        left = rows - regression.predict(deviations)
        spread = np.average(left**2, axis=0, weights=trust)
        return Normalizer(regression, np.sqrt(spread + FLOOR**2))

    def normalize(self, rows: Array, deviations: Array) -> Array:
        """Return deviations of (B, 48, 10) rows from what is expected, in units of the scale."""
        return (rows - self.regression.predict(deviations)) / self.scale
