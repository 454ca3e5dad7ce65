"""Predictions are as smooth as the demonstrations, whatever a network says.

An arm cannot follow a path that jumps from pose to pose, and a network that saw three
demonstrations for a few seconds draws one. Two things keep it from that. What it adds to the
expected trajectory is a sum of slow waves over the 48 poses, nothing faster. And where the sum
still moves or bends clearly more from pose to pose than any demonstration did near there, it is
drawn towards the mean of the demonstrations until it does not. The mean keeps the limits by itself:
a mean of vectors is never longer than the longest of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct
from scipy.ndimage import maximum_filter1d

from kalm_core.policy.alignment import has_say
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory

_MOTION = 9  # the first channels: position and rotation; the gripper's command may jump
_WAVES = 8  # half waves over the trajectory; the shortest is seven poses long
_NEARBY = 3  # poses to either side at which a demonstration may have bent as much
_FLOORS = ((0.002, 0.01), (0.001, 0.006))  # first and second differences, position [m] and 6D
_MORE = 1.25  # how much faster and more bent than any demonstration a prediction may be
_LEFT = 0.9  # the share of that for what is expected; the rest is for what a network adds
_HALVINGS = 10  # a share found by halving is exact to a thousandth
_LEVER = 0.1  # how much path a rotation counts for: that of a point 0.1 m off [m/rad]


def slow_part(rows: Array) -> Array:
    """Return (B, 48, 10) rows with only the slow waves of their position and rotation."""
    waves = dct(rows[..., :_MOTION], axis=1, norm="ortho")
    waves[:, _WAVES:] = 0.0
    smooth = idct(waves, axis=1, norm="ortho")
    return np.concatenate([smooth, rows[..., _MOTION:]], axis=2)


@dataclass(frozen=True)
class Smoothness:
    """How fast and how bent a trajectory may be at each pose.

    Attributes:
        mean: (48, 10) mean rows of the demonstrations, which keep the limits.
        limits: (2, 47, 2) largest first and second differences of position [m] and 6D rotation.
    """

    mean: Array
    limits: Array

    @staticmethod
    def from_rows(rows: Array, trust: Array | None = None) -> Smoothness:
        """Take the limits from (N, 48, 10) rows of the demonstrations.

        Args:
            rows: in the object's frame.
            trust: (N,) share of each, sums to 1; strays set no limit. None is the same for all.
        """
        trust = np.full(len(rows), 1.0 / len(rows)) if trust is None else trust
        largest = _differences(rows[has_say(trust)]).max(axis=0)
        wide = maximum_filter1d(largest, 2 * _NEARBY + 1, axis=1, mode="nearest")
        limits = _MORE * np.maximum(wide, np.array(_FLOORS)[:, None])
        return Smoothness(np.tensordot(trust, rows, 1), limits)

    def hold(self, expected: Array, rows: Array | None = None) -> Array:
        """Draw predictions inwards until they keep the limits.

        Args:
            expected: (B, 48, 10) rows without what a network added; drawn towards the mean.
            rows: (B, 48, 10) with it, drawn towards the former; None is the same.

        Returns:
            (B, 48, 10) rows; those well within the limits come back unchanged.
        """
        mean = np.broadcast_to(self.mean, expected.shape)
        base = self._drawn(mean, expected, _LEFT)
        return base if rows is None else self._drawn(base, base + (rows - expected), 1.0)

    def _drawn(self, base: Array, rows: Array, share_of_limits: float) -> Array:
        """Return the rows nearest to `rows` on the way from `base`, which keeps the limits."""
        keeps = self._keeps(rows, share_of_limits)
        if keeps.all():
            return rows
        low, high = np.where(keeps, 1.0, 0.0), np.ones(len(rows))
        for _ in range(_HALVINGS):
            share = (low + high) / 2
            keeps = self._keeps(_between(base, rows, share), share_of_limits)
            low, high = np.where(keeps, share, low), np.where(keeps, high, share)
        return np.where((low == 1.0)[:, None, None], rows, _between(base, rows, low))

    def _keeps(self, rows: Array, share_of_limits: float) -> NDArray[np.bool_]:
        within = _differences(rows) <= (share_of_limits + 1e-9) * self.limits
        return np.asarray(within.all(axis=(1, 2, 3)))

    def state(self) -> dict[str, Array]:
        """Return everything needed to make it again, as arrays."""
        return {"smooth.mean": self.mean, "smooth.limits": self.limits}

    @staticmethod
    def from_state(tensors: Mapping[str, Array]) -> Smoothness:
        """Make it again from what `state` returned.

        Raises:
            KeyError: an array is missing.
        """
        return Smoothness(tensors["smooth.mean"], tensors["smooth.limits"])


def roughness(trajectory: EndEffectorTrajectory) -> float:
    """Return how much a trajectory bends from pose to pose, rms; a rotation counts as path [m]."""
    poses = trajectory.T_base_ee
    bend = np.linalg.norm(np.diff(poses[:, :3, 3], n=2, axis=0), axis=1)
    turn = np.linalg.norm(np.diff(poses[:, :3, :2], n=2, axis=0), axis=(1, 2))
    return float(np.sqrt(np.mean((bend + _LEVER * turn) ** 2)))


def _differences(rows: Array) -> Array:
    """Return (B, 2, 47, 2) lengths of the first and second differences, position and rotation."""
    out = np.zeros((len(rows), 2, rows.shape[1] - 1, 2))
    for order in (1, 2):
        step = np.diff(rows[..., :_MOTION], n=order, axis=1)
        out[:, order - 1, : step.shape[1], 0] = np.linalg.norm(step[..., :3], axis=-1)
        out[:, order - 1, : step.shape[1], 1] = np.linalg.norm(step[..., 3:], axis=-1)
    return out


def _between(base: Array, rows: Array, share: Array) -> Array:
    return base + share[:, None, None] * (rows - base)
