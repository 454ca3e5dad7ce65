from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from franky_sim.franka_robot_protocol import UDPCommand

from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.joint_line import joint_line
from kalm_core.robot.robot_settings import RobotSettings
from kalm_sim.laboratory import Laboratory
from kalm_sim.scene import draw_scene
from kalm_sim.simulator import HOME

pytestmark = pytest.mark.sim


def test_commands_answer_the_last_state_however_busy_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late: list[int] = []
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        with Laboratory(draw_scene(0), realtime=False) as laboratory:
            server: Any = laboratory._server.robot_servers[0]
            handle = server._handle_udp_command

            def note(data: bytes) -> None:
                late.append(
                    server._FrankaServer__message_id - 1 - UDPCommand.from_bytes(data).message_id
                )
                handle(data)

            monkeypatch.setattr(server, "_handle_udp_command", note)
            arm = FrankyArm(RobotSettings.for_simulator(laboratory.hostname, realtime=False))
            try:
                there = HOME + np.array([0.4, 0.1, -0.3, 0.0, 0.2, 0.3, -0.4])
                error = arm.follow_joint_path(joint_line(arm.state().q, there, 1.0))
            finally:
                arm.close()
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert len(late) > 500
    assert np.mean(np.array(late) == 0) > 0.99
    assert error < 0.02


def test_the_hand_stays_known_however_slowly_time_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kalm_sim.laboratory.SLOW_TICK", 0.15)  # as where this process thinks
    with Laboratory(draw_scene(0), realtime=False) as laboratory:
        arm = FrankyArm(RobotSettings.for_simulator(laboratory.hostname, realtime=False))
        try:
            with laboratory.slowed():
                widths, end = [], time.monotonic() + 4.0
                while time.monotonic() < end:
                    widths.append(arm.state().gripper_width)
                    time.sleep(0.05)
        finally:
            arm.close()
    assert np.isfinite(widths).all()
