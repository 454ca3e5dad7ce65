"""The mean of the aligned demonstrations, and how it changes with the keypoints' arrangement.

Laid over one another, demonstrations of one object differ by what a hand does differently each
time; their mean is better than any of them. Objects of other shapes differ in how their keypoints
lie, and the motion follows: to first order linearly. With a dozen demonstrations a linear map of
twenty-four numbers has to be held back (ridge regression); by how much, leave-one-out decides, and
if nothing is gained by it, the mean remains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kalm_core.policy.encoding import CHANNELS
from kalm_core.se3 import Array
from kalm_core.trajectory import POSES

FLOOR = np.array([0.005] * 3 + [0.03] * 6 + [0.04])
"""Smallest scale of position [m], 6D rotation and gripper [m]: finer differences are noise."""

_RIDGES = (3e-4, 1e-3, 3e-3, 1e-2)
"""How strongly the map is held back [m^2]: squared deviations that count as nothing."""

_GAIN = 0.9  # the map must lower the error left out to this share, or the mean remains


@dataclass(frozen=True)
class TrajectoryRegression:
    """Rows of a trajectory as a linear function of the keypoints' deviations.

    Attributes:
        mean: (48, 10) rows at the mean deviation, units of the rows.
        center: (K, 3) mean deviation of the demonstrations [m].
        weights: (K * 3, 480) rows per metre of deviation; zero where the mean is all there is.
    """

    mean: Array
    center: Array
    weights: Array

    @staticmethod
    def from_rows(rows: Array, deviations: Array, linear: bool = True) -> TrajectoryRegression:
        """Fit (N, 48, 10) rows of demonstrations to their (N, K, 3) deviations [m].

        Args:
            rows: in the object's frame.
            deviations: of the keypoints from their usual place, NaN where not found.
            linear: False takes the mean alone.
        """
        mean, filled = rows.mean(axis=0), np.nan_to_num(deviations)
        center = filled.mean(axis=0)
        weights = np.zeros((center.size, POSES * CHANNELS))
        if linear and len(rows) > 3:
            x = (filled - center).reshape(len(rows), -1)
            y = (rows - mean).reshape(len(rows), -1)
            ridge = _best_ridge(x, y)
            if ridge is not None:
                weights = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), y)
        return TrajectoryRegression(mean, center, weights)

    def predict(self, deviations: Array) -> Array:
        """Return (B, 48, 10) rows for (B, K, 3) deviations [m]; NaN counts as the mean one."""
        known = np.isfinite(deviations)
        x = np.where(known, deviations - self.center, 0.0).reshape(len(deviations), -1)
        return self.mean + (x @ self.weights).reshape(-1, POSES, CHANNELS)

    def state(self) -> dict[str, Array]:
        """Return everything needed to make it again, as arrays."""
        return {"mean": self.mean, "center": self.center, "weights": self.weights}

    @staticmethod
    def from_state(tensors: Mapping[str, Array]) -> TrajectoryRegression:
        """Make it again from what `state` returned.

        Raises:
            KeyError: an array is missing.
        """
        return TrajectoryRegression(tensors["mean"], tensors["center"], tensors["weights"])


def _best_ridge(x: Array, y: Array) -> float | None:
    """Return the ridge that predicts demonstrations best that it has not seen, None for none.

    Args:
        x: (N, K * 3) deviations, mean 0.
        y: (N, 480) rows, mean 0.
    """
    n = len(x)
    scale = np.tile(FLOOR, POSES)
    of_mean = float(np.mean((y / scale) ** 2)) * (n / (n - 1)) ** 2
    left_out: dict[float | None, float] = {None: of_mean * _GAIN}
    for ridge in _RIDGES:
        # Of a linear smoother the error left out follows from the error fitted (PRESS).
        hat = x @ x.T @ np.linalg.inv(x @ x.T + ridge * np.eye(n)) + 1.0 / n
        error = (y - hat @ y) / (1.0 - np.diag(hat))[:, None]
        left_out[ridge] = float(np.mean((error / scale) ** 2))
    return min(left_out, key=lambda ridge: left_out[ridge])
