"""The gripper's own symmetry: turned by half about its z it grasps the same.

Demonstrations of both ways are two clusters, 180 degrees apart, and a mean between them grasps
nothing. They are turned to one way for learning; samples of the other way can be had by turning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kalm_core.policy.base import Example
from kalm_core.se3 import Array, rotation_angle
from kalm_core.trajectory import EndEffectorTrajectory

_HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


def turned(trajectory: EndEffectorTrajectory) -> EndEffectorTrajectory:
    """Return the same motion of the fingers with the hand turned by half about its z axis."""
    return replace(trajectory, T_base_ee=trajectory.T_base_ee @ _HALF_TURN)


def to_one_way(
    examples: Sequence[Example], frames: Sequence[Array]
) -> tuple[list[Example], NDArray[np.bool_]]:
    """Turn the hand of the examples that grasp the other way than most.

    Args:
        examples: demonstrations of one skill.
        frames: their T_base_object (4, 4); rotations are compared relative to them.

    Returns:
        The examples, and (N,) which of them were turned.
    """
    hands = np.stack(
        [
            T[:3, :3].T @ e.trajectory.T_base_ee[:, :3, :3]
            for T, e in zip(frames, examples, strict=True)
        ]
    )
    first = np.broadcast_to(hands[0], hands.shape)
    straight = _mean_angle(hands, first)
    crossed = _mean_angle(hands @ _HALF_TURN[:3, :3], first)
    other = crossed < straight
    if 2 * other.sum() > len(examples):
        other = ~other
    return [
        replace(e, trajectory=turned(e.trajectory)) if flip else e
        for e, flip in zip(examples, other, strict=True)
    ], other


def _mean_angle(a: Array, b: Array) -> Array:
    """Return the (N,) mean angles [rad] between (N, T, 3, 3) rotations."""
    return np.asarray(rotation_angle(a, b).mean(axis=1))
