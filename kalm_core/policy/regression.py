"""The mean of the aligned demonstrations, and how it changes with the keypoints' arrangement.

Laid over one another, demonstrations of one object differ by what a hand does differently each
time; their mean is better than any of them. Objects of other shapes differ in how their keypoints
lie, and the motion follows: to first order linearly. With a dozen demonstrations a linear map of
twenty-four numbers has to be held back (ridge regression). What it is held back to need not be the
mean: that the hand goes along with the keypoints around it needs no demonstration. By how much and
to what, leave-one-out decides, and if nothing is gained by it, the mean remains.
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

_GAIN = 0.9  # a bolder map must lower the error left out to this share, or the plainer one remains

_REACH = 0.1
"""How much farther from the hand than the nearest a keypoint still takes it along [m]."""


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
    def from_rows(
        rows: Array, deviations: Array, linear: bool = True, places: Array | None = None
    ) -> TrajectoryRegression:
        """Fit (N, 48, 10) rows of demonstrations to their (N, K, 3) deviations [m].

        Args:
            rows: in the object's frame.
            deviations: of the keypoints from their usual place, NaN where not found.
            linear: False takes the mean alone.
            places: (K, 3) usual places of the keypoints in the object's frame [m], NaN where
                unknown; with None the hand does not go along with those around it.
        """
        mean, filled = rows.mean(axis=0), np.nan_to_num(deviations)
        center = filled.mean(axis=0)
        weights = np.zeros((center.size, POSES * CHANNELS))
        if linear and len(rows) > 3:
            x = (filled - center).reshape(len(rows), -1)
            y = (rows - mean).reshape(len(rows), -1)
            maps = [weights]
            if places is not None:
                maps.append(_following(mean, places))
            weights = _best_map(x, y, maps)
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


def _following(mean: Array, places: Array) -> Array:
    """Return the (K * 3, 480) map by which each pose goes along with the keypoints around it.

    Args:
        mean: (48, 10) rows.
        places: (K, 3) usual places of the keypoints [m].
    """
    squared = np.sum((mean[:, None, :3] - places) ** 2, axis=-1)
    squared = np.where(np.isfinite(squared), squared, np.inf)
    share = np.exp(-(squared - squared.min(axis=1, keepdims=True)) / (2.0 * _REACH**2))
    share /= share.sum(axis=1, keepdims=True)
    weights = np.zeros((len(places), 3, POSES, CHANNELS))
    for axis in range(3):
        weights[:, axis, :, axis] = share.T
    return weights.reshape(len(places) * 3, POSES * CHANNELS)


def _best_map(x: Array, y: Array, maps: list[Array]) -> Array:
    """Return the map that predicts demonstrations best that it has not seen.

    Args:
        x: (N, K * 3) deviations, mean 0.
        y: (N, 480) rows, mean 0.
        maps: (K * 3, 480) what a fit is held back to, the plainest first.
    """
    n, scale = len(x), np.tile(FLOOR, POSES)
    gram = x @ x.T
    left = [y - x @ weights for weights in maps]
    # Of a linear smoother the error left out follows from the error fitted (PRESS).
    errors = [float(np.mean((r / scale) ** 2)) * (n / (n - 1)) ** 2 for r in left]
    best = int(np.argmin(errors))
    chosen, lowest = maps[best], _GAIN * errors[best]
    for weights, rest in zip(maps, left, strict=True):
        for ridge in _RIDGES:
            inverse = np.linalg.inv(gram + ridge * np.eye(n))
            hat = gram @ inverse + 1.0 / n
            error = (rest - hat @ rest) / (1.0 - np.diag(hat))[:, None]
            left_out = float(np.mean((error / scale) ** 2))
            if left_out < lowest:
                chosen, lowest = weights + x.T @ inverse @ rest, left_out
    return chosen
