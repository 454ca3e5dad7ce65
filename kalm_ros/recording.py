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

    It subscribes when a recording begins, when the publishers and their promises are known, and
    stays subscribed: a spinning executor does not bear that a subscription goes away. Where a
    publisher has come back with another promise, another subscription takes the former one's place.
    """

    def __init__(self, node: Node, topics: Sequence[RecordedTopic]) -> None:
        self._node = node
        self._topics = {topic.name: topic for topic in topics}
        self._reliability: dict[str, ReliabilityPolicy] = {}
        self._subscriptions: dict[tuple[str, ReliabilityPolicy], Subscription] = {}
        self._lock = threading.Lock()
        self._writer: BagWriter | None = None
        self.complete = threading.Event()
        self.start_listening()

    def start_listening(self) -> None:
        """Forget what was heard; `complete` is set when every topic has spoken."""
        wanted = {name: self._promised(name) for name in self._topics}
        with self._lock:
            self._reliability = wanted
            self._waiting = set(self._topics)
            self._heard = dict.fromkeys(self._topics, time.monotonic())
            self._problem: KalmError | None = None
            self._lost: dict[str, int] = {}
            self.complete.clear()
        for name, reliability in wanted.items():
            if (name, reliability) not in self._subscriptions:
                subscription = self._subscribe(self._topics[name], reliability)
                self._subscriptions[name, reliability] = subscription

    @property
    def lost(self) -> dict[str, int]:
        """Messages that the middleware dropped since then, by topic."""
        with self._lock:
            return dict(self._lost)

    def _subscribe(self, topic: RecordedTopic, reliability: ReliabilityPolicy) -> Subscription:
        def write(cdr: bytes) -> None:
            if self._reliability[topic.name] == reliability:
                self._take(topic.name, self._node.get_clock().now().nanoseconds, cdr)

        def count(event: Any) -> None:
            with self._lock:
                if self._reliability[topic.name] == reliability:
                    lost = self._lost.get(topic.name, 0)
                    self._lost[topic.name] = lost + event.total_count_change

        return self._node.create_subscription(
            message_type(topic.type),
            _relative(topic.name),
            write,
            QoSProfile(depth=RECORD_DEPTH, reliability=reliability),
            callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=count, use_default_callbacks=False
            ),
            raw=True,
        )

    def _promised(self, name: str) -> ReliabilityPolicy:
        """Ask for every message where the publishers promise that, else take what comes."""
        publishers = self._node.get_publishers_info_by_topic(
            self._node.resolve_topic_name(_relative(name))
        )
        best_effort = any(
            publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            for publisher in publishers
        )
        return ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE

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


def _relative(topic: str) -> str:
    """Return the name without its slash: the namespace of the node is the camera's too."""
    return topic.lstrip("/")
