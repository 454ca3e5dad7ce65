"""A client that has a motion executed says that it lives; the arm stops when it falls silent.

An action's server is not told when its client was killed or the network is cut, and DDS notices it
only after many seconds. So the client repeats a word of its own on a topic while it waits.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.node import Node
from std_msgs.msg import String

from kalm_ros.gate import Gate
from kalm_ros.periodic import Periodic
from kalm_ros.qos import STATES

TOPIC = "robot/alive"

RATE = 20.0
"""How often a client speaks [Hz]."""


class Heartbeat:
    """Speaks for a client."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(String, TOPIC, STATES)

    @contextmanager
    def beating(self, wanted: Callable[[], bool] = lambda: True) -> Iterator[str]:
        """Speak while the context lasts; gives the word that is said.

        Args:
            wanted: silent as soon as it is false, so that a cancel which gets lost stops the arm.
        """
        word = uuid.uuid4().hex

        def speak() -> None:
            if wanted():
                self._publisher.publish(String(data=word))

        periodic = Periodic(self._node, RATE, speak)
        try:
            yield word
        finally:
            periodic.close()


class HeartbeatWatch:
    """Listens for clients.

    Whoever asks whether a client is gone listens first, on his own thread: words that wait for a
    busy executor would count as silence.
    """

    def __init__(self, node: Node) -> None:
        self._heard: dict[str, float] = {}
        self._lock = threading.Lock()
        self._words = node.create_subscription(
            String, TOPIC, lambda _: None, STATES, callback_group=Gate(node)
        )

    def _listen(self) -> None:
        """Take the words that have come since; with the lock held."""
        with self._words.handle:  # taken as `rclpy.wait_for_message` does, past the closed gate
            while taken := self._words.handle.take_message(String, False):
                word = taken[0].data
                if word in self._heard:
                    self._heard[word] = time.monotonic()

    @contextmanager
    def watching(self, word: str, silence: float) -> Iterator[Callable[[], bool]]:
        """Watch for a client's word; gives a function that says whether it is gone.

        Once gone is gone: the arm has been told to stop, whatever comes after.

        Args:
            word: what the client says.
            silence: it is gone when it has said nothing for so long [s, wall clock].
        """
        with self._lock:
            self._heard[word] = time.monotonic()
        missed = threading.Event()

        def gone() -> bool:
            with self._lock:
                self._listen()
                if time.monotonic() - self._heard[word] > silence:
                    missed.set()
            return missed.is_set()

        try:
            yield gone
        finally:
            with self._lock:
                del self._heard[word]
