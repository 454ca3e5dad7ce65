"""The mean of the aligned demonstrations, and how it changes with the keypoints' arrangement.

Laid over one another, demonstrations of one object differ by what a hand does differently each
time; their mean is better than any of them. Objects of other shapes differ in how their keypoints
lie, and the motion follows: the hand goes along with the keypoints around it, which needs no
demonstration, and otherwise to first order linearly, each axis by itself: what is wider is gripped
farther out, not higher up. Only the size of the whole speaks for all axes. Ten demonstrations say
little about the numbers of such a map, so it is held back (ridge regression); by how much,
leave-one-out decides, and if nothing is gained by it, the likelier one remains. Rotation and
gripper are those of the mean: relative to the object they hardly change with its shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kalm_core.policy.encoding import CHANNELS
from kalm_core.se3 import Array
from kalm_core.trajectory import POSES

FLOOR = np.array([0.005] * 3 + [0.03] * 6 + [0.04])
"""Smallest scale of position [m], 6D rotation and gripper [m]: finer differences are noise."""

_RIDGES = (3e-4, 1e-3, 3e-3, 1e-2)
"""How strongly the map is held back [m^2]: squared deviations that count as nothing."""

_BETTER = 0.97
"""A bolder map must lower the error left out to this share, or the more held back one remains."""

_REACH = 0.1
"""How much farther from the hand than the nearest a keypoint still takes it along [m]."""

_FEWEST = 4  # demonstrations of which a map can be learned
_UNTOLD = 0.003  # so small a way of the keypoints does not tell whether the hand went along [m]


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
        rows: Array,
        deviations: Array,
        linear: bool = True,
        places: Array | None = None,
        trust: Array | None = None,
    ) -> TrajectoryRegression:
        """Fit (N, 48, 10) rows of demonstrations to their (N, K, 3) deviations [m].

        Args:
            rows: in the object's frame.
            deviations: of the keypoints from their usual place, NaN where not found.
            linear: False takes the mean alone.
            places: (K, 3) usual places of the keypoints in the object's frame [m], NaN where
                unknown; with None the hand does not go along with those around it.
            trust: (N,) share of each demonstration, sums to 1; None is the same for all.
        """
        trust = np.full(len(rows), 1.0 / len(rows)) if trust is None else trust
        filled = np.nan_to_num(deviations)
        mean, center = np.tensordot(trust, rows, 1), np.tensordot(trust, filled, 1)
        weights = np.zeros((center.size, POSES * CHANNELS))
        if linear:
            x, y, grows = filled - center, rows - mean, np.zeros_like(center)
            if places is not None:
                weights, grows = following(mean, places), _growing(places)
                weights = weights * _gain(x, y, weights, trust)
            weights = _best_map(x, y, weights, grows, trust)
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


def following(mean: Array, places: Array) -> Array:
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


def _growing(places: Array) -> Array:
    """Return (K, 3) how keypoints deviate when the whole object grows, of length 1 or 0."""
    grows = np.nan_to_num(places - np.nanmean(places, axis=0))
    return np.asarray(grows / max(float(np.linalg.norm(grows)), 1e-9))


def _gain(x: Array, y: Array, along: Array, trust: Array) -> float:
    """Return the share of the keypoints' way that the hand went along with them, 0 to 1.

    Where keypoints lie elsewhere because the object has another shape, it is all of it; where they
    were only found inexactly, nothing. Few demonstrations whose keypoints hardly moved cannot tell,
    and it is taken for the former.

    Args:
        x: (N, K, 3) deviations, mean 0.
        y: (N, 48, 10) rows, mean 0.
        along: (K * 3, 480) the map of a hand that goes along.
        trust: (N,) share of each demonstration.
    """
    way = (x.reshape(len(x), -1) @ along).reshape(y.shape)[..., :3]
    went = np.mean(np.sum(way * y[..., :3], axis=-1), axis=1) @ trust
    could = np.mean(np.sum(way**2, axis=-1), axis=1) @ trust
    return float(np.clip((went + _UNTOLD**2) / (could + _UNTOLD**2), 0.0, 1.0))


def _best_map(x: Array, y: Array, held_back: Array, grows: Array, trust: Array) -> Array:
    """Return the map that predicts demonstrations best that it has not seen.

    Args:
        x: (N, K, 3) deviations, mean 0.
        y: (N, 48, 10) rows, mean 0.
        held_back: (K * 3, 480) what a fit is held back to.
        grows: (K, 3) direction of growth.
        trust: (N,) share of each demonstration.
    """
    chosen, lowest = held_back, np.inf
    if len(x) < _FEWEST:
        return chosen
    for weights, error in _fits(x, y, held_back, grows, trust):
        if error < _BETTER * lowest:
            chosen, lowest = weights, error
    return chosen


def _fits(
    x: Array, y: Array, held_back: Array, grows: Array, trust: Array
) -> Iterator[tuple[Array, float]]:
    """Yield maps, the most held back first, with the error that each leaves out.

    Of a linear smoother the error left out follows from the error fitted (PRESS).
    """
    n = len(x)
    root_weight = np.sqrt(n * trust)[:, None]
    share = np.sqrt(np.outer(trust, trust))
    rest = y - (x.reshape(n, -1) @ held_back).reshape(y.shape)
    size = np.tensordot(x, grows, 2)
    left_out = root_weight[..., None] * rest / (1.0 - trust)[:, None, None]
    yield held_back, float(np.mean((left_out / FLOOR) ** 2))
    for ridge in sorted(_RIDGES, reverse=True):
        weights = held_back.reshape(-1, 3, POSES, CHANNELS).copy()
        error = left_out.copy()
        for axis in range(3):
            design = root_weight * np.column_stack([x[:, :, axis], size])
            target = root_weight * rest[:, :, axis]
            gram = design @ design.T
            inverse = np.linalg.inv(gram + ridge * np.eye(n))
            hat = gram @ inverse + share
            coefficients = design.T @ inverse @ target
            weights[:, axis, :, axis] += coefficients[:-1]
            weights[..., axis] += grows[..., None] * coefficients[-1]
            error[:, :, axis] = (target - hat @ target) / (1.0 - np.diag(hat))[:, None]
        yield weights.reshape(held_back.shape), float(np.mean((error / FLOOR) ** 2))
