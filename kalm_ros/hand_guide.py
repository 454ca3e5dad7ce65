"""The operator's side of guiding by hand: the arm is loose, and typed letters move the fingers."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kalm_core.errors import CancelledError, KalmError
from kalm_core.fr3_limits import HAND_OPENING
from kalm_interfaces.action import GuideByHand, MoveGripper
from kalm_ros.client import GraphClient
from kalm_ros.conversions import error_from_ros
from kalm_ros.heartbeat import Heartbeat
from kalm_ros.presence import Presence

KEYS = "o + Enter opens the hand, c + Enter closes it"
"""What can be typed while the arm is loose."""

POLL = 0.2
"""How long to wait for a line [s]."""


class HandGuide:
    """The arm while it is loose."""

    def __init__(self, client: GraphClient, ending: Any, presence: Presence) -> None:
        """Take the future of the goal that keeps the arm loose, and who watches its server."""
        self._client = client
        self._ending = ending
        self._presence = presence

    def obey(self, typed: str | None) -> bool:
        """Do what was typed; return whether to go on.

        Args:
            typed: "o" and "c" open and close the hand, anything else ends it; None is nothing.

        Raises:
            KalmError: the arm is loose no more, its node is gone, or the hand failed.
        """
        if self._ending.done():
            _demand_success(self._ending.result().result)
            return False
        self._presence.demand()
        if typed is None:
            return True
        goals = {"o": MoveGripper.Goal(width=HAND_OPENING), "c": MoveGripper.Goal(force=-1.0)}
        if typed not in goals:
            return False
        _demand_success(
            self._client.call_action("robot/move_gripper", MoveGripper, goals[typed], 60.0)
        )
        return True


@contextmanager
def guided_by_hand(client: GraphClient) -> Iterator[HandGuide]:
    """Have the arm let go while this context lasts, and hold again at its end.

    Raises:
        KalmError: it did not come to hold as it should.
    """
    with Heartbeat(client.node).beating() as word:
        goal = GuideByHand.Goal(client=word)
        handle = client.send_goal("robot/guide_by_hand", GuideByHand, goal)
        ending = handle.get_result_async()
        presence = client.presence("robot/guide_by_hand")

        def hold() -> Any:
            if not ending.done():
                cancelling = handle.cancel_goal_async()
                client.wait(cancelling, 10.0, "the end of guiding", presence.demand)
            return client.wait(ending, 30.0, "robot_node", presence.demand).result

        try:
            yield HandGuide(client, ending, presence)
        except BaseException:
            with suppress(KalmError):  # why it ends says more
                hold()
            raise
        with suppress(CancelledError):  # it was asked for
            _demand_success(hold())


def _demand_success(result: Any) -> None:
    error = error_from_ros(result.outcome)
    if error is not None:
        raise error


class Typed:
    """Lines typed on the standard input, or coming through a pipe.

    Args:
        descriptor: of the input.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def take(self) -> str | None:
        """Wait a moment for a line; None when there is none, or the input is closed."""
        if b"\n" not in self._rest:
            ready, _, _ = select.select([self._descriptor], [], [], POLL)
            if not ready:
                return None
            read = os.read(self._descriptor, 4096)
            if not read:
                time.sleep(POLL)
            self._rest += read
        line, end, rest = self._rest.partition(b"\n")
        if not end:
            return None
        self._rest = rest
        return line.decode(errors="replace").strip()
