"""A straight line in joint space from rest to rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kalm_core.errors import GoalError
from kalm_core.robot.client_limits import JOINT_LOWER, JOINT_UPPER, JOINT_VELOCITY
from kalm_core.trajectory import JointPath

_PEAK_SPEED = 1.875  # of a minimum-jerk line, in lengths per duration: 15/8
_PEAK_ACCELERATION = 10.0 / np.sqrt(3.0)  # in lengths per duration squared
_SHORTEST = 0.2  # [s]
_STEP = 0.02  # [s]


def joint_line(
    q_from: ArrayLike, q_to: ArrayLike, speed: float = 1.0, acceleration: float = 2.5
) -> JointPath:
    """Time a straight line in joint space with minimum jerk, within the FR3's limits.

    Args:
        q_from: (7,) first positions [rad]; brought within the limits, which a compliant arm may
            have left by a little.
        q_to: (7,) last positions [rad].
        speed: peak speed of the fastest joint [rad/s]; the limits of each joint hold as well.
        acceleration: peak acceleration of the fastest joint [rad/s^2].

    Raises:
        GoalError: a shape is not (7,), a value is not finite, or a bound is not positive.
    """
    start = np.asarray(q_from, dtype=np.float64)
    end = np.asarray(q_to, dtype=np.float64)
    if start.shape != (7,) or end.shape != (7,):
        raise GoalError(f"joint positions have shapes {start.shape} and {end.shape}, not (7,)")
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        raise GoalError("joint positions are not finite")
    if not (np.isfinite(speed) and speed > 0):
        raise GoalError(f"speed is {speed} rad/s, expected above 0")
    if not (np.isfinite(acceleration) and acceleration > 0):
        raise GoalError(f"acceleration is {acceleration} rad/s^2, expected above 0")
    start = np.clip(start, JOINT_LOWER, JOINT_UPPER)
    length = np.abs(end - start)
    by_speed = _PEAK_SPEED * float((length / np.minimum(JOINT_VELOCITY, speed)).max())
    by_acceleration = float(np.sqrt(_PEAK_ACCELERATION * length.max() / acceleration))
    duration = max(by_speed, by_acceleration, _SHORTEST)
    stamps = np.linspace(0.0, duration, max(2, int(np.ceil(duration / _STEP)) + 1))
    x = stamps / duration
    blend = x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    return JointPath(start + blend[:, None] * (end - start), stamps)
