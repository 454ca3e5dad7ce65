"""The FR3 with its hand, through franky: state, paths, gripper, stop and recovery."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import franky
import numpy as np

from kalm_core.errors import (
    BusyError,
    CancelledError,
    ConnectionLostError,
    GoalError,
    GripperBlockedError,
    ReflexError,
    RobotError,
    TrackingError,
)
from kalm_core.progress import Progress
from kalm_core.robot.arm_state import ArmState
from kalm_core.robot.connection import FRANKY_ERRORS, connect_gripper, connect_robot
from kalm_core.robot.ee_follower import EePathFollower
from kalm_core.robot.gripper_driver import GripperDriver
from kalm_core.robot.joint_follower import JointPathFollower
from kalm_core.robot.path_follower import PathFollower
from kalm_core.robot.punctuality import Punctuality
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.robot.watchdog import Watchdog
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory, JointPath

_ERROR_NAMES = tuple(name for name in dir(franky.Errors) if not name.startswith("_"))
_LONGEST_STEP = 0.05  # [s] of a path per tick, so that a short stall delays and never jumps
_REPORT_PERIOD = 0.1  # [s]
_NOBODY = Progress()
_RECOVER = "look at the arm, clear what it met, call recover, then retry"


class FrankyArm:
    """One arm, one motion at a time; `state` and `stop` may be called from any thread.

    Attributes:
        settings: as given.
        punctuality: of the targets since it was last replaced.
    """

    def __init__(self, settings: RobotSettings) -> None:
        """Connect to the arm and the hand.

        Raises:
            RobotError: one of them cannot be reached, with the host and what to do.
        """
        self.settings = settings
        self.punctuality = Punctuality(settings.late_target)
        self._robot: Any = connect_robot(settings)
        self._gripper = GripperDriver(connect_gripper(settings), settings)
        self._busy = threading.Lock()
        self._stop_requested = threading.Event()
        self._halt_lock = threading.Lock()
        self._halting = False

    def state(self) -> ArmState:
        """Read the robot; takes about a millisecond at rest and less in motion.

        Raises:
            RobotError: the robot does not answer.
        """
        try:
            robot = self._connected()
            state = robot.state
            in_control = bool(robot.is_in_control)
        except FRANKY_ERRORS as error:
            raise self._lost(error) from error
        errors = tuple(name for name in _ERROR_NAMES if getattr(state.current_errors, name))
        if self._gripper.error:
            errors += (f"gripper: {self._gripper.error}",)
        return ArmState(
            time=float(state.time.to_sec()),
            q=np.array(state.q),
            dq=np.array(state.dq),
            T_base_ee=np.array(state.O_T_EE.matrix),
            gripper_width=self._gripper.width,
            moving=in_control,
            errors=errors,
        )

    def _ready_state(self) -> ArmState:
        """Read the state before a motion, which errors that nobody recovered would not allow."""
        state = self.state()
        left = [name for name in state.errors if not name.startswith("gripper")]
        if left:
            kind = ReflexError if any("reflex" in name for name in left) else RobotError
            raise kind(f"the arm still has the error {', '.join(left)}", _RECOVER)
        return state

    def follow_joint_path(
        self,
        path: JointPath,
        speed_scale: float = 1.0,
        progress: Progress = _NOBODY,
        tolerance: float | None = None,
    ) -> float:
        """Move along a joint path that starts where the arm is, and wait for its end.

        Args:
            path: positions and times at full speed; it is slowed where it exceeds a limit.
            speed_scale: in (0, 1].
            progress: reports "joint_path"; asked at every target whether to stop.
            tolerance: farthest that a joint may be from the start [rad]; None takes
                `RobotSettings.start_joint_tolerance`.

        Returns:
            The largest distance between commanded and reached tool [m].

        Raises:
            GoalError: the speed scale is out of range.
            BusyError: another motion runs.
            RobotError: the path starts elsewhere or leaves the limits (nothing has moved then),
                the controller failed, or `stop` was called.
            CancelledError: `progress.should_stop` said so; the arm is still.
        """
        _check_scale(speed_scale)
        with self._motion():
            now = self._ready_state()
            follower = JointPathFollower(path, now.q, speed_scale, self.settings, tolerance)
            return self._follow(follower, progress)

    def follow_ee_path(
        self,
        trajectory: EndEffectorTrajectory,
        joints: Array,
        speed_scale: float = 1.0,
        progress: Progress = _NOBODY,
    ) -> float:
        """Move the tool compliantly along a trajectory that starts where it is, and wait.

        Where the commanded opening changes, the arm waits while the hand opens or grasps.

        Args:
            trajectory: poses, openings and times; it is slowed where it exceeds a limit.
            joints: (N, 7) that reach its poses [rad]; the elbow follows them.
            speed_scale: in (0, 1].
            progress: reports "ee_path"; asked at every target whether to stop.

        Returns:
            The largest distance between commanded and reached tool [m].

        Raises:
            GoalError: the speed scale is out of range, or the joints have another shape.
            BusyError: another motion runs.
            RobotError: the path starts elsewhere or leaves the limits (nothing has moved then),
                the controller or the hand failed, or `stop` was called.
            CancelledError: `progress.should_stop` said so; the arm is still.
        """
        _check_scale(speed_scale)
        with self._motion():
            self._gripper.await_idle()
            now = self._ready_state()
            follower = EePathFollower(
                trajectory, joints, now, self._gripper, speed_scale, self.settings
            )
            return self._follow(follower, progress)

    def move_gripper(
        self, width: float, speed: float, force: float, progress: Progress = _NOBODY
    ) -> float:
        """Open or close the hand and wait.

        Args:
            width: distance between the fingers to reach, 0 to 0.08 [m].
            speed: of the fingers [m/s]; 0 means that of the settings.
            force: above 0 closes with that force [N], until something is held or nothing is left
                between the fingers.
            progress: reports "gripper"; asked often whether to stop.

        Returns:
            The distance between the fingers [m].

        Raises:
            GoalError: a value is out of range.
            BusyError: another motion runs.
            GripperBlockedError: the fingers took too long, or ended elsewhere.
            RobotError: the hand failed, or `stop` was called.
            CancelledError: `progress.should_stop` said so.
        """
        with self._motion():
            start = self.state()
            deadline = self._gripper.deadline(start.time)
            self._gripper.start(width, speed or self.settings.gripper_speed, force)
            try:
                while not self._gripper.finished():
                    if self._stop_requested.is_set():
                        raise RobotError("the gripper was stopped by request")
                    way = abs(width - start.gripper_width) or 1.0
                    done = abs(self._gripper.width - start.gripper_width) / way
                    progress.step("gripper", done, f"opening {self._gripper.width:.3f} m")
                    deadline.check(self.state().time)
                    time.sleep(0.02)
            finally:
                self._gripper.abort()
            reached = self._gripper.fresh_width()
        if force <= 0.0 and abs(reached - width) > self.settings.gripper_blocked:
            raise GripperBlockedError(
                f"the fingers ended at {reached * 1000:.1f} mm instead of {width * 1000:.0f} mm",
                "check the fingers and what is between them",
            )
        return reached

    def stop(self) -> None:
        """Stop arm and hand, from any thread; a running motion raises `RobotError`.

        Raises:
            RobotError: the arm could not be stopped or does not answer.
        """
        self._stop_requested.set()
        try:
            try:
                self._halt()
            finally:
                self._gripper.abort()
            self._await_rest()
        except FRANKY_ERRORS as error:
            raise self._lost(error) from error
        self.state()  # a robot that does not answer is not known to be still

    def recover(self) -> None:
        """Clear the arm's errors after a reflex, and connect anew to a hand that is stuck.

        Raises:
            BusyError: a motion runs and does not end.
            RobotError: they remain, with their names.
        """
        if not self._busy.acquire(timeout=self.settings.answer_timeout):
            raise BusyError("the arm executes a motion", "wait for its end or stop it")
        try:
            robot = self._connected()
            robot.recover_from_errors()
            if self._gripper.stuck:
                self._gripper.close()
                self._gripper = GripperDriver(connect_gripper(self.settings), self.settings)
            end = time.monotonic() + self.settings.answer_timeout
            while (errors := self.state().errors) and time.monotonic() < end:
                time.sleep(0.02)  # the state that says so is still on its way
        except FRANKY_ERRORS as error:
            raise RobotError(f"recovery failed: {error}", "check the arm in Desk") from error
        finally:
            self._busy.release()
        if errors:
            raise RobotError(
                f"errors remain after recovery: {', '.join(errors)}", "check the arm in Desk"
            )

    def close(self) -> None:
        """Stop what runs and disconnect; afterwards another client can connect.

        Raises:
            RobotError: the arm could not be stopped or did not answer; it is disconnected as well.
        """
        if self._robot is None:
            return
        try:
            self.stop()
        finally:
            if self._busy.acquire(timeout=self.settings.answer_timeout):
                self._busy.release()  # the motion that was stopped has let go of the robot
            self._gripper.close()
            self._robot = None

    @contextmanager
    def _motion(self) -> Iterator[None]:
        """Hold the arm for one motion."""
        if not self._busy.acquire(blocking=False):
            raise BusyError("the arm executes another motion", "wait for its end or stop it")
        try:
            self._stop_requested.clear()
            self._halting = False
            yield
        except FRANKY_ERRORS as error:
            raise self._lost(error) from error
        finally:
            self._busy.release()

    def _follow(self, follower: PathFollower, progress: Progress) -> float:
        """Stream a follower's targets to its end; the arm is at rest whatever happens."""
        robot = self._connected()
        with Watchdog(robot, self.settings.stall_timeout, self._halt) as watchdog:
            try:
                follower.start(robot)
                self._stream(robot, follower, progress, watchdog)
            finally:
                try:
                    self._halt()
                finally:
                    follower.end()
                self._await_rest()
                self._join(robot)
        return follower.largest_error

    def _stream(
        self, robot: Any, follower: PathFollower, progress: Progress, watchdog: Watchdog
    ) -> None:
        """Feed the tracker at the pace of the robot's clock until the follower is done."""
        last = float(robot.state.time.to_sec())
        seen = reported = time.monotonic()
        while True:
            if progress.should_stop():
                raise CancelledError(follower.stage)
            if watchdog.barked:
                raise RobotError(
                    f"no target was sent for {self.settings.stall_timeout} s and the watchdog "
                    "stopped the arm",
                    "free the processor for this program, then retry",
                )
            if self._stop_requested.is_set():
                raise RobotError("stopped by request")
            if not robot.is_in_control:
                self._join(robot)
                raise RobotError("the arm left its controller without an error", _RECOVER)
            state, wall = robot.state, time.monotonic()
            now = float(state.time.to_sec())
            if now > last:
                watchdog.feed(now)
                self.punctuality.note(now - last)
                if follower.tick(robot, state, min(now - last, _LONGEST_STEP)):
                    return
                last, seen = now, wall
                if follower.largest_error > self.settings.tracking_error_limit:
                    raise TrackingError(
                        f"the tool is {follower.largest_error:.3f} m from its path, allowed are "
                        f"{self.settings.tracking_error_limit} m",
                        "check what holds the arm",
                    )
            elif wall - seen > self.settings.answer_timeout:
                raise ConnectionLostError(
                    f"the clock of {self.settings.host} stands still since {wall - seen:.1f} s",
                    "check the arm or the simulator",
                )
            if wall - reported > _REPORT_PERIOD:
                progress.report(follower.stage, min(1.0, follower.fraction), "")
                reported = wall
            time.sleep(self.settings.period)

    def _halt(self) -> None:
        """Begin to bring the arm to rest, once per motion; callable from any thread."""
        robot = self._connected()
        with self._halt_lock:
            if self._halting or not robot.is_in_control:
                return
            self._halting = True
            stop = franky.TorqueStopMotion(
                damping=np.array(self.settings.stop_damping),
                ramp_duration=self.settings.stop_ramp,
            )
            robot.move(stop, asynchronous=True)

    def _await_rest(self) -> None:
        """Wait until no motion controls the arm; stop it abruptly if that takes too long."""
        robot = self._connected()
        end = time.monotonic() + 2.0 * self.settings.answer_timeout
        while robot.is_in_control:
            if time.monotonic() > end:
                robot.stop()
                raise RobotError("the arm did not come to rest and was stopped hard", _RECOVER)
            time.sleep(0.002)

    def _join(self, robot: Any) -> None:
        """Surface the error that ended the motion in franky's thread, if any."""
        try:
            robot.join_motion(self.settings.answer_timeout)
        except franky.ControlException as error:
            kind = ReflexError if "reflex" in str(error) else RobotError
            raise kind(f"the controller stopped the arm: {error}", _RECOVER) from error

    def _connected(self) -> Any:
        """Return the robot, unless it was closed."""
        robot = self._robot
        if robot is None:
            raise RobotError("the connection to the arm was closed", "connect again")
        return robot

    def _lost(self, error: Exception) -> RobotError:
        """Return the error for what franky raised: a reflex, or a robot that does not answer."""
        if "reflex" in str(error):
            return ReflexError(f"the arm stopped itself: {error}", _RECOVER)
        return ConnectionLostError(
            f"the arm at {self.settings.host} failed: {error}",
            "check the arm or the simulator, then call recover to connect again",
        )


def _check_scale(speed_scale: float) -> None:
    if not 0.0 < speed_scale <= 1.0:
        raise GoalError(f"the speed scale is {speed_scale}, expected above 0 and up to 1")
