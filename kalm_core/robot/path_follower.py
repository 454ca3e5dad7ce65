"""What every way of following a path has in common, as seen by the loop that streams it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from kalm_core.robot.path_clock import PathClock
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import Array

BLEND_TIME = 0.5
"""Time [s] over which a small distance between the arm and the path's start fades."""


class PathFollower(ABC):
    """Turns robot time into targets of an impedance tracker.

    Attributes:
        stage: name of this part in progress reports.
        thresholds: (joint torque [Nm], tool force [N]) from without that stop the arm.
        fraction: share of the path that is done, in [0, 1].
        largest_error: largest distance between commanded and reached tool so far [m].
    """

    stage: str

    def __init__(self, settings: RobotSettings, duration: float) -> None:
        self._settings = settings
        self._duration = duration
        self._clock = PathClock(settings.ramp_time)
        self._elapsed = 0.0
        self._settled_for = 0.0
        self.largest_error = 0.0
        self.thresholds = (settings.collision_torque, settings.collision_force)

    @property
    def fraction(self) -> float:
        """Share of the path that is done, in [0, 1]."""
        return self._clock.now / self._duration

    @property
    def _at_end(self) -> bool:
        """Whether the target stands where the path ends."""
        return self._clock.now >= self._duration and self._elapsed >= BLEND_TIME

    @abstractmethod
    def start(self, robot: Any) -> None:
        """Take control of an idle `franky.Robot`, holding it where it is."""

    @abstractmethod
    def tick(self, robot: Any, state: Any, dt: float) -> bool:
        """Send the next target; return True when the end is reached and the arm has settled.

        Args:
            robot: the `franky.Robot`.
            state: its state now.
            dt: time since the last tick on the robot's clock [s].
        """

    def end(self) -> None:  # noqa: B027 (most followers hold nothing)
        """Give back what the follower holds, whether or not the path was finished."""

    def _advance(self, dt: float, halt: float) -> tuple[float, float]:
        """Go on by `dt` [s, robot], to stand still at path time `halt` [s].

        Returns:
            The path time [s], and the share of the start's offset that is left: it fades on the
            robot's time, so that it is gone after a short path too.
        """
        self._clock.advance(dt, halt)
        self._elapsed += dt
        return self._clock.now, fading(self._elapsed)

    def _note_error(self, commanded: Array, reached: Array) -> None:
        """Keep the largest of the distances between (3,) tool positions [m]."""
        self.largest_error = max(
            self.largest_error, float(np.linalg.norm(np.asarray(commanded) - np.asarray(reached)))
        )

    def _settled(self, dt: float, near: bool) -> bool:
        """Return whether the end has been held until `near`, or for the settle time."""
        if not self._at_end:
            return False
        self._settled_for += dt
        shortest = min(0.1, self._settings.settle_time)
        return (near and self._settled_for >= shortest) or (
            self._settled_for >= self._settings.settle_time
        )


def fading(elapsed: float) -> float:
    """Return the share of the start's offset that is left after a time: 1, then smoothly 0."""
    x = min(max(elapsed / BLEND_TIME, 0.0), 1.0)
    return 1.0 - x * x * (3.0 - 2.0 * x)
