"""The operator's side of guiding by hand: the arm is loose, and typed letters move the fingers."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kalm_core.fr3_limits import HAND_OPENING
from kalm_interfaces.action import GuideByHand, MoveGripper
from kalm_ros.client import GraphClient
from kalm_ros.conversions import error_from_ros
from kalm_ros.heartbeat import Heartbeat

KEYS = "o + Enter opens the hand, c + Enter closes it"
"""What can be typed while the arm is loose."""

POLL = 0.2
"""How long to wait for a line [s]."""

FORCE = 20.0
"""With which "c" closes them [N]."""


class HandGuide:
    """The arm while it is loose."""

    def __init__(self, client: GraphClient, ending: Any) -> None:
        """Take the future of the goal that keeps the arm loose."""
        self._client = client
        self._ending = ending

    def obey(self, typed: str | None) -> bool:
        """Do what was typed; return whether to go on.

        Args:
            typed: "o" and "c" open and close the hand, anything else ends it; None is nothing.

        Raises:
            KalmError: the arm is loose no more, or the hand failed.
        """
        if self._ending.done():
            _demand_success(self._ending.result().result)
            return False
        if typed is None:
            return True
        goals = {"o": MoveGripper.Goal(width=HAND_OPENING), "c": MoveGripper.Goal(force=FORCE)}
        if typed not in goals:
            return False
        _demand_success(
            self._client.call_action("robot/move_gripper", MoveGripper, goals[typed], 60.0)
        )
        return True


@contextmanager
def guided_by_hand(client: GraphClient) -> Iterator[HandGuide]:
    """Have the arm let go while this context lasts, and hold again at its end."""
    with Heartbeat(client.node).beating() as word:
        goal = GuideByHand.Goal(client=word)
        handle = client.send_goal("robot/guide_by_hand", GuideByHand, goal)
        ending = handle.get_result_async()
        try:
            yield HandGuide(client, ending)
        finally:
            if not ending.done():
                client.wait(handle.cancel_goal_async(), 10.0, "the end of guiding")
            client.wait(ending, 30.0, "robot_node")


def _demand_success(result: Any) -> None:
    error = error_from_ros(result.outcome)
    if error is not None:
        raise error


def take_typed() -> str | None:
    """Wait a moment for a line on the standard input; None when there is none, or it is closed."""
    ready, _, _ = select.select([sys.stdin], [], [], POLL)
    if not ready:
        return None
    line = sys.stdin.readline()
    if not line:
        time.sleep(POLL)
        return None
    return line.strip()
