"""How the laboratory's operator leaves an object before the arm goes back to its ready posture."""

from __future__ import annotations

import numpy as np

from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory

OPEN = 0.08
"""Opening of the fingers when nothing is held [m]."""


def back_off(
    T_base_ee: Array, distance: float = 0.08, seconds: float = 1.6
) -> EndEffectorTrajectory:
    """Return a straight way back along the hand, fingers open, slow at both ends.

    Args:
        T_base_ee: (4, 4) pose of the tool now.
        distance: how far back [m].
        seconds: how long it takes [s].
    """
    share = np.linspace(0.0, 1.0, 9)
    smooth = share**2 * (3 - 2 * share)
    poses = np.repeat(T_base_ee[None], len(share), axis=0)
    poses[:, :3, 3] -= smooth[:, None] * distance * T_base_ee[:3, 2]
    return EndEffectorTrajectory(poses, np.full(len(share), OPEN), share * seconds)
