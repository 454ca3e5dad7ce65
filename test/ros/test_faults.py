"""Faults of arm, hand and client through real processes: each has its outcome, and all goes on.

The simulated laboratory in which things fail and `robot_node`, each in its own process.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from benchmarks.execution_graph import StandInEntry
from benchmarks.execution_sim import FAULT_SERVICE
from kalm_core.errors import Outcome
from kalm_core.robot.joint_line import joint_line
from kalm_interfaces.action import ExecuteMotion, ExecuteTrajectory, MoveGripper
from kalm_ros import conversions as c
from kalm_ros.client import GraphClient
from kalm_ros.heartbeat import Heartbeat
from kalm_ros.motion_messages import view_motion_to_ros
from kalm_ros.node_table import select_nodes
from kalm_ros.supervisor import Supervisor
from kalm_sim.viewpoints import READY

pytestmark = pytest.mark.graph

PEAK = 0.8
"""Speed of the fastest joint on every path here, at full speed [rad/s]."""
SPEED = 0.6
"""The share of it that `robot_node` allows."""


class Cell:
    """The arm with its laboratory, and a client."""

    def __init__(self, client: GraphClient, lines: list[str]) -> None:
        self.client = client
        self.lines = lines
        for name in ("push", "drop_connection", "jam_fingers", "clear"):
            self.fault(name)  # the first call of a service takes its time
        assert self.call("robot/recover").success

    def call(self, service: str) -> Trigger.Response:
        return self.client.call_service(service, Trigger, Trigger.Request(), 60.0)

    def fault(self, name: str) -> None:
        response = self.call(FAULT_SERVICE.format(name))
        assert response.success, response.message

    def joints(self) -> np.ndarray:
        return c.joint_state_from_ros(self.client.read_topic("joint_states", JointState, 20.0))[0]

    def start(self, target: np.ndarray):
        path = joint_line(self.joints(), target, PEAK)
        message = c.joint_path_to_ros(path, c.header_to_ros(0, c.BASE_FRAME))
        goal = ExecuteTrajectory.Goal(joint_path=message, speed_scale=1.0)
        return self.client.send_goal("robot/execute_trajectory", ExecuteTrajectory, goal)

    def end(self, handle) -> tuple[Outcome, str]:
        result = self.client.wait(handle.get_result_async(), 120.0, "the result").result
        return Outcome(result.outcome.code), result.outcome.message

    def go_ready(self) -> None:
        outcome, message = self.end(self.start(READY))
        assert outcome is Outcome.SUCCEEDED, message

    def away(self) -> np.ndarray:
        target = self.joints()
        target[0] += 0.8 if target[0] < 0.0 else -0.8
        return target

    def assert_still(self) -> None:
        time.sleep(0.5)
        before = self.joints()
        time.sleep(0.5)
        assert np.abs(self.joints() - before).max() < 2e-3

    def gripper(self, width: float) -> Outcome:
        goal = MoveGripper.Goal(width=width, speed=0.1)
        result = self.client.call_action("robot/move_gripper", MoveGripper, goal, 120.0)
        return Outcome(result.outcome.code)


@pytest.fixture(scope="module")
def cell():
    host = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
    entries = []
    for entry in select_nodes(learning=False):
        fields = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
        if entry.name == "sim_node":
            entries.append(StandInEntry(**fields, by="benchmarks.execution_sim"))
        elif entry.name == "robot_node":
            entries.append(entry)
    parameters = {
        "sim_node": {"host": host, "empty": True},
        "robot_node": {"robot.host": host, "speed_scale": SPEED},
    }
    lines: list[str] = []
    with Supervisor(entries, parameters, echo=lines.append) as supervisor:
        supervisor.wait_ready(180.0)
        with GraphClient("faults_test") as client:
            yield Cell(client, lines)
    print("\n".join(lines[-50:]))


def test_a_push_is_a_reflex_until_somebody_recovers_the_arm(cell):
    cell.go_ready()
    handle = cell.start(cell.away())
    time.sleep(1.0)
    cell.fault("push")
    assert cell.end(handle)[0] is Outcome.REFLEX
    cell.assert_still()
    outcome, message = cell.end(cell.start(READY))
    assert outcome is Outcome.REFLEX
    assert "cartesian_reflex" in message and "recover" in message
    assert cell.call("robot/recover").success
    cell.go_ready()


def test_a_dropped_connection_is_made_again_by_recover(cell):
    cell.go_ready()
    handle = cell.start(cell.away())
    time.sleep(1.0)
    cell.fault("drop_connection")
    assert cell.end(handle)[0] is Outcome.CONNECTION_LOST
    assert cell.call("robot/recover").success
    cell.assert_still()
    cell.go_ready()


def test_no_goal_is_faster_than_the_arms_own_node_allows(cell):
    cell.go_ready()
    began = time.monotonic()
    fastest = 0.0
    done = cell.start(cell.away()).get_result_async()
    while not done.done() and time.monotonic() < began + 60.0:
        state = cell.client.read_topic("joint_states", JointState, 20.0)
        fastest = max(fastest, np.abs(state.velocity[:7]).max())
    assert 0.7 * SPEED * PEAK < fastest < 1.15 * SPEED * PEAK


def test_fingers_that_are_stuck_are_named(cell):
    assert cell.gripper(0.08) is Outcome.SUCCEEDED
    cell.fault("jam_fingers")
    assert cell.gripper(0.02) is Outcome.GRIPPER_BLOCKED
    cell.fault("clear")
    assert cell.gripper(0.02) is Outcome.SUCCEEDED


def test_a_motion_for_narrower_fingers_is_refused(cell):
    cell.go_ready()
    assert cell.gripper(0.06) is Outcome.SUCCEEDED
    now = cell.client.node.get_clock().now().nanoseconds
    path = joint_line(cell.joints(), cell.away(), PEAK)
    with Heartbeat(cell.client.node).beating() as word:
        motion = view_motion_to_ros(path, now, 0.02)
        goal = ExecuteMotion.Goal(motion=motion, speed_scale=1.0, client=word)
        outcome = cell.client.call_action("robot/execute_motion", ExecuteMotion, goal, 60.0).outcome
    assert Outcome(outcome.code) is Outcome.MOTION_REFUSED
    assert "certified for 20 mm" in outcome.message
    cell.assert_still()


def test_the_arm_stops_when_its_client_is_killed(cell):
    cell.go_ready()
    target = cell.away()
    script = Path(__file__).parent / "mortal_client.py"
    client = subprocess.Popen(
        [sys.executable, str(script), *map(str, target)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert client.stdout is not None
        while client.stdout.readline() != "moving\n":
            assert client.poll() is None
        cell.lines.clear()
    finally:
        client.kill()
        client.wait()
    time.sleep(1.5)
    cell.assert_still()
    assert np.abs(cell.joints() - target).max() > 0.05
    assert any("robot/execute_motion: CLIENT_GONE" in line for line in cell.lines)
    cell.go_ready()
