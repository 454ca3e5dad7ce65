"""An arm that is guided by hand: franky-sim, and somebody who pushes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from simulated_arm import AWAY, time_until_still

from kalm_core.errors import (
    BusyError,
    CancelledError,
    RobotError,
)
from kalm_core.progress import Progress
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.joint_line import joint_line
from kalm_core.se3 import Array

pytestmark = pytest.mark.sim


def moved(arm: FrankyArm, since: Array) -> float:
    """Return how far the hand is from where it was in a (4, 4) pose [m]."""
    return float(np.linalg.norm(arm.state().T_base_ee[:3, 3] - since[:3, 3]))


def test_a_guided_arm_stays_where_it_is_left_and_goes_where_it_is_pushed(server, arm):
    start, seen = arm.state().T_base_ee, {}

    def person(_: str, fraction: float, __: str) -> None:
        now = fraction * 7.0
        if now > 4.0 and "left" not in seen:  # it has let go 2 s ago
            seen["left"] = moved(arm, start)
            server.push(0.0, 10.0, 0.0)
        elif now > 5.0 and "pushed" not in seen:
            server.push(0.0, 0.0, 0.0)
            seen["pushed"] = moved(arm, start)
            arm.move_gripper(0.02, 0.1, 0.0)  # the fingers move meanwhile

    arm.guide(7.0, Progress(person))
    assert seen["left"] < 0.01
    assert seen["pushed"] > 0.03
    assert arm.state().gripper_width == pytest.approx(0.02, abs=0.003)
    since = arm.state()
    assert time_until_still(arm, since.time) < 0.5
    server.push(0.0, 12.0, 0.0)
    time.sleep(1.0)
    server.push(0.0, 0.0, 0.0)
    assert moved(arm, since.T_base_ee) < 0.01  # it holds again


def test_a_guided_arm_that_becomes_fast_is_stopped(server, arm):
    def person(_: str, fraction: float, __: str) -> None:
        if fraction > 0.3:
            server.push(0.0, 40.0, 0.0)

    try:
        with pytest.raises(RobotError, match=r"joint \d moved at .* while it was guided"):
            arm.guide(8.0, Progress(person))
    finally:
        server.push(0.0, 0.0, 0.0)
    assert time_until_still(arm, arm.state().time) < 1.0


@pytest.mark.parametrize("end", ["cancel", "stop"])
def test_guiding_ends_when_it_is_told_to(arm, end):
    began = time.monotonic()
    if end == "cancel":
        with pytest.raises(CancelledError):
            arm.guide(60.0, Progress(should_stop=lambda: time.monotonic() > began + 1.0))
    else:
        threading.Timer(1.0, arm.stop).start()
        with pytest.raises(RobotError, match="stopped by request"):
            arm.guide(60.0)
    assert not arm.state().moving


def test_no_path_begins_while_the_arm_is_guided(arm):
    refused = []

    def report(*_: object) -> None:
        if not refused:
            with pytest.raises(BusyError) as error:
                arm.follow_joint_path(joint_line(arm.state().q, AWAY))
            refused.append(error)

    arm.guide(0.5, Progress(report))
    assert len(refused) == 1
