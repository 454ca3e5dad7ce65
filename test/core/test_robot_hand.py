"""The hand through the real franky client, against franky-sim."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from simulated_arm import joints_along, reach, time_until_still

from kalm_core.errors import (
    CancelledError,
    GoalError,
    GripperEmptyError,
    RobotError,
)
from kalm_core.progress import Progress
from kalm_core.robot.gripper_driver import GripperDriver
from kalm_core.robot.whole_motion import do_motion
from kalm_core.trajectory import JointPath

pytestmark = pytest.mark.sim


def test_nothing_moves_while_the_opening_of_the_hand_is_not_known(arm, monkeypatch):
    trajectory, before = reach(arm, 0.05), arm.state().q
    joints, stay = joints_along(arm, trajectory), JointPath(np.stack([before] * 2), np.arange(2.0))
    unknown = replace(arm.state(), gripper_width=float("nan"))
    monkeypatch.setattr(arm, "state", lambda: unknown)
    with pytest.raises(RobotError, match="hand does not answer"):
        do_motion(arm, stay, trajectory, joints, None)
    with pytest.raises(RobotError, match="hand does not answer"):
        arm.follow_ee_path(trajectory, joints)
    monkeypatch.undo()
    assert np.abs(arm.state().q - before).max() < 1e-3


def test_a_hand_that_is_closed_while_it_connects_anew_stays_closed(arm):
    class Silent:
        @property
        def state(self) -> None:
            raise RuntimeError("Net Exception")

    connecting, going_on = threading.Event(), threading.Event()
    connections = [Silent()]

    def connect() -> object:
        if not connections:
            connecting.set()
            going_on.wait(10.0)
        return connections.pop() if connections else SimpleNamespace(state=SimpleNamespace(width=1))

    driver = GripperDriver(connect, arm.settings.model_copy(update={"answer_timeout": 0.2}))
    assert connecting.wait(10.0)
    driver.close()
    going_on.set()
    driver._reader.join(10.0)
    assert not driver._reader.is_alive()
    assert np.isnan(driver.width) and "closed" in driver.error
    assert driver._gripper is None


def test_a_hand_that_cannot_be_connected_anew_is_not_taken_for_a_healthy_one(arm, monkeypatch):
    class Lost:
        @property
        def state(self) -> None:
            raise RuntimeError("Net Exception")

    connections: list[object] = [Lost()]

    def connect() -> object:
        if connections:
            return connections.pop()
        raise RobotError("nothing listens there")

    impatient = arm.settings.model_copy(update={"connect_timeout": 1.0})
    driver = GripperDriver(connect, impatient)
    monkeypatch.setattr(arm, "_gripper", driver)
    for _ in range(2):
        with pytest.raises(RobotError, match="nothing listens there"):
            arm.recover()
        state = arm.state()
        assert np.isnan(state.gripper_width)
        assert any(error.startswith("gripper: ") for error in state.errors)
    with pytest.raises(RobotError, match="hand does not answer"):
        driver.fresh_width()
    driver.close()
    assert driver.stuck


def test_a_hand_that_was_silent_is_unknown_and_then_connected_anew(server, arm):
    server.pause(1.6)  # libfranka gives the connection up after a second
    end = time.monotonic() + 20.0
    while np.isfinite(arm.state().gripper_width):
        assert time.monotonic() < end
        time.sleep(0.02)
    while np.isnan(arm.state().gripper_width):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert arm.move_gripper(0.06, 0.0, 0.0) == pytest.approx(0.06, abs=0.003)
    assert not arm.state().errors


def test_the_gripper_opens_closes_and_refuses_what_it_cannot_do(arm):
    assert arm.move_gripper(0.07, 0.0, 0.0) == pytest.approx(0.07, abs=0.003)
    assert arm.move_gripper(0.0, 0.05, 20.0) == pytest.approx(0.0, abs=0.003)
    with pytest.raises(GoalError, match=r"0.2 m"):
        arm.move_gripper(0.2, 0.0, 0.0)
    with pytest.raises(CancelledError):
        arm.move_gripper(0.08, 0.02, 0.0, Progress(should_stop=lambda: True))
    assert arm.move_gripper(0.04, 0.0, 0.0) == pytest.approx(0.04, abs=0.003)


def test_fingers_that_close_on_nothing_end_the_path(arm):
    arm.move_gripper(0.06, 0.0, 0.0)
    trajectory = reach(arm, 0.06, duration=1.0)
    trajectory.gripper[24:] = 0.0
    with pytest.raises(GripperEmptyError, match=r"nothing is between them"):
        arm.follow_ee_path(trajectory, joints_along(arm, trajectory))
    assert time_until_still(arm, arm.state().time) < 0.3


def test_the_arm_waits_where_the_path_closes_the_hand(arm, monkeypatch):
    # on nothing here, and on purpose
    monkeypatch.setattr(arm, "settings", arm.settings.model_copy(update={"gripper_empty": 0.0}))
    arm.move_gripper(0.06, 0.0, 0.0)
    trajectory = reach(arm, 0.06, duration=2.0)
    trajectory.gripper[24:] = 0.0
    seen = []
    arm.follow_ee_path(
        trajectory,
        joints_along(arm, trajectory),
        1.0,
        Progress(lambda _, fraction, __: seen.append((fraction, arm.state().gripper_width))),
    )
    waiting = [width for fraction, width in seen if abs(fraction - 23 / 47) < 0.001]
    assert max(waiting) > 0.02 > min(waiting)
    assert all(width > 0.05 for fraction, width in seen if fraction < 0.4)
    assert all(width < 0.01 for fraction, width in seen if fraction > 0.6)
    end = arm.state().T_base_ee[:3, 3]
    assert np.linalg.norm(end - trajectory.positions[-1]) < 0.004
