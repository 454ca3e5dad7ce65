"""The demonstrations side by side: in the object's frame, the hand one way, on one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import GoalError
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.base import Example
from kalm_core.policy.encoding import encode
from kalm_core.policy.regression import following
from kalm_core.policy.symmetry import to_one_way
from kalm_core.policy.timing import UNITS, common_clock, rows_at
from kalm_core.se3 import Array

_ROUNDS = 20  # in which the middle of most demonstrations settles
_STRAY = 0.1  # has less than this share of the trust in the most trusted
_SCATTER = 0.015  # half as much say at this distance or more: hands differ by that, rms [m]


@dataclass(frozen=True)
class AlignedDemonstrations:
    """What the policies learn from.

    Attributes:
        arrangement: of the keypoints; all else is in its frame.
        points: (N, K, 3) keypoints in the base frame [m]; NaN where not found or implausible.
        rows: (N, 48, 10) of the executions; the same pose is the same moment of the task.
        deviations: (N, K, 3) of the keypoints from their usual place [m]; NaN where not found.
        trust: (N,) share of each in a mean; those who do as most do have most of it. Sums to 1.
        stamps: (48,) usual times of the poses [s].
        other_way: share of the demonstrations that grasped with the hand turned by half.
    """

    arrangement: Arrangement
    points: Array
    rows: Array
    deviations: Array
    trust: Array
    stamps: Array
    other_way: float

    @staticmethod
    def from_examples(
        examples: Sequence[Example], arrangement: Arrangement
    ) -> AlignedDemonstrations:
        """Lay the demonstrations over one another, in space and in time.

        Raises:
            KeypointsNotFoundError: a demonstration has fewer than three keypoints that fit in.
            GoalError: no demonstration.
        """
        if not examples:
            raise GoalError("a policy needs at least one demonstration")
        located = [arrangement.locate(e.keypoints) for e in examples]
        frames = [frame for frame, _ in located]
        examples, other_way = to_one_way(examples, frames)
        rows = np.stack([encode(e.trajectory, T) for e, T in zip(examples, frames, strict=True)])
        deviations = np.stack([arrangement.deviation(T, d.positions) for T, d in located])
        stamps = np.stack([e.trajectory.stamps for e in examples])
        moved = _moved(rows, deviations, arrangement)
        clock = common_clock(rows, moved)
        switched = np.take_along_axis(rows[..., 9], np.rint(clock).astype(int), axis=1)
        rows, stamps = rows_at(rows, clock), rows_at(stamps[..., None], clock)[..., 0]
        rows[..., 9] = switched  # the gripper's command is one or the other
        trust = _trust(rows - _moved(rows, deviations, arrangement))
        return AlignedDemonstrations(
            arrangement,
            np.stack([fitting.positions for _, fitting in located]),
            rows,
            deviations,
            trust,
            trust @ stamps,
            float(other_way.mean()),
        )


def has_say(trust: Array) -> NDArray[np.bool_]:
    """Return (N,) which demonstrations are no strays, of their (N,) trust."""
    return np.asarray(trust >= _STRAY * trust.max())


def _moved(rows: Array, deviations: Array, arrangement: Arrangement) -> Array:
    """Return (N, 48, 10) by how much the hand went along with the keypoints around it."""
    bent = np.nan_to_num(deviations).reshape(len(rows), -1)
    along = following(rows.mean(axis=0), arrangement.shape)
    return np.asarray((bent @ along).reshape(rows.shape))


def _trust(rows: Array) -> Array:
    """Return (N,) weights that fall with the distance from the middle of most demonstrations.

    The mean of two ways of doing it is neither, and one that went astray spoils it. So the middle
    is sought from the most typical demonstration on, and who is farther from it than most are has
    little say. It takes a clear majority: of two equal halves neither is astray.
    """
    flat = (rows * UNITS).reshape(len(rows), -1)
    squared = np.sum((flat[:, None] - flat[None]) ** 2, axis=-1)
    typical = int(np.median(squared, axis=1).argmin())
    others = np.delete(squared[typical], typical)
    usual = max(float(np.median(others)) if len(others) else 0.0, rows.shape[1] * _SCATTER**2)
    middle = flat[typical]
    for _ in range(_ROUNDS):
        away = np.sum((flat - middle) ** 2, axis=1) / usual
        trust = 1.0 / (1.0 + away**2)
        trust /= trust.sum()
        middle = trust @ flat
    return np.asarray(trust)
