"""Guiding by hand: the arm carries itself, and a person moves it to show a task."""

from __future__ import annotations

from typing import Any

import franky
import numpy as np

from kalm_core.errors import RobotError
from kalm_core.robot.client_limits import JOINT_LOWER, JOINT_UPPER
from kalm_core.robot.joint_follower import friction_compensation
from kalm_core.robot.path_follower import PathFollower
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import Array


class HandGuiding(PathFollower):
    """Holds the arm where it is, lets go of it slowly, then only damps what a person does with it.

    The arm compensates its own weight, that of the hand and of the load that is set in Desk. What
    is wrong there makes it sink as soon as it is let go.
    """

    stage = "guiding"

    def __init__(self, q: Array, seconds: float, settings: RobotSettings) -> None:
        """Prepare to guide.

        Args:
            q: (7,) where the arm is [rad].
            seconds: after which it ends [s, robot].
            settings: those under `guiding`, and the stiffness in which it begins.
        """
        super().__init__(settings, seconds)
        guiding = settings.guiding
        self.thresholds = (guiding.torque, guiding.force)
        self._held = q
        self._tracker: Any = None

    @property
    def fraction(self) -> float:
        """Share of the time that is over, in [0, 1]."""
        return self._elapsed / self._duration

    def start(self, robot: Any) -> None:
        """Take control of an idle `franky.Robot`, holding it where it is."""
        stiffness, damping = self._gains()
        self._tracker = franky.JointImpedanceTracker(
            robot,
            stiffness=stiffness,
            damping=damping,
            friction=friction_compensation(self._settings),
            lower_joint_limits=JOINT_LOWER,
            upper_joint_limits=JOINT_UPPER,
        )

    def tick(self, robot: Any, state: Any, dt: float) -> bool:
        """Loosen the arm a little more; return True when the time is over.

        Raises:
            RobotError: a joint is faster than a person who guides should be.
        """
        q, speed = np.asarray(state.q), np.abs(np.asarray(state.dq))
        fastest = self._settings.guiding.fastest
        if speed.max() > fastest:
            raise RobotError(
                f"joint {int(speed.argmax()) + 1} moved at {speed.max():.2f} rad/s while it was "
                f"guided, allowed are {fastest} rad/s",
                "guide it slowly; if it sank by itself, set the load of hand and camera in Desk",
            )
        self._elapsed += dt
        stiffness, damping = self._gains()
        self._tracker.set_gains(stiffness=stiffness, damping=damping)
        clip = self._settings.joint_error_clip
        self._tracker.set_target(np.clip(self._held, q - clip, q + clip))
        return self._elapsed >= self._duration

    def _gains(self) -> tuple[Array, Array]:
        """Return (7,) stiffness [Nm/rad] and damping [Nms/rad] of this moment."""
        guiding = self._settings.guiding
        share = max(0.0, 1.0 - self._elapsed / guiding.release)
        stiffness = share * np.array(self._settings.joint_stiffness)
        return stiffness, 2.0 * np.sqrt(stiffness) + np.array(guiding.damping)
