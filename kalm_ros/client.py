"""An operator's client of the graph: call an action or a service and wait, read a topic once.

The demo, the scripted demonstrator and the benchmarks use it. It knows no more of the suite than
any other rclpy program: names, types, messages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from kalm_core.errors import KalmError, Outcome
from kalm_ros.presence import Presence
from kalm_ros.qos import LISTEN_SENSOR
from kalm_ros.settling import settle
from kalm_ros.sub_action import cancel_late

WAIT_FOR_SERVER = 60.0
"""How long a server may take to appear on the graph [s, wall]."""

CALL_BACK = 2.0
"""How long a caller that gives up waits for an answer, to undo what it began [s, wall]."""

AGAIN = 1.0
"""How long a call that must not get lost waits for its answer before it is made again [s, wall]."""


class ClientError(KalmError):
    """The graph did not answer: a node is absent, or an answer is overdue."""

    outcome = Outcome.BACKEND_UNAVAILABLE


class GraphClient:
    """A node with its own executor thread, for programs that think in calls, not in callbacks.

    Use it as a context manager, or call `close`.
    """

    def __init__(self, name: str = "kalm_client") -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = Node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        # What is made once is kept: an executor that spins does not bear that a handle goes away.
        self._actions: dict[str, ActionClient] = {}
        self._services: dict[str, Any] = {}
        self._readers: dict[str, list[SimpleQueue[Any]]] = {}

    def __enter__(self) -> GraphClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._thread.join(timeout=5.0)
        for client in self._actions.values():
            client.destroy()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def send_goal(
        self, name: str, kind: Any, goal: Any, on_feedback: Callable[[Any], None] | None = None
    ) -> Any:
        """Send a goal and return its handle once the server has taken it.

        Raises:
            ClientError: no server of that name appears, or it refuses the goal.
        """
        client = self._actions.get(name)
        if client is None:
            began = time.monotonic()
            # By the executor's thread: rclpy shows the executor a client before it is complete.
            making = self._executor.create_task(ActionClient, self.node, kind, name)
            client = self.wait(making, WAIT_FOR_SERVER, f"a client of {name}")
            self._actions[name] = client
            client.wait_for_server(timeout_sec=WAIT_FOR_SERVER)
            settle(began)
        if not client.wait_for_server(timeout_sec=WAIT_FOR_SERVER):
            raise ClientError(f"no action server {name} within {WAIT_FOR_SERVER:.0f} s", "start it")
        forward = None if on_feedback is None else lambda message: on_feedback(message.feedback)
        sending = client.send_goal_async(goal, feedback_callback=forward)
        try:
            handle = self.wait(sending, 30.0, name)
        except (ClientError, KeyboardInterrupt):
            self._call_back(sending, name)
            raise
        if not handle.accepted:
            raise ClientError(f"{name} refused the goal")
        return handle

    def _call_back(self, sending: Any, name: str) -> None:
        """Cancel a goal whose acceptance nobody waited for; give that a moment to come."""
        sending.add_done_callback(cancel_late)
        with suppress(ClientError):
            self.wait(sending, CALL_BACK, name)

    def call_action(
        self,
        name: str,
        kind: Any,
        goal: Any,
        timeout: float,
        on_feedback: Callable[[Any], None] | None = None,
    ) -> Any:
        """Send a goal, wait for its end and return its result message.

        A goal that outlasts `timeout` [s, wall] is cancelled and has ended before `ClientError` is
        raised, and so is one whose caller is interrupted.

        Raises:
            BackendUnavailableError: the server vanished while it worked.
        """
        handle = self.send_goal(name, kind, goal, on_feedback)
        ending = handle.get_result_async()
        check = self.presence(name).demand
        try:
            answer = self.wait(ending, timeout, name, check)
        except (ClientError, KeyboardInterrupt):
            if not ending.done():
                self.wait(handle.cancel_goal_async(), 10.0, f"cancelling {name}", check)
                self.wait(ending, 30.0, f"{name}, cancelled,", check)
            raise
        if answer.status == GoalStatus.STATUS_UNKNOWN:  # an empty result looks like success
            raise ClientError(f"{name} does not know the goal any more", "was it restarted?")
        return answer.result

    def presence(self, name: str) -> Presence:
        """Watch the server of an action of which a goal was just sent."""
        return Presence(self._actions[name], name)

    def call_service(self, name: str, kind: Any, request: Any, timeout: float = 30.0) -> Any:
        """Call a service and return its response."""
        client = self._services.get(name)
        if client is None:
            began = time.monotonic()
            client = self._services[name] = self.node.create_client(kind, name)
            client.wait_for_service(timeout_sec=WAIT_FOR_SERVER)
            settle(began)
        if not client.wait_for_service(timeout_sec=WAIT_FOR_SERVER):
            raise ClientError(f"no service {name} within {WAIT_FOR_SERVER:.0f} s", "start it")
        return self.wait(client.call_async(request), timeout, name)

    def call_at_once(self, name: str, kind: Any, request: Any, timeout: float = 30.0) -> Any:
        """Call a service that may be called twice, without a moment's wait; return its response.

        It is called again every second until any of the calls is answered.

        Raises:
            ClientError: there is no such service, or no answer within `timeout` [s, wall].
        """
        end = time.monotonic() + timeout
        client = self.node.create_client(kind, name)
        if not client.wait_for_service(timeout_sec=timeout):
            raise ClientError(f"no service {name} within {timeout:.0f} s", "start its node")
        answers: SimpleQueue[Any] = SimpleQueue()
        while time.monotonic() < end:
            client.call_async(request).add_done_callback(lambda call: answers.put(call.result()))
            with suppress(Empty):
                return answers.get(timeout=AGAIN)
        raise ClientError(
            f"{name} gave no answer within {timeout:.0f} s", "look at the output of its node"
        )

    def listen(self, name: str, kind: Any, keep: Callable[[Any], None]) -> None:
        """Have `keep` called with every message of a topic, in the executor's thread."""
        self.node.create_subscription(kind, name, keep, LISTEN_SENSOR)

    def read_topic(self, name: str, kind: Any, timeout: float = 10.0) -> Any:
        """Return the next message on a topic."""
        waiting = self._readers.get(name)
        if waiting is None:
            waiting = self._readers[name] = []
            self.listen(name, kind, lambda message: _hand_out(waiting, message))
        arrival: SimpleQueue[Any] = SimpleQueue()
        waiting.append(arrival)
        try:
            return arrival.get(timeout=timeout)
        except Empty:
            waiting.remove(arrival)
            raise ClientError(
                f"nothing on {name} within {timeout:.0f} s", "is its node up?"
            ) from None

    @staticmethod
    def wait(
        future: Any, timeout: float, what: str, check: Callable[[], None] = lambda: None
    ) -> Any:
        """Wait for a future that the executor's thread completes; `check` may raise meanwhile."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        end = time.monotonic() + timeout
        while not done.wait(0.1):  # short waits keep Ctrl-C alive
            if time.monotonic() > end:
                raise ClientError(f"{what} gave no answer within {timeout:.0f} s")
            check()
        return future.result()


def _hand_out(waiting: list[SimpleQueue[Any]], message: Any) -> None:
    """Give a message to everybody who waits for one."""
    while waiting:
        waiting.pop().put(message)
