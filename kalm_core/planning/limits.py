"""How much of the joints' limits a timed path uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kalm_core import fr3_limits
from kalm_core.se3 import Array
from kalm_core.trajectory import JointPath


@dataclass(frozen=True)
class Worst:
    """The largest share of a limit, and where.

    Attributes:
        share: 1 is the limit.
        pose: index in the path.
        joint: 0 to 6.
    """

    share: float
    pose: int
    joint: int


def sample_shares(path: JointPath) -> tuple[Array, Array, Array]:
    """Return the shares of the limits of velocity, acceleration and jerk at every sample.

    They are k! times the divided differences of order k = 1, 2, 3 of (N, 7) positions, hence
    (N - k, 7), or (0, 7): every smooth curve through the samples has a k-th derivative as large.
    """
    value, at = path.positions, path.stamps
    found = []
    limits = (fr3_limits.velocity(), fr3_limits.acceleration(), fr3_limits.jerk())
    for order, limit in enumerate(limits, start=1):
        if len(value) > 1:
            value = order * np.diff(value, axis=0) / (at[order:] - at[:-order])[:, None]
        else:
            value = value[:0]
        found.append(np.abs(value) / limit)
    return found[0], found[1], found[2]


def derivative_shares(path: JointPath) -> tuple[Worst, Worst, Worst]:
    """Return the largest shares of velocity, acceleration and jerk, by differences of samples.

    The arm starts and ends at rest: the follower brings it from rest to the path's pace and back
    over its own ramp, so the ends count as the rest of the path does.
    """
    found = []
    for share in sample_shares(path):
        if len(share) == 0:
            found.append(Worst(0.0, 0, 0))
            continue
        pose, joint = np.unravel_index(int(share.argmax()), share.shape)
        found.append(Worst(float(share[pose, joint]), int(pose) + 1, int(joint)))
    return found[0], found[1], found[2]


def position_margin(positions: Array, lower: Array, upper: Array) -> Worst:
    """Return the smallest distance [rad] (as `share`) of (N, 7) positions from the limits."""
    margin = np.minimum(positions - lower, upper - positions)
    pose, joint = np.unravel_index(int(margin.argmin()), margin.shape)
    return Worst(float(margin[pose, joint]), int(pose), int(joint))
