"""Work that nobody waits for, such as a picture of a result that is sent without it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rclpy.node import Node


class Aside:
    """Makes calls one after the other on a thread of its own; an exception goes to the log."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")

    def call(self, what: str, work: Callable[[], object]) -> None:
        """Have `work` called soon; `what` names it where it fails."""
        self._worker.submit(self._run, what, work)

    def _run(self, what: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:
            if self._node.context.ok():  # else the node ends, and nobody looks any more
                self._node.get_logger().error(f"{what}: {traceback.format_exc()}")
