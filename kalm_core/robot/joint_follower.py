"""Free motion: a joint path streamed to a joint impedance tracker."""

from __future__ import annotations

from typing import Any

import franky
import numpy as np
from scipy.interpolate import PchipInterpolator

from kalm_core.errors import RobotError
from kalm_core.robot.client_limits import JOINT_LOWER, JOINT_UPPER, JOINT_VELOCITY
from kalm_core.robot.path_clock import calmed_stamps, shortest_joint_steps, stretched_stamps
from kalm_core.robot.path_follower import PathFollower
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import Array
from kalm_core.trajectory import JointPath

_NEAR = 0.001  # [rad], a settled joint
_INTEGRAL_RATE = 4.0  # [1/s]
_MOST_BIAS = 0.02  # [rad]


class JointPathFollower(PathFollower):
    """Follows a `JointPath` in joint space.

    Joint impedance was chosen over franky's position waypoints by measurement on franky-sim (4 s,
    0.5 rad): largest lag 3 against 19 mrad, and a stop leaves the arm still after 0.2 s instead of
    swinging on its position servo.
    """

    stage = "joint_path"

    def __init__(
        self,
        path: JointPath,
        q: Array,
        speed_scale: float,
        settings: RobotSettings,
        tolerance: float | None = None,
    ) -> None:
        """Check the path against the arm and the limits.

        Args:
            path: the path.
            q: (7,) where the arm is [rad].
            speed_scale: in (0, 1].
            settings: tolerances and gains.
            tolerance: see `FrankyArm.follow_joint_path`.

        Raises:
            RobotError: the path starts elsewhere or leaves the joint limits.
        """
        check_limits(path.positions, "joint path")
        allowed = settings.start_joint_tolerance if tolerance is None else tolerance
        check_start(path.positions[0], q, allowed, "joint path")
        highest = np.minimum(JOINT_VELOCITY, settings.joint_velocity)
        stamps = stretched_stamps(
            path.stamps, speed_scale, shortest_joint_steps(path.positions, highest)
        )
        stamps = calmed_stamps(stamps, path.positions, settings.joint_acceleration)
        super().__init__(settings, float(stamps[-1]))
        self._path = PchipInterpolator(stamps, path.positions)
        self._velocity = self._path.derivative()
        self._end = path.positions[-1]
        self._offset = q - path.positions[0]
        self._target = q
        self._bias = np.zeros(7)
        self._tracker: Any = None

    def start(self, robot: Any) -> None:
        """Take control of an idle `franky.Robot`, holding it where it is."""
        self._tracker = franky.JointImpedanceTracker(
            robot,
            stiffness=np.array(self._settings.joint_stiffness),
            friction=friction_compensation(self._settings),
            lower_joint_limits=JOINT_LOWER,
            upper_joint_limits=JOINT_UPPER,
        )

    def tick(self, robot: Any, state: Any, dt: float) -> bool:
        """Send the next joint target; return True when the end is reached and settled."""
        q = np.asarray(state.q)
        commanded = robot.model.pose(
            franky.Frame.EndEffector, self._target, state.F_T_EE, state.EE_T_K
        )
        self._note_error(commanded.matrix[:3, 3], state.O_T_EE.matrix[:3, 3])
        now, offset = self._advance(dt, self._duration)
        if self._at_end:  # what friction leaves at the end is integrated away
            self._bias = np.clip(
                self._bias + _INTEGRAL_RATE * dt * (self._end - q), -_MOST_BIAS, _MOST_BIAS
            )
        self._target = self._path(now) + offset * self._offset
        clip = self._settings.joint_error_clip
        self._tracker.set_target(
            np.clip(self._target + self._bias, q - clip, q + clip),
            self._velocity(now) * self._clock.rate,
        )
        return self._settled(dt, bool(np.abs(q - self._end).max() < _NEAR))


def friction_compensation(settings: RobotSettings) -> Any:
    """Return the franky parameters of the friction in the settings."""
    return franky.FrictionCompensationParams(
        coulomb=list(settings.friction), max_torque=[max(1.0, 2.0 * f) for f in settings.friction]
    )


def check_limits(positions: Array, path: str) -> None:
    """Raise `RobotError` if one of (N, 7) positions [rad] of a path is outside the FR3's limits."""
    outside = (positions < JOINT_LOWER) | (positions > JOINT_UPPER)
    if outside.any():
        pose, joint = (int(i) for i in np.argwhere(outside)[0])
        raise RobotError(
            f"position {pose} of the {path} puts joint {joint + 1} at "
            f"{positions[pose, joint]:.3f} rad, its limits are {JOINT_LOWER[joint]} and "
            f"{JOINT_UPPER[joint]} rad"
        )


def check_start(first: Array, q: Array, allowed: float, path: str) -> None:
    """Raise `RobotError` if a path's (7,) first joints are farther than allowed [rad] from q."""
    away = np.abs(first - q)
    if away.max() > allowed:
        raise RobotError(
            f"the {path} starts {away.max():.3f} rad from the arm at joint "
            f"{int(away.argmax()) + 1}, allowed are {allowed} rad",
            "plan again from where the arm is now",
        )
