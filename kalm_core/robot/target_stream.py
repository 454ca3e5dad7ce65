"""Feeds targets to the arm at the pace of the robot's clock, and brings it to rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import franky
import numpy as np

from kalm_core.errors import (
    CancelledError,
    ConnectionLostError,
    ReflexError,
    RobotError,
    TooSlowError,
    TrackingError,
)
from kalm_core.progress import Progress
from kalm_core.robot.path_follower import PathFollower
from kalm_core.robot.punctuality import Punctuality
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.robot.watchdog import Watchdog

RECOVER = "look at the arm, clear what it met, call recover, then retry"
"""What to do after a reflex or a controller that gave up."""

_LONGEST_STEP = 0.05  # [s] of a path per tick, so that a short stall delays and never jumps
_REPORT_PERIOD = 0.1  # [s]


class TargetStream:
    """Runs one follower at a time on a connected `franky.Robot`.

    Attributes:
        robot: as given.
    """

    def __init__(self, robot: Any, settings: RobotSettings) -> None:
        self.robot = robot
        self._settings = settings
        self._halt_lock = threading.Lock()
        self._halting = False

    def read(self) -> tuple[Any, bool]:
        """Return franky's state of the robot, and whether a motion controls it."""
        return self.robot.state, bool(self.robot.is_in_control)

    def follow(
        self,
        follower: PathFollower,
        progress: Progress,
        stopped: Callable[[], bool],
        punctuality: Punctuality,
    ) -> float:
        """Stream a follower's targets to its end; the arm is at rest whatever happens.

        Args:
            follower: gives the targets.
            progress: reports the follower's stage; asked at every target whether to stop.
            stopped: whether somebody stopped the arm.
            punctuality: counts the targets.

        Returns:
            The largest distance between commanded and reached tool [m].

        Raises:
            RobotError: the controller failed, or the arm was stopped.
            TooSlowError: this program could not keep up, and the watchdog stopped the arm.
            CancelledError: `progress.should_stop` said so.
        """
        self._halting = False
        self.robot.set_collision_behavior(*follower.thresholds)
        with Watchdog(self.robot, self._settings.stall_timeout, self.halt) as watchdog:
            try:
                follower.start(self.robot)
                self._feed(follower, progress, watchdog, stopped, punctuality)
            finally:
                self._come_to_rest(follower)
        return follower.largest_error

    def _come_to_rest(self, follower: PathFollower) -> None:
        """End a motion; each step is taken even where the one before it failed."""
        with ExitStack() as last_first:
            last_first.callback(self._join)
            last_first.callback(self.await_rest)
            last_first.callback(follower.end)
            last_first.callback(self.halt)

    def _feed(
        self,
        follower: PathFollower,
        progress: Progress,
        watchdog: Watchdog,
        stopped: Callable[[], bool],
        punctuality: Punctuality,
    ) -> None:
        """Feed the tracker at the pace of the robot's clock until the follower is done."""
        robot, settings = self.robot, self._settings
        last = float(robot.state.time.to_sec())
        seen = reported = time.monotonic()
        while True:
            if progress.should_stop():
                raise CancelledError(follower.stage)
            if watchdog.barked:
                raise TooSlowError(
                    f"no target was sent for {settings.stall_timeout} s and the watchdog "
                    "stopped the arm",
                    "free the processor for this program, then retry",
                )
            if stopped():
                raise RobotError("stopped by request")
            if not robot.is_in_control:
                self._join()
                raise RobotError("the arm left its controller without an error", RECOVER)
            state, wall = robot.state, time.monotonic()
            now = float(state.time.to_sec())
            if now > last:
                watchdog.feed(now)
                punctuality.note(now - last)
                if follower.tick(robot, state, min(now - last, _LONGEST_STEP)):
                    return
                last, seen = now, wall
                if follower.largest_error > settings.tracking_error_limit:
                    raise TrackingError(
                        f"the tool is {follower.largest_error:.3f} m from its path, allowed are "
                        f"{settings.tracking_error_limit} m",
                        "check what holds the arm",
                    )
            elif wall - seen > settings.answer_timeout:
                raise ConnectionLostError(
                    f"the clock of {settings.host} stands still since {wall - seen:.1f} s",
                    "check the arm or the simulator",
                )
            if wall - reported > _REPORT_PERIOD:
                progress.report(follower.stage, min(1.0, follower.fraction), "")
                reported = wall
            time.sleep(settings.period)

    def halt(self) -> None:
        """Begin to bring the arm to rest, once per motion; callable from any thread."""
        robot = self.robot
        with self._halt_lock:
            if self._halting or not robot.is_in_control:
                return
            stop = franky.TorqueStopMotion(
                damping=np.array(self._settings.stop_damping),
                ramp_duration=self._settings.stop_ramp,
            )
            robot.move(stop, asynchronous=True)
            self._halting = True

    def await_rest(self) -> None:
        """Wait until no motion controls the arm; stop it abruptly if that takes too long."""
        robot = self.robot
        end = time.monotonic() + 2.0 * self._settings.answer_timeout
        while robot.is_in_control:
            if time.monotonic() > end:
                robot.stop()
                raise RobotError("the arm did not come to rest and was stopped hard", RECOVER)
            time.sleep(0.002)

    def _join(self) -> None:
        """Surface the error that ended the motion in franky's thread, if any."""
        try:
            self.robot.join_motion(self._settings.answer_timeout)
        except franky.ControlException as error:
            text = f"the controller stopped the arm: {error}"
            raise kind_of_stop(str(error))(text, RECOVER) from error


def kind_of_stop(text: str) -> type[RobotError]:
    """Return the error for what libfranka says of an arm that stopped itself.

    libfranka calls it a reflex too where commands came late or not at all.
    """
    if "communication_constraints_violation" in text:
        return TooSlowError
    return ReflexError if "reflex" in text else RobotError
