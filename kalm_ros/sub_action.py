"""Calling another node's action from inside a goal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from kalm_core.errors import BackendUnavailableError, CancelledError
from kalm_core.progress import Progress
from kalm_ros.conversions import error_from_ros
from kalm_ros.presence import Presence
from kalm_ros.settling import settle

POLL = 0.02
"""How often to ask whether the caller wants to stop [s]; a cancelled arm waits for it."""

ACCEPT = 15.0
"""How long a server may take to accept a goal [s]; every server of the suite does so at once."""

ASK_AGAIN = 10.0
"""How often to ask for a result that has not come [s]."""

UNDO = 20.0
"""How long a cancelled server may take to undo its work [s]."""


class SubAction:
    """A client of one action that passes a cancel on and waits until it took effect.

    Args:
        node: the node that calls.
        kind: the action's type; its result has the field `outcome`.
        name: the action's name.
        offered_by: the node that offers it, for error texts.
        patience: how long the server may take to appear [s].
    """

    def __init__(self, node: Node, kind: Any, name: str, offered_by: str, patience: float) -> None:
        self._name = name
        self._offered_by = offered_by
        self._patience = patience
        self._settled = False
        self._client = ActionClient(node, kind, name, callback_group=ReentrantCallbackGroup())

    def call(self, goal: Any, progress: Progress, on_feedback: Callable[[Any], None]) -> Any:
        """Run a goal to its end and return its result.

        Raises:
            KalmError: what the server ended with, as the error that it stands for.
            BackendUnavailableError: the server is absent, or vanishes while it works.
            CancelledError: the caller asked to stop; the server has stopped too.
        """
        self._wait_for_server(progress)
        sending = self._client.send_goal_async(
            goal, feedback_callback=lambda message: on_feedback(message.feedback)
        )
        handle = self._accepted(sending)
        answer = self._answer_to(handle, progress)
        error = error_from_ros(answer.result.outcome)
        if error is not None:
            raise error
        if answer.status != GoalStatus.STATUS_SUCCEEDED:  # an empty result looks like success
            raise BackendUnavailableError(
                f"{self._offered_by} lost a goal of {self._name} (status {answer.status})",
                f"look at the output of {self._offered_by}",
            )
        return answer.result

    def _accepted(self, sending: Future) -> Any:
        """Wait for the goal's handle; a stop is passed on as soon as there is one."""
        done = threading.Event()
        sending.add_done_callback(lambda _: done.set())
        if not done.wait(ACCEPT):
            sending.add_done_callback(cancel_late)
            raise BackendUnavailableError(
                f"{self._offered_by} did not answer a goal of {self._name} within {ACCEPT:.0f} s",
                f"look at the output of {self._offered_by}",
            )
        handle = sending.result()
        if not handle.accepted:
            raise BackendUnavailableError(f"{self._offered_by} refused a goal of {self._name}")
        return handle

    def _wait_for_server(self, progress: Progress) -> None:
        began = time.monotonic()
        while not self._client.server_is_ready():
            self._settled = False
            if progress.should_stop():
                raise CancelledError(f"waiting for {self._offered_by}")
            if time.monotonic() - began > self._patience:
                raise BackendUnavailableError(
                    f"{self._offered_by} does not offer {self._name}",
                    f"start {self._offered_by} and look at its output",
                )
            time.sleep(POLL)
        if not self._settled:
            settle(began)
            self._settled = True

    def _answer_to(self, handle: Any, progress: Progress) -> Any:
        """Wait for the end of a goal; cancel it when the caller wants to stop."""
        answered = _Answered()
        answered.ask(handle)
        presence = Presence(self._client, self._name, self._offered_by)
        began = asked = time.monotonic()
        stopping: float | None = None
        while not answered.wait(POLL):
            presence.demand()
            now = time.monotonic()
            if now - asked > ASK_AGAIN:
                answered.ask(handle)
                asked = now
            if stopping is None and progress.should_stop():
                stopping = now
                handle.cancel_goal_async()
            if stopping is not None and now - stopping > UNDO:
                raise BackendUnavailableError(
                    f"{self._offered_by} did not stop {self._name} within {UNDO:.0f} s, "
                    f"{now - began:.0f} s after it began"
                )
        return answered.answer


class _Answered:
    """The first answer to any of several requests for the same result."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.answer: Any = None

    def ask(self, handle: Any) -> None:
        """Ask for the result of a goal; an answer that gets lost must not keep us waiting."""
        handle.get_result_async().add_done_callback(self._keep)

    def _keep(self, future: Future) -> None:
        self.answer = future.result()
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Return whether there is an answer."""
        return self._event.wait(seconds)


def cancel_late(sending: Future) -> None:
    """Cancel a goal that was accepted after its caller had given up."""
    handle = sending.result()
    if handle.accepted:
        handle.cancel_goal_async()
