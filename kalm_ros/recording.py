"""What comes over the wire goes into a bag."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from kalm_core.bags import BagWriter
from kalm_core.bags.topics import RecordedTopic
from kalm_core.errors import KalmError
from kalm_ros.message_type import message_type
from kalm_ros.qos import RECORD_DEPTH


class Recording:
    """Listens to the topics of a demonstration and writes what comes into a bag.

    It subscribes when the first recording begins, when the publishers and their promises are known,
    and stays subscribed: a spinning executor does not bear that a subscription goes away.
    """

    def __init__(self, node: Node, topics: Sequence[RecordedTopic]) -> None:
        self._node = node
        self._topics = tuple(topic.name for topic in topics)
        self._lock = threading.Lock()
        self._writer: BagWriter | None = None
        self.complete = threading.Event()
        self.start_listening()
        self._subscriptions = [self._subscribe(topic) for topic in topics]

    def start_listening(self) -> None:
        """Forget what was heard; `complete` is set when every topic has spoken."""
        with self._lock:
            self._waiting = set(self._topics)
            self._heard = dict.fromkeys(self._topics, time.monotonic())
            self._problem: KalmError | None = None
            self._lost: dict[str, int] = {}
            self.complete.clear()

    @property
    def lost(self) -> dict[str, int]:
        """Messages that the middleware dropped since then, by topic."""
        with self._lock:
            return dict(self._lost)

    def _subscribe(self, topic: RecordedTopic) -> Subscription:
        name = topic.name.lstrip("/")  # relative: the namespace of the node is the camera's too

        def write(cdr: bytes) -> None:
            self._take(topic.name, self._node.get_clock().now().nanoseconds, cdr)

        def count(event: Any) -> None:
            with self._lock:
                self._lost[topic.name] = self._lost.get(topic.name, 0) + event.total_count_change

        return self._node.create_subscription(
            message_type(topic.type),
            name,
            write,
            self._qos(name),
            callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=count, use_default_callbacks=False
            ),
            raw=True,
        )

    def _qos(self, name: str) -> QoSProfile:
        """Ask for every message where the publishers promise that, else take what comes."""
        publishers = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(name))
        best_effort = any(
            publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            for publisher in publishers
        )
        reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
        return QoSProfile(depth=RECORD_DEPTH, reliability=reliability)

    def _take(self, topic: str, stamp: int, cdr: bytes) -> None:
        with self._lock:
            self._waiting.discard(topic)
            self._heard[topic] = time.monotonic()
            if not self._waiting:
                self.complete.set()
            if self._writer is None or self._problem is not None:
                return
            try:
                self._writer.write(topic, stamp, cdr)
            except KalmError as error:
                self._problem = error

    @property
    def silent(self) -> list[str]:
        """The topics on which nothing has come."""
        with self._lock:
            return sorted(self._waiting)

    def silent_for(self, seconds: float) -> list[str]:
        """Return the topics on which nothing has come for so long [s, wall clock]."""
        with self._lock:
            since = time.monotonic() - seconds
            return sorted(name for name, heard in self._heard.items() if heard < since)

    def write_to(self, writer: BagWriter | None) -> None:
        """Write what arrives from now on to a bag; None stops writing."""
        with self._lock:
            self._writer = writer

    def check(self) -> None:
        """Raise what writing ran into, if anything."""
        with self._lock:
            if self._problem is not None:
                raise self._problem
