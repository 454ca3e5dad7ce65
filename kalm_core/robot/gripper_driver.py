"""The Franka Hand: its width is read in a thread of its own, its commands never block the arm.

libfranka gives up its connection to the hand for good when nothing comes for a second, as after a
stall of the network or of this machine. The driver then connects anew by itself; until it has, the
opening is not known and nothing that needs it moves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kalm_core.errors import ConnectionLostError, GoalError, GripperBlockedError, RobotError
from kalm_core.fr3_limits import HAND_OPENING
from kalm_core.robot.connection import FRANKY_ERRORS
from kalm_core.robot.robot_settings import RobotSettings

UNKNOWN_HAND = "check the hand in Desk, call recover, then retry"
"""What to do when the hand does not answer."""

FRESH = 2
"""Of so many readings the last began after the event that came before them."""

_READ_PERIOD = 0.1  # [s]
_RETRY_PERIOD = 0.5  # between two attempts to connect anew [s]
_GRASP_BELOW = 0.005  # [m], a grasp may end this far below its width, which is 0
_WALL_PER_ROBOT = 5.0  # a simulator may be this much slower than the clock on the wall


def demand_known_opening(width: float, why: str) -> None:
    """Refuse to go on with a hand that does not answer.

    Args:
        width: between its fingers [m]; NaN is not known.
        why: what its driver says.

    Raises:
        ConnectionLostError: the opening is not known.
    """
    if not np.isfinite(width):
        raise ConnectionLostError(f"the hand does not answer: {why}", UNKNOWN_HAND)


class _Command(threading.Thread):
    """One blocking call of franky's gripper; starting it never delays the arm."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(name="gripper command", daemon=True)
        self.succeeded = False
        self.error = ""
        self._call = call
        self.start()

    def run(self) -> None:
        """Make the call and keep what came of it."""
        try:
            self.succeeded = bool(self._call())
        except FRANKY_ERRORS as error:
            self.error = str(error)


class GripperDriver:
    """One connection to the hand.

    A grasp closes until the force is reached, whatever lies between the fingers: the width of the
    goal is not the width of the object.
    """

    def __init__(self, connect: Callable[[], Any], settings: RobotSettings) -> None:
        """Connect, and start reading the width.

        Args:
            connect: returns a connected `franky.Gripper`; called again when that is lost.
            settings: speed, force, and how long things may take.

        Raises:
            RobotError: as `connect`.
        """
        self._connect = connect
        self._gripper: Any = connect()
        self._settings = settings
        self._command: _Command | None = None
        self._closed = threading.Event()
        self._exchanging = threading.Lock()
        self._width = float("nan")
        self._error = ""
        self._readings = 0
        self._first_read = threading.Event()
        self._reader = threading.Thread(target=self._read, name="gripper width", daemon=True)
        self._reader.start()
        self._first_read.wait(settings.answer_timeout)

    @property
    def width(self) -> float:
        """Distance between the fingers [m]; NaN when the hand does not answer."""
        return self._width

    @property
    def readings(self) -> int:
        """How often the width was read."""
        return self._readings

    @property
    def error(self) -> str:
        """Why the hand does not answer; empty when it does."""
        return self._error

    @property
    def stuck(self) -> bool:
        """Whether a command that was given up holds the connection, or it was closed."""
        return self._closed.is_set() or self._commanded

    @property
    def _commanded(self) -> bool:
        return self._command is not None and self._command.is_alive()

    def start(self, opening: float, speed: float, force: float) -> None:
        """Begin to move the fingers.

        Args:
            opening: distance between the fingers to reach, 0 to 0.08 [m].
            speed: of the fingers [m/s].
            force: above 0 closes with that force [N] until something is held.

        Raises:
            GoalError: a value is out of range.
            ConnectionLostError: the hand does not answer.
            RobotError: it is busy.
        """
        if not 0.0 <= opening <= HAND_OPENING:
            raise GoalError(f"the gripper's opening is {opening} m, expected 0 to {HAND_OPENING} m")
        if not 0.0 < speed <= 0.2:
            raise GoalError(f"the gripper's speed is {speed} m/s, expected above 0 and up to 0.2")
        if not 0.0 <= force <= 70.0:
            raise GoalError(f"the grasping force is {force} N, expected 0 to 70 N")
        self._demand_answer()
        self.await_idle()
        gripper = self._gripper
        if force > 0.0:
            self._command = _Command(
                lambda: gripper.grasp(0.0, speed, force, _GRASP_BELOW, HAND_OPENING)
            )
        else:
            self._command = _Command(lambda: gripper.move(opening, speed))

    def await_idle(self) -> None:
        """Wait for a command that was abandoned; there is nothing to wait for otherwise.

        Raises:
            RobotError: it does not end.
        """
        if self._command is not None:
            self._command.join(_WALL_PER_ROBOT * self._settings.gripper_timeout)
            if self._command.is_alive():
                raise RobotError("the gripper still executes its last command", UNKNOWN_HAND)
            self._command = None

    def finished(self) -> bool:
        """Return whether the command has ended.

        Raises:
            ConnectionLostError: the hand stopped answering.
            RobotError: it failed, with the hand's text.
        """
        command = self._command
        if command is None:
            return True
        if command.is_alive():
            self._demand_answer()
            return False
        self._command = None
        if command.error:
            raise RobotError(f"the gripper failed: {command.error}", "recover, then retry")
        if not command.succeeded:
            raise GripperBlockedError(
                f"the gripper did not reach its goal, the opening is {self._width:.4f} m",
                "check what is between the fingers",
            )
        return True

    def abort(self) -> None:
        """Ask a running command to stop, where the hand can, without waiting for it."""
        command = self._command
        if command is not None and command.is_alive() and self._settings.gripper_stop:
            threading.Thread(target=self._stop, name="gripper stop", daemon=True).start()

    def fresh_width(self) -> float:
        """Return the distance between the fingers [m], read after this call.

        Raises:
            ConnectionLostError: the hand does not answer.
        """
        before, end = self._readings, time.monotonic() + self._settings.answer_timeout
        while self._readings < before + FRESH and time.monotonic() < end:
            time.sleep(0.01)
        width = self._width if self._readings >= before + FRESH else float("nan")
        demand_known_opening(width, self._error)
        return width

    def await_answer(self) -> None:
        """Wait for a connection that was lost to be there again.

        Raises:
            ConnectionLostError: it is not in time.
        """
        end = time.monotonic() + self._settings.connect_timeout
        while self._error:
            if time.monotonic() > end:
                self._demand_answer()
            time.sleep(0.02)

    def close(self) -> None:
        """End the reading thread and give up the connection: from then on the hand is not known."""
        self._closed.set()
        self._reader.join(self._settings.answer_timeout)
        self._command = None
        with self._exchanging:
            self._gripper = None
        self._width, self._error = float("nan"), "the connection was closed"

    def deadline(self, robot_time: float) -> GripperDeadline:
        """Return the deadline of a command that begins now."""
        return GripperDeadline(robot_time, self._settings.gripper_timeout)

    def _connect_anew(self) -> None:
        """Replace a connection that was lost, unless a command still holds it.

        Raises:
            RobotError: as `connect`.
        """
        if not self._commanded:
            self._gripper = None
            gripper = self._connect()
            with self._exchanging:
                self._gripper = None if self._closed.is_set() else gripper

    def _demand_answer(self) -> None:
        if self._error:
            raise ConnectionLostError(f"the hand does not answer: {self._error}", UNKNOWN_HAND)

    def _opening(self) -> float | None:
        """Read the width [m]; None of a closed connection. Keeps no hold of franky's gripper."""
        gripper = self._gripper
        return None if gripper is None else float(gripper.state.width)

    def _stop(self) -> None:
        gripper = self._gripper
        try:
            if gripper is not None:
                gripper.stop()
        except FRANKY_ERRORS as error:
            self._error = str(error)

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                if self._error:
                    self._connect_anew()
                width = self._opening()
                if width is None or self._closed.is_set():
                    return
                self._width = width
                self._error = ""
            except (*FRANKY_ERRORS, RobotError) as error:
                self._width = float(np.nan)
                self._error = str(error)
            self._readings += 1
            self._first_read.set()
            self._closed.wait(_RETRY_PERIOD if self._error else _READ_PERIOD)


class GripperDeadline:
    """The time a command may take: on the robot's clock, and generously on the wall's."""

    def __init__(self, robot_time: float, allowed: float) -> None:
        self._robot_end = robot_time + allowed
        self._wall_end = time.monotonic() + _WALL_PER_ROBOT * allowed
        self._allowed = allowed

    def check(self, robot_time: float) -> None:
        """Raise `GripperBlockedError` if the time is over."""
        if robot_time > self._robot_end or time.monotonic() > self._wall_end:
            raise GripperBlockedError(
                f"the gripper did not finish within {self._allowed} s",
                "check what is between the fingers, then recover",
            )
