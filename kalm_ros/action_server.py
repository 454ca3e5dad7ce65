"""The one shape of every action of the suite: a goal in, one call into the core, an outcome out."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from kalm_core.errors import BusyError, CancelledError, KalmError, Outcome
from kalm_core.progress import Progress
from kalm_ros.conversions import outcome_to_ros
from kalm_ros.locks import AllOf

RESULT_TIMEOUT = 300
"""How long a result can still be asked for [s]."""

FEEDBACK_PERIOD = 0.1
"""Feedback of one stage is not sent more often than this [s]."""

DISCOVERY = 2.0
"""A goal's sender is known to the middleware after this time, or it is gone [s]."""

Execute = Callable[[Any, Any, Progress], str]
MakeFeedback = Callable[[str, float, str], Any]


class GoalServer:
    """An action server that runs one goal at a time and ends each one with an `Outcome`.

    Every goal is accepted, because a rejection carries no text; one that cannot be run is aborted
    at once with its outcome and a sentence. A cancel is always accepted.

    Args:
        node: the node that offers the action.
        kind: the action's type; its result has the field `outcome`.
        name: the action's name, relative.
        execute: called as `execute(goal, result, progress)`; fills the result, returns one
            sentence on success, and raises a `KalmError` otherwise (what it has filled is sent).
        feedback: makes a feedback message of (stage, fraction, text).
        running: a lock that servers share which must not run at the same time.
        attended: stop a goal when the action has no client any more, of whatever goal. A client
            that leaves is missed at once; one that was killed or cut off when the middleware gives
            it up, 20 s later with Fast DDS and its default settings.
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        name: str,
        execute: Execute,
        feedback: MakeFeedback,
        *,
        running: threading.Lock | AllOf | None = None,
        attended: bool = False,
    ) -> None:
        self._node = node
        self._kind = kind
        self._name = name
        self._work = execute
        self._feedback = feedback
        self._running: threading.Lock | AllOf = running or threading.Lock()
        self._attended = attended
        self._results = f"{node.resolve_service_name(name)}/_action/get_result"
        self._server = ActionServer(
            node,
            kind,
            name,
            self._execute,
            callback_group=ReentrantCallbackGroup(),
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            result_timeout=RESULT_TIMEOUT,
        )

    @property
    def busy(self) -> bool:
        """Whether a goal runs."""
        return self._running.locked()

    def _execute(self, goal: ServerGoalHandle) -> Any:
        result = self._kind.Result()
        outcome, text = self._outcome_of(goal, result)
        result.outcome = outcome_to_ros(outcome, text)
        if not self._node.context.ok():
            return result  # the process ends; nobody can be told any more
        if outcome is Outcome.SUCCEEDED:
            goal.succeed()
        elif outcome is Outcome.CANCELLED and goal.is_cancel_requested:
            goal.canceled()
        else:
            self._node.get_logger().warning(f"{self._name}: {outcome.name}: {text}")
            goal.abort()
        return result

    def _outcome_of(self, goal: ServerGoalHandle, result: Any) -> tuple[Outcome, str]:
        """Run the goal and say how it ended."""
        try:
            if not self._running.acquire(blocking=False):
                raise BusyError(
                    f"{self._name}: another goal runs", "wait for its end, or cancel it"
                )
            try:
                return Outcome.SUCCEEDED, self._work(goal.request, result, self._progress(goal))
            finally:
                self._running.release()
        except KalmError as error:
            return error.outcome, str(error)
        except Exception as error:
            self._node.get_logger().error(f"{self._name}: {traceback.format_exc()}")
            return Outcome.INTERNAL_ERROR, f"{type(error).__name__}: {error}"

    def _progress(self, goal: ServerGoalHandle) -> Progress:
        """Return what the core reports to, and asks whether to stop."""
        last: dict[str, float] = {}

        def report(stage: str, fraction: float, text: str) -> None:
            now = time.monotonic()
            if fraction < 1.0 and now - last.get(stage, -FEEDBACK_PERIOD) < FEEDBACK_PERIOD:
                return
            last[stage] = now
            if self._node.context.ok():
                goal.publish_feedback(self._feedback(stage, fraction, text))

        began, attended, told = time.monotonic(), False, False

        def deserted() -> bool:
            nonlocal attended, told
            if self._node.count_clients(self._results) > 0:
                attended = True
                return False
            # a goal may arrive before the middleware has made its sender known
            if not attended and time.monotonic() - began < DISCOVERY:
                return False
            if not told:
                self._node.get_logger().warning(f"{self._name}: no client is left; stopping")
                told = True
            return True

        def should_stop() -> bool:
            if not self._node.context.ok() or goal.is_cancel_requested:
                return True
            return self._attended and deserted()

        return Progress(report, should_stop)


def wait_or_stop(event: threading.Event, seconds: float, progress: Progress, what: str) -> bool:
    """Wait for an event; return whether it came.

    Raises:
        CancelledError: the caller asked to stop.
    """
    end = time.monotonic() + seconds
    while not event.wait(min(0.05, max(end - time.monotonic(), 0.0))):
        if progress.should_stop():
            raise CancelledError(what)
        if time.monotonic() >= end:
            return False
    return True
