"""Limits of the FR3 and its hand: the stricter of what the arm and what its client allow.

Position: `franka_description`'s FR3. Velocity: libfranka's FR3, but never above the 2.175 and 2.61
rad/s that franky 2.0.0 accepts (its FR3 wheels carry the Panda's table). Acceleration and
jerk: element-wise minimum of both tables. The hardware's limits shrink further near the ends of a
joint's range; that is not modelled here.
"""

from __future__ import annotations

import numpy as np

from kalm_core.se3 import Array

JOINT_NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
"""The arm's joints from the base to the flange."""

HAND_OPENING = 0.08
"""Widest distance between the fingers of the Franka Hand [m]."""


def position_lower() -> Array:
    """Return the (7,) lower position limits [rad]."""
    return np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159])


def position_upper() -> Array:
    """Return the (7,) upper position limits [rad]."""
    return np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159])


def velocity() -> Array:
    """Return the (7,) velocity limits [rad/s]."""
    return np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])


def acceleration() -> Array:
    """Return the (7,) acceleration limits [rad/s^2]."""
    return np.array([10.0, 7.5, 10.0, 10.0, 10.0, 10.0, 10.0])


def jerk() -> Array:
    """Return the (7,) jerk limits [rad/s^3]."""
    return np.array([5000.0, 3750.0, 5000.0, 5000.0, 5000.0, 5000.0, 5000.0])
