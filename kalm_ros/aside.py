"""Work that nobody waits for, such as a picture of a result that is sent without it."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from rclpy.node import Node


class Aside:
    """Calls the newest work on a thread of its own; an exception goes to the log.

    Work that waits when newer comes is dropped: it would be overwritten at once.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._changed = threading.Condition()
        self._waiting: tuple[str, Callable[[], object]] | None = None
        self._worker: threading.Thread | None = None

    def call(self, what: str, work: Callable[[], object]) -> None:
        """Have `work` called soon; `what` names it where it fails."""
        with self._changed:
            self._waiting = (what, work)
            if self._worker is None:
                # it ends when the process does, with whatever it paints
                self._worker = threading.Thread(target=self._run, name="aside", daemon=True)
                self._worker.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._waiting is None:
                    self._changed.wait()
                (what, work), self._waiting = self._waiting, None
            try:
                work()
            except Exception:
                if self._node.context.ok():  # else the node ends, and nobody looks any more
                    self._node.get_logger().error(f"{what}: {traceback.format_exc()}")
