"""Subscriptions that cost nothing while nobody wants their messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node


class Gate(MutuallyExclusiveCallbackGroup):
    """A callback group whose subscriptions the executor looks at only while the gate is open.

    An executor in Python spends milliseconds on every wake-up; a node that waits for a goal should
    not be woken by every pose and image. While the gate is closed the middleware keeps the newest
    messages, as many as the subscription's depth, and drops the others.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self._users = 0

    def can_execute(self, entity: Any) -> bool:
        """Tell the executor whether to look at a subscription of this group."""
        return self._users > 0 and bool(super().can_execute(entity))

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let messages through while the context lasts."""
        self._users += 1
        if self._node.executor is not None:
            self._node.executor.wake()
        try:
            yield
        finally:
            self._users -= 1
