"""One clock for all demonstrations: the same pose is the same moment of the task.

Path length tells the time only roughly. A hand that came from farther off, overshot, or tried twice
is behind the others, and the mean of a hand that still comes down and one that already pulls does
neither. Dynamic time warping gives all the pace of a typical one. Whose pace it is does not matter,
for the times of the poses go along.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import convolve1d

from kalm_core.se3 import Array

UNITS = np.array([1.0] * 3 + [0.1] * 6 + [2.0])
"""What a row's channels count for: rotation as a point 0.1 m off, a switch of the gripper 0.16 m"""

_STAY = 1e-3  # price of a pose at which one of the two waits for the other [m^2]
_ROUNDS = 3  # the first typical one is a demonstration, then the median of all at its pace
_SMOOTHING = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0  # a pace does not jump from pose to pose
_LEAST = 0.05  # least pace, as a share of the own one: time never stands still


def common_clock(rows: Array, moved: Array) -> Array:
    """Return when each demonstration does what the typical one does at its pose 0, 1, 2, ...

    Args:
        rows: (N, T, 10) of demonstrations in the object's frame.
        moved: (N, T, 10) what the objects' shapes alone account for; it does not tell the time.

    Returns:
        (N, T) indices of poses, fractional, strictly increasing from 0 to T - 1.
    """
    bare = (rows - moved) * UNITS
    flat = bare.reshape(len(bare), -1)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    typical = bare[int(np.median(distance, axis=1).argmin())]
    clock = np.zeros(rows.shape[:2])
    for _ in range(_ROUNDS):
        clock = clock_of(typical, bare)
        typical = np.median(rows_at(bare, clock), axis=0)
    return clock


def clock_of(typical: Array, others: Array) -> Array:
    """Return (N, T) poses of (N, T, C) others that are nearest to each of (T, C) in turn."""
    cost = np.sum((typical[:, None] - others[:, None]) ** 2, axis=-1)
    count, length = cost.shape[:2]
    total = np.full((count, length + 1, length + 1), np.inf)
    total[:, 0, 0] = 0.0
    came = np.zeros((count, length, length), np.int8)
    for i in range(length):
        for j in range(length):
            ways = np.stack(
                [total[:, i, j], total[:, i, j + 1] + _STAY, total[:, i + 1, j] + _STAY]
            )
            came[:, i, j] = ways.argmin(axis=0)
            total[:, i + 1, j + 1] = ways.min(axis=0) + cost[:, i, j]
    own = np.arange(length)
    behind = np.stack([_matched_poses(way) for way in came]) - own
    behind[:, [0, -1]] = 0.0
    behind = convolve1d(behind, _SMOOTHING, axis=1, mode="nearest")
    behind[:, [0, -1]] = 0.0
    clock = np.maximum.accumulate(np.clip(own + behind, 0, length - 1), axis=1)
    return np.asarray(own + (1.0 - _LEAST) * (clock - own))


def rows_at(rows: Array, clock: Array) -> Array:
    """Return (N, T, C) rows at (N, T) fractional poses, between two poses in proportion."""
    before = np.clip(np.floor(clock).astype(int), 0, rows.shape[1] - 2)
    share = (clock - before)[..., None]
    each = np.arange(len(rows))[:, None]
    return np.asarray((1.0 - share) * rows[each, before] + share * rows[each, before + 1])


def _matched_poses(came: Array) -> Array:
    """Follow the way (T, T) back; return (T,) the mean pose of the other at each of the first."""
    i = j = len(came) - 1
    sums, counts = np.zeros(len(came)), np.zeros(len(came))
    while i >= 0 and j >= 0:
        sums[i] += j
        counts[i] += 1
        step = came[i, j]
        i, j = i - (step != 2), j - (step != 1)  # 1: the other waits, 2: the first
    return np.asarray(sums / counts)
