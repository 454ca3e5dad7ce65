"""Work that is due at a steady rate, on a thread of its own."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

from rclpy.node import Node

from kalm_core.errors import KalmError


class Periodic:
    """Calls `work` at a rate, whatever the node's executor is busy with.

    Work that takes longer than a period is done as often as it can be. What it raises is logged,
    and the next call is made all the same.

    Args:
        node: for its log and its context.
        rate: calls per second [Hz].
        work: what to do.
    """

    def __init__(self, node: Node, rate: float, work: Callable[[], None]) -> None:
        self._node = node
        self._period = 1.0 / rate
        self._work = work
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=work.__name__, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Make no further call; returns when the last one has ended."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(due - time.monotonic(), 0.0)):
            due = max(due + self._period, time.monotonic())
            try:
                self._work()
            except KalmError as error:
                self._node.get_logger().error(str(error), throttle_duration_sec=5.0)
            except Exception:
                if not self._node.context.ok():
                    return  # the process ends, and its publishers with it
                self._node.get_logger().error(traceback.format_exc(), throttle_duration_sec=5.0)
