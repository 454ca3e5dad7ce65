"""Which of several sampled trajectories to prefer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kalm_core.se3 import Array, rotation_angle
from kalm_core.trajectory import EndEffectorTrajectory

_TURN = 0.2  # [m/rad], a turn moves the hand about this far


def disagreement(trajectories: Sequence[EndEffectorTrajectory]) -> Array:
    """Return (N,) how far [m] each trajectory is from the others: the median of its distances.

    The distance of two is the mean over their poses (resampled to 12) of position and rotation. A
    sample that goes its own way is a bad one more often than one of many that agree.
    """
    if len(trajectories) == 1:
        return np.zeros(1)
    poses = np.stack([t.resampled(12).T_base_ee for t in trajectories])
    n = len(poses)
    distance = np.zeros((n, n))
    for i in range(n - 1):
        others = poses[i + 1 :]
        same = np.broadcast_to(poses[i], others.shape)
        apart = np.linalg.norm(others[..., :3, 3] - same[..., :3, 3], axis=-1)
        apart = apart + _TURN * rotation_angle(others, same)
        distance[i, i + 1 :] = distance[i + 1 :, i] = apart.mean(axis=-1)
    others = distance[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    return np.asarray(np.median(others, axis=1))


def best(margins: Sequence[float], apart: Sequence[float]) -> int:
    """Return the index of the best of several certified trajectories.

    Each is given its place by certificate margin and its place by agreement; the smallest sum of
    both wins, and of equals the one that agrees more.
    """
    by_margin = np.argsort(np.argsort(-np.asarray(margins), kind="stable"), kind="stable")
    by_agreement = np.argsort(np.argsort(np.asarray(apart), kind="stable"), kind="stable")
    total = by_margin + by_agreement
    return int(np.lexsort((by_agreement, total))[0])
