"""Opening the connections to the arm and the hand, with an end to every wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import franky
import numpy as np

from kalm_core.errors import RobotError
from kalm_core.robot.client_limits import lower_to_fr3
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import make_pose, rotation_angle

T = TypeVar("T")

FRANKY_ERRORS = (franky.Exception, RuntimeError)
"""What franky raises; a lost link also comes as a bare RuntimeError ("Net Exception")."""

_HAND = make_pose(
    [[np.sqrt(0.5), np.sqrt(0.5), 0.0], [-np.sqrt(0.5), np.sqrt(0.5), 0.0], [0.0, 0.0, 1.0]],
    [0.0, 0.0, 0.1034],
)  # fr3_hand_tcp in the flange


def connect_robot(settings: RobotSettings) -> Any:
    """Return a connected `franky.Robot` with the FR3's limits and our collision thresholds.

    The load and the end-effector frame stay as they are set in Desk.

    Raises:
        RobotError: nothing answers at the host in time, something refuses, or the end-effector
            frame is not that of the Franka Hand.
    """

    def connect() -> Any:
        return franky.Robot(
            settings.host,
            default_torque_threshold=settings.collision_torque,
            default_force_threshold=settings.collision_force,
            realtime_config=(
                franky.RealtimeConfig.Enforce
                if settings.realtime_kernel
                else franky.RealtimeConfig.Ignore
            ),
        )

    robot = _within(settings.connect_timeout, connect, f"the arm at {settings.host}")
    try:
        lower_to_fr3(robot)
        flange_to_tool = np.asarray(robot.state.F_T_EE.matrix)
    except FRANKY_ERRORS as error:
        raise RobotError(
            f"the arm at {settings.host} refused its limits: {error}", "check it in Desk"
        ) from error
    off = float(np.linalg.norm(flange_to_tool[:3, 3] - _HAND[:3, 3]))
    turn = float(rotation_angle(flange_to_tool, _HAND))
    if off > 0.002 or turn > 0.02:
        raise RobotError(
            f"the end-effector frame of {settings.host} is {off:.4f} m and {turn:.3f} rad away "
            "from fr3_hand_tcp",
            "select the Franka Hand as end effector in Desk, without an offset",
        )
    return robot


def connect_gripper(settings: RobotSettings) -> Any:
    """Return a connected `franky.Gripper`.

    Raises:
        RobotError: nothing answers in time, or the hand refuses.
    """
    return _within(
        settings.connect_timeout,
        lambda: franky.Gripper(settings.host),
        f"the gripper at {settings.host}",
    )


def _within(timeout: float, connect: Callable[[], T], what: str) -> T:
    """Connect in a thread, because a host that accepts but does not answer blocks for ever."""
    found: list[T] = []
    failed: list[Exception] = []
    given_up = threading.Event()

    def attempt() -> None:
        try:
            connection = connect()
        except FRANKY_ERRORS as error:
            failed.append(error)
            return
        if not given_up.is_set():  # else the late connection is dropped here
            found.append(connection)

    thread = threading.Thread(target=attempt, name=f"connect {what}", daemon=True)
    thread.start()
    thread.join(timeout)
    if found:
        return found[0]
    given_up.set()
    if failed:
        raise RobotError(
            f"cannot connect to {what}: {failed[0]}",
            "check that it is switched on, unlocked, has FCI active and is reachable; for the "
            "simulator start sim_node first and use its address",
        ) from failed[0]
    raise RobotError(
        f"{what} did not answer within {timeout} s",
        "check the address, and that no other program holds the arm (it serves one at a time)",
    )
