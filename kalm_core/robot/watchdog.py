"""Stops the arm when the loop that feeds it goes silent.

franky's impedance trackers hold their last target for ever if nobody sends a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from kalm_core.robot.connection import FRANKY_ERRORS

_LOOK_PERIOD = 0.02  # [s]


class Watchdog:
    """Watches one motion, on the robot's clock; used as a context manager.

    Attributes:
        barked: the loop was silent for too long and the arm was stopped.
    """

    def __init__(self, robot: Any, stall_timeout: float, halt: Callable[[], None]) -> None:
        """Watch a `franky.Robot`.

        Args:
            robot: read only while a motion controls it.
            stall_timeout: longest silence [s, robot].
            halt: stops the arm; called from the watchdog's thread.
        """
        self.barked = False
        self._robot = robot
        self._stall_timeout = stall_timeout
        self._halt = halt
        self._fed = float(robot.state.time.to_sec())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arm watchdog", daemon=True)

    def feed(self, robot_time: float) -> None:
        """Say that a target was sent at this robot time [s]."""
        self._fed = robot_time

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_PERIOD):
            try:
                if not self._robot.is_in_control:
                    continue
                silence = float(self._robot.state.time.to_sec()) - self._fed
            except FRANKY_ERRORS:
                return  # the link is lost: the motion has ended and its loop says why
            if silence > self._stall_timeout:
                self.barked = True
                self._halt()
                return
