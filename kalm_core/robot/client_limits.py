"""Limits that the arm's client enforces, and how franky is told about the FR3's.

franky 2.0.0 carries the table of the older Panda in its FR3 build: its accelerations and jerks
exceed those of the FR3, so they are lowered once after connecting.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kalm_core.fr3_limits import position_lower, position_upper

JOINT_LOWER = position_lower()
"""(7,) lowest positions of fr3_joint1..7 [rad]."""

JOINT_UPPER = position_upper()
"""(7,) highest positions of fr3_joint1..7 [rad]."""

JOINT_VELOCITY = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
"""(7,) highest speeds of fr3_joint1..7 [rad/s]."""

JOINT_ACCELERATION = 10.0
"""Highest acceleration of every joint [rad/s^2]."""

_JOINT_JERK = 5000.0
_SCALAR_LIMITS = {
    "translation_acceleration_limit": 9.0,
    "translation_jerk_limit": 4500.0,
    "rotation_acceleration_limit": 17.0,
    "rotation_jerk_limit": 8500.0,
    "elbow_velocity_limit": 1.5,
}


def lower_to_fr3(robot: Any) -> None:
    """Set the dynamic limits of an idle `franky.Robot` to the smaller of its own and the FR3's."""
    for limit, highest in (
        (robot.joint_acceleration_limit, JOINT_ACCELERATION),
        (robot.joint_jerk_limit, _JOINT_JERK),
    ):
        limit.set(np.minimum(np.asarray(limit.max, dtype=np.float64), highest))
    for name, highest in _SCALAR_LIMITS.items():
        limit = getattr(robot, name)
        limit.set(min(float(limit.max), highest))
