"""A stop that holds until a recovery that began after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kalm_core.errors import RobotError


class StopLatch:
    """Whether the arm was told to stop; callable from any thread."""

    def __init__(self) -> None:
        self._stops = 0
        self._released = 0  # so many of them were recovered from
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Hold from now on."""
        with self._lock:
            self._stops += 1

    @property
    def holds(self) -> bool:
        """Whether a stop was not recovered from yet."""
        return self._stops != self._released

    @contextmanager
    def releasing(self) -> Iterator[None]:
        """Release the stops there were before, if this context ends well.

        Raises:
            RobotError: there was another one meanwhile, which holds.
        """
        before = self._stops
        yield
        with self._lock:
            self._released = before
            if self.holds:
                raise RobotError(
                    "robot/stop was called during the recovery, and holds",
                    "look at the arm, then call robot/recover again",
                )
