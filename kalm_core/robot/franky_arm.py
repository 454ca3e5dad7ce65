"""The FR3 with its hand, through franky: state, paths, gripper, stop and recovery."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import franky
import numpy as np

from kalm_core.errors import (
    BusyError,
    ConnectionLostError,
    GoalError,
    GripperBlockedError,
    RobotError,
)
from kalm_core.progress import Progress
from kalm_core.robot.arm_state import ArmState
from kalm_core.robot.connection import FRANKY_ERRORS, connect_gripper, connect_robot
from kalm_core.robot.ee_follower import EePathFollower
from kalm_core.robot.gripper_driver import GripperDriver, demand_known_opening
from kalm_core.robot.hand_guiding import HandGuiding
from kalm_core.robot.joint_follower import JointPathFollower
from kalm_core.robot.path_follower import PathFollower
from kalm_core.robot.punctuality import Punctuality
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.robot.target_stream import RECOVER, TargetStream, kind_of_stop
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory, JointPath

_ERROR_NAMES = tuple(name for name in dir(franky.Errors) if not name.startswith("_"))
_NOBODY = Progress()
_HELD_IN_DESK = ("UserStopped", "Guiding")
_FREE_IN_DESK = (
    "look in Desk: unlock the joints, release the user stop, end guiding and activate FCI; "
    "then call recover and retry"
)


class FrankyArm:
    """One arm, one motion at a time; `state` and `stop` may be called from any thread.

    A path needs the arm and the hand. While the arm is guided by hand, the fingers may move.

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
        robot = connect_robot(settings)
        self._gripper = self._connect_hand()
        # whoever holds franky's robot holds the connection: this is the one place
        self._targets: TargetStream | None = TargetStream(robot, settings)
        self._arm_busy = threading.Lock()
        self._hand_busy = threading.Lock()
        self._stops = 0  # how often `stop` was called

    def _connect_hand(self) -> GripperDriver:
        return GripperDriver(partial(connect_gripper, self.settings), self.settings)

    def state(self) -> ArmState:
        """Read the robot; takes about a millisecond at rest and less in motion.

        Raises:
            RobotError: the robot does not answer.
        """
        try:
            state, in_control = self._connected().read()
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
            mode=state.robot_mode.name,
            errors=errors,
        )

    def _ready_state(self) -> ArmState:
        """Read the state before a motion, which errors that nobody recovered would not allow."""
        state = self.state()
        left = [name for name in state.errors if not name.startswith("gripper")]
        if left:
            names = ", ".join(left)
            raise kind_of_stop(names)(f"the arm still has the error {names}", RECOVER)
        if state.mode in _HELD_IN_DESK:
            raise RobotError(f"the arm cannot move in its mode {state.mode}", _FREE_IN_DESK)
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
        with self._motion() as stopped:
            now = self._ready_state()
            follower = JointPathFollower(path, now.q, speed_scale, self.settings, tolerance)
            return self._follow(follower, progress, stopped)

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
            ConnectionLostError: the hand does not answer (nothing has moved then, if it did not
                before).
            RobotError: the path starts elsewhere or leaves the limits (nothing has moved then),
                the controller or the hand failed, or `stop` was called.
            CancelledError: `progress.should_stop` said so; the arm is still.
        """
        _check_scale(speed_scale)
        with self._motion() as stopped:
            self._gripper.await_idle()
            now = self._ready_state()
            demand_known_opening(now.gripper_width, self._gripper.error)
            follower = EePathFollower(
                trajectory, joints, now, self._gripper, speed_scale, self.settings
            )
            return self._follow(follower, progress, stopped)

    def guide(self, seconds: float, progress: Progress = _NOBODY) -> None:
        """Let a person move the arm by hand; it lets go slowly, and holds again in the end.

        The fingers can be moved by `move_gripper` meanwhile.

        Args:
            seconds: ends by itself after so long, on the robot's clock [s].
            progress: reports "guiding"; asked often whether to stop.

        Raises:
            BusyError: a motion runs.
            RobotError: a joint became too fast, the controller failed, or `stop` was called.
            CancelledError: `progress.should_stop` said so; the arm is still.
        """
        with self._motion(self._arm_busy) as stopped:
            follower = HandGuiding(self._ready_state().q, seconds, self.settings)
            self._follow(follower, progress, stopped)

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
        with self._motion(self._hand_busy) as stopped:
            start = self.state()
            deadline = self._gripper.deadline(start.time)
            self._gripper.start(width, speed or self.settings.gripper_speed, force)
            try:
                while not self._gripper.finished():
                    way = abs(width - start.gripper_width) or 1.0
                    done = abs(self._gripper.width - start.gripper_width) / way
                    progress.step("gripper", done, f"opening {self._gripper.width:.3f} m")
                    if stopped():  # asked last: who cancels has more to say about it
                        raise RobotError("the hand was stopped by request", RECOVER)
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
        self._stops += 1
        try:
            targets = self._connected()
            try:
                targets.halt()
            finally:
                self._gripper.abort()
            targets.await_rest()
        except FRANKY_ERRORS as error:
            raise self._lost(error) from error
        self.state()  # a robot that does not answer is not known to be still

    def recover(self) -> None:
        """Clear the arm's errors after a reflex, and connect anew to a hand that is stuck.

        Raises:
            BusyError: a motion runs and does not end.
            RobotError: they remain, with their names.
        """
        with self._motion(timeout=self.settings.answer_timeout):
            self._clear_errors()

    def _clear_errors(self) -> None:
        try:
            self._connected().robot.recover_from_errors()
            if self._gripper.stuck:
                self._gripper.close()
                self._gripper = self._connect_hand()
            self._gripper.await_answer()
            end = time.monotonic() + self.settings.answer_timeout
            while (errors := self.state().errors) and time.monotonic() < end:
                time.sleep(0.02)  # the state that says so is still on its way
        except FRANKY_ERRORS as error:
            raise RobotError(f"recovery failed: {error}", "check the arm in Desk") from error
        if errors:
            raise RobotError(
                f"errors remain after recovery: {', '.join(errors)}", "check the arm in Desk"
            )

    def close(self) -> None:
        """Stop what runs and disconnect; afterwards another client can connect.

        Raises:
            RobotError: the arm could not be stopped or did not answer; it is disconnected as well.
        """
        if self._targets is None:
            return
        try:
            self.stop()
        finally:
            if self._arm_busy.acquire(timeout=self.settings.answer_timeout):
                self._arm_busy.release()  # the motion that was stopped has let go of the robot
            self._gripper.close()
            self._targets = None

    @contextmanager
    def _motion(self, *parts: threading.Lock, timeout: float = 0.0) -> Iterator[Callable[[], bool]]:
        """Hold arm and hand, or one of them, for one motion; gives whether `stop` was called."""
        with ExitStack() as held:
            for part in parts or (self._arm_busy, self._hand_busy):
                if not part.acquire(timeout=timeout):
                    raise BusyError(
                        "the arm executes another motion", "wait for its end or stop it"
                    )
                held.callback(part.release)
            before = self._stops
            try:
                yield lambda: self._stops != before
            except FRANKY_ERRORS as error:
                raise self._lost(error) from error

    def _follow(
        self, follower: PathFollower, progress: Progress, stopped: Callable[[], bool]
    ) -> float:
        """Stream a follower's targets to its end; the arm is at rest whatever happens."""
        return self._connected().follow(follower, progress, stopped, self.punctuality)

    def _connected(self) -> TargetStream:
        """Return what moves the arm, unless it was closed."""
        targets = self._targets
        if targets is None:
            raise ConnectionLostError("the connection to the arm was closed", "call recover")
        return targets

    def _lost(self, error: Exception) -> RobotError:
        """Return the error for what franky raised: a reflex, no answer, or a refusal."""
        if isinstance(error, franky.RealtimeException):
            return RobotError(
                f"this machine cannot keep the arm's pace: {error}",
                "install a kernel with PREEMPT_RT and let this user set real-time priorities "
                "(`kalm doctor` looks for both); robot.realtime_kernel: false goes on without, "
                "for trials",
            )
        kind = kind_of_stop(str(error))
        if kind is not RobotError:
            return kind(f"the arm stopped itself: {error}", RECOVER)
        if isinstance(error, (franky.NetworkException, RuntimeError)):
            return ConnectionLostError(
                f"the arm at {self.settings.host} failed: {error}",
                "check the arm or the simulator, then call recover to connect again",
            )
        return RobotError(f"the arm at {self.settings.host} refused: {error}", _FREE_IN_DESK)


def _check_scale(speed_scale: float) -> None:
    if not 0.0 < speed_scale <= 1.0:
        raise GoalError(f"the speed scale is {speed_scale}, expected above 0 and up to 1")
