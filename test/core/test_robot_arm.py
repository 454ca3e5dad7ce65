"""The real franky client against franky-sim in a process of its own."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kalm_core.errors import (
    BusyError,
    CancelledError,
    GoalError,
    GripperEmptyError,
    RobotError,
    TrackingError,
)
from kalm_core.planning.robot_model import RobotModel
from kalm_core.progress import Progress
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.gripper_driver import GripperDriver
from kalm_core.robot.joint_line import joint_line
from kalm_core.robot.punctuality import Punctuality
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.robot.whole_motion import do_motion
from kalm_core.se3 import Array, rotation_angle
from kalm_core.trajectory import EndEffectorTrajectory, JointPath

pytestmark = pytest.mark.sim

START = np.array([0.0, 0.0, 0.0, -1.57, 0.0, 1.57, 0.785])
AWAY = START + np.array([0.3, 0.2, -0.2, -0.2, 0.2, 0.2, 0.3])

# The wrist's own damping of franky-sim is unstable at 1 kHz (joint 7 hums at 0.08 rad/s): lower it.
# A line on the standard input, "x y z" in newtons, pushes the hand until the next one.
SERVER = """
import sys, threading
import mujoco, numpy
from franky_sim import SimulationServer
from franky_sim.mujoco_simulator import MujocoSimulator
with MujocoSimulator() as simulator:
    simulator.add_robot(kp=(4500.0,) * 2 + (3500.0,) * 2 + (1000.0,) * 3,
                        kv=(450.0,) * 2 + (350.0,) * 2 + (70.0,) * 3)
    force = numpy.zeros(3)
    def read():
        for line in sys.stdin:
            force[:] = [float(word) for word in line.split()]
    def push(_):
        hand = next(b for b in range(simulator.model.nbody)
                    if simulator.model.body(b).name.endswith("hand"))
        simulator.data.xfrc_applied[hand, :3] = force
    simulator.register_pre_step_callback(push)
    threading.Thread(target=read, daemon=True).start()
    with SimulationServer(simulator, [sys.argv[1]]) as server:
        print("ready", flush=True)
        server.run_forever()
"""


class Server:
    """franky-sim with one FR3 at an address of its own."""

    def __init__(self) -> None:
        self.host = (
            f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, self.host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def push(self, x: float, y: float, z: float) -> None:
        """Push the hand with a force in the base frame [N]."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{x} {y} {z}\n")
        self.process.stdin.flush()

    def pause(self, seconds: float) -> None:
        """Stand still for a while, as where the machine or the network stalls [s, wall]."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def settings(self, **changes: float) -> RobotSettings:
        return RobotSettings.for_simulator(self.host).model_copy(
            update={"stall_timeout": 1.0, **changes}
        )


@contextmanager
def serving() -> Iterator[Server]:
    started = Server()
    try:
        yield started
    finally:
        started.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


@pytest.fixture(scope="module")
def shared_arm(server: Server) -> Iterator[FrankyArm]:
    arm = FrankyArm(server.settings())
    yield arm
    arm.close()


@pytest.fixture
def arm(shared_arm: FrankyArm) -> FrankyArm:
    """Return the arm at START, at rest."""
    if np.abs(shared_arm.state().q - START).max() > 0.01:
        shared_arm.follow_joint_path(joint_line(shared_arm.state().q, START))
    return shared_arm


def reach(arm: FrankyArm, opening: float, duration: float = 3.0) -> EndEffectorTrajectory:
    """Return an arc of 48 poses from where the tool is, with a constant opening [m]."""
    start, x = arm.state().T_base_ee, np.linspace(0.0, 1.0, 48)
    blend = x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    poses = np.repeat(start[None], 48, axis=0)
    poses[:, :3, 3] += np.stack([0.04 * blend, 0.05 * np.sin(np.pi * blend), -0.1 * blend], -1)
    turn = Rotation.from_rotvec(np.outer(blend, [0.05, 0.1, 0.2])).as_matrix()
    poses[:, :3, :3] = start[:3, :3] @ turn
    return EndEffectorTrajectory(poses, np.full(48, opening), x * duration)


def joints_along(arm: FrankyArm, trajectory: EndEffectorTrajectory) -> Array:
    """Return (48, 7) joints from where the arm is that follow a trajectory [rad]."""
    following = RobotModel.load().follow(trajectory.T_base_ee, arm.state().q)
    assert following.joints is not None, following.reason
    return following.joints


def time_until_still(arm: FrankyArm, since: float) -> float:
    """Return the robot's time from `since` until no joint is faster than 0.01 rad/s."""
    while True:
        state = arm.state()
        if np.abs(state.dq).max() < 0.01 or state.time - since > 2.0:
            return state.time - since
        time.sleep(0.005)


def test_a_joint_path_is_reached_while_another_thread_reads_the_state(arm):
    states, over = [], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            states.append(arm.state())

    watcher = threading.Thread(target=watch)
    watcher.start()
    reports = []
    error = arm.follow_joint_path(
        joint_line(arm.state().q, AWAY), 1.0, Progress(lambda *report: reports.append(report))
    )
    over.set()
    watcher.join()
    assert np.abs(arm.state().q - AWAY).max() < 0.005
    assert error < 0.08  # about 4 mm, but a starved processor lets the arm run ahead
    assert not arm.state().moving
    assert sum(state.moving for state in states) > 10
    times = [state.time for state in states]
    assert times == sorted(times)
    assert all(0.0 <= state.gripper_width <= 0.081 for state in states)
    fractions = [fraction for stage, fraction, _ in reports if stage == "joint_path"]
    assert fractions == sorted(fractions)
    assert 0.0 <= fractions[0] < fractions[-1] <= 1.0


def test_the_starts_offset_is_gone_after_a_path_that_is_shorter_than_its_fading(arm):
    q = arm.state().q
    path = JointPath(np.stack([q + 0.04, q + 0.04]), np.array([0.0, 0.03]))
    arm.follow_joint_path(path)
    assert np.abs(arm.state().q - path.positions[-1]).max() < 0.005


def test_targets_are_counted_and_late_ones_are_said(arm, monkeypatch):
    arm.punctuality = Punctuality(0.5)
    arm.follow_joint_path(joint_line(arm.state().q, START + 0.1))
    assert arm.punctuality.targets > 20
    assert not arm.punctuality.late and not str(arm.punctuality)
    arm.punctuality, slow = Punctuality(0.2), []

    def stall() -> bool:
        if arm.punctuality.targets == 20 and not slow:
            slow.append(time.sleep(0.6))
        return False

    arm.follow_joint_path(joint_line(arm.state().q, START), 1.0, Progress(should_stop=stall))
    assert arm.punctuality.late >= 1 and arm.punctuality.longest > 0.2
    assert f"of {arm.punctuality.targets} targets came late" in str(arm.punctuality)


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


def test_recover_waits_for_no_motion(arm, monkeypatch):
    monkeypatch.setattr(arm, "settings", arm.settings.model_copy(update={"answer_timeout": 0.1}))
    with arm._motion(), pytest.raises(BusyError):
        arm.recover()
    arm.recover()


def test_the_speed_scale_stretches_time(arm):
    path = joint_line(arm.state().q, START + 0.1)
    began = arm.state().time
    arm.follow_joint_path(path, 0.4)
    assert arm.state().time - began > path.duration / 0.4


def test_an_end_effector_path_ends_where_it_says(arm):
    trajectory = reach(arm, arm.state().gripper_width)
    joints = joints_along(arm, trajectory)
    error = arm.follow_ee_path(trajectory, joints)
    reached, wanted = arm.state().T_base_ee, trajectory.T_base_ee[-1]
    assert np.linalg.norm(reached[:3, 3] - wanted[:3, 3]) < 0.004
    assert rotation_angle(reached, wanted) < 0.03
    assert np.abs(arm.state().q - joints[-1]).max() < 0.03  # the elbow is where it was planned
    assert error < 0.05  # about 3 mm on an idle machine


def test_the_elbow_goes_where_it_was_planned_while_the_tool_stays(arm):
    robot, q = RobotModel.load(), np.array([0.2, 0.5, -0.3, -1.9, 0.3, 2.2, 0.8])
    arm.follow_joint_path(joint_line(arm.state().q, q))
    q = arm.state().q
    held, joints = robot.forward(q), [q]
    for _ in range(47):
        free = np.linalg.svd(robot.jacobian(joints[-1]))[2][-1]
        ahead = joints[-1] + 0.015 * free * np.sign(free[0])
        joints.append(robot.inverse(held, ahead, seeds=1))
    planned = np.stack(joints)
    elbow = robot.joint_poses(planned[[0, -1]])[:, 3, :3, 3]
    assert np.linalg.norm(elbow[1] - elbow[0]) > 0.05
    still = EndEffectorTrajectory(
        np.repeat(held[None], 48, axis=0),
        np.full(48, arm.state().gripper_width),
        np.linspace(0.0, 3.0, 48),
    )
    assert arm.follow_ee_path(still, planned) < 0.05  # about 3 mm on an idle machine
    assert np.abs(arm.state().q - planned[-1]).max() < 0.05


def test_a_joint_that_is_kept_from_its_path_stops_the_arm(arm, monkeypatch):
    # nothing holds it here: the limit is below the lag of any arm
    strict = arm.settings.model_copy(update={"joint_error_limit": 5e-4})
    monkeypatch.setattr(arm, "settings", strict)
    trajectory = reach(arm, arm.state().gripper_width)
    with pytest.raises(TrackingError, match=r"a joint is 0.00 rad from its path"):
        arm.follow_ee_path(trajectory, joints_along(arm, trajectory))
    assert time_until_still(arm, arm.state().time) < 0.3


@pytest.mark.parametrize("part", ["joint", "tool"])
def test_a_cancelled_motion_is_still_at_once_and_the_next_one_works(arm, part):
    began, asked = arm.state().time, []

    def should_stop() -> bool:
        now = arm.state().time
        if now - began > 0.8:
            asked.append(now)
        return bool(asked)

    with pytest.raises(CancelledError):
        if part == "joint":
            arm.follow_joint_path(
                joint_line(arm.state().q, AWAY, 0.3), 1.0, Progress(should_stop=should_stop)
            )
        else:
            trajectory = reach(arm, arm.state().gripper_width)
            joints = joints_along(arm, trajectory)
            arm.follow_ee_path(trajectory, joints, 1.0, Progress(should_stop=should_stop))
    assert time_until_still(arm, asked[0]) < 0.5
    assert np.abs(arm.state().q - START).max() > 0.005  # it had really moved
    arm.follow_joint_path(joint_line(arm.state().q, START))
    assert np.abs(arm.state().q - START).max() < 0.005


def test_stop_from_another_thread_ends_the_motion(arm):
    stopped = []

    def stop() -> None:
        stopped.append(arm.state().time)
        arm.stop()

    timer = threading.Timer(1.0, stop)
    timer.start()
    with pytest.raises(RobotError, match=r"stopped by request"):
        arm.follow_joint_path(joint_line(arm.state().q, AWAY, 0.15))
    assert time_until_still(arm, stopped[0]) < 0.5
    timer.join()
    arm.stop()  # nothing runs: nothing to complain about
    arm.recover()


def test_a_path_that_starts_elsewhere_or_leaves_the_limits_moves_nothing(arm):
    before = arm.state().q
    with pytest.raises(RobotError, match=r"joint path starts .* from the arm"):
        arm.follow_joint_path(joint_line(AWAY, START))
    trajectory = reach(arm, 0.04)
    shifted = trajectory.T_base_ee.copy()
    shifted[:, 2, 3] += 0.05
    joints = joints_along(arm, trajectory)
    with pytest.raises(RobotError, match=r"end-effector path starts 0.050 m"):
        arm.follow_ee_path(
            EndEffectorTrajectory(shifted, trajectory.gripper, trajectory.stamps), joints
        )
    with pytest.raises(RobotError, match=r"starts 0.100 rad from the arm at joint 3"):
        arm.follow_ee_path(trajectory, joints + 0.1 * np.eye(7)[2])
    bent = joints + np.linspace(0.0, 0.1, 48)[:, None] * np.eye(7)[1]
    with pytest.raises(RobotError, match=r"the joints of pose \d+ put the tool 0.01"):
        arm.follow_ee_path(trajectory, bent)
    with pytest.raises(GoalError, match=r"shape \(47, 7\), expected finite \(48, 7\)"):
        arm.follow_ee_path(trajectory, joints[:-1])
    too_far = before.copy()
    too_far[3] = 0.2
    with pytest.raises(RobotError, match=r"joint 4 at 0.200 rad"):
        arm.follow_joint_path(JointPath(np.stack([before, too_far]), np.array([0.0, 5.0])))
    with pytest.raises(GoalError, match=r"speed scale is 1.5"):
        arm.follow_ee_path(trajectory, joints, 1.5)
    assert np.abs(arm.state().q - before).max() < 1e-3


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


def test_an_exception_in_the_callers_progress_stops_the_arm(arm):
    def report(_: str, fraction: float, __: str) -> None:
        if fraction > 0.2:
            raise ValueError("the caller broke")

    with pytest.raises(ValueError, match=r"the caller broke"):
        arm.follow_joint_path(joint_line(arm.state().q, AWAY), 1.0, Progress(report))
    since = arm.state().time
    assert not arm.state().moving
    assert time_until_still(arm, since) < 0.3


def test_a_loop_that_falls_silent_is_stopped_by_the_watchdog(arm):
    def report(_: str, fraction: float, __: str) -> None:
        bound = time.monotonic() + 20.0
        while fraction > 0.2 and arm.state().moving and time.monotonic() < bound:
            time.sleep(0.01)

    with pytest.raises(RobotError, match=r"watchdog"):
        arm.follow_joint_path(joint_line(arm.state().q, AWAY, 0.3), 1.0, Progress(report))
    assert not arm.state().moving


def test_a_second_motion_is_refused_while_one_runs(arm):
    refused = []

    def report(_: str, fraction: float, __: str) -> None:
        if not refused and fraction > 0.1:
            try:
                arm.move_gripper(0.05, 0.0, 0.0)
            except BusyError as error:
                refused.append(error)

    arm.follow_joint_path(joint_line(arm.state().q, START + 0.1), 1.0, Progress(report))
    assert len(refused) == 1


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


def test_a_dead_host_is_named_with_the_remedy():
    host = "127.255.254.253"
    with pytest.raises(RobotError, match=rf"{host}.*FCI"):
        FrankyArm(RobotSettings.for_simulator(host))


@pytest.fixture
def mortal_server() -> Iterator[Server]:
    with serving() as started:
        yield started


def test_a_closed_arm_is_free_a_held_one_is_named_and_a_lost_one_is_no_hang(mortal_server):
    server = mortal_server
    first = FrankyArm(server.settings())
    first.follow_joint_path(joint_line(first.state().q, START + 0.02))
    first.close()
    with pytest.raises(RobotError, match=r"closed"):
        first.state()
    arm = FrankyArm(server.settings(connect_timeout=10.0))
    assert np.abs(arm.state().q - START - 0.02).max() < 0.005

    with pytest.raises(RobotError, match=r"did not answer within 1.0 s.*no other program"):
        FrankyArm(server.settings(connect_timeout=1.0))

    timer = threading.Timer(1.0, server.kill)
    timer.start()
    began = time.monotonic()
    with pytest.raises(RobotError, match=r"connect again"):
        arm.follow_joint_path(joint_line(arm.state().q, AWAY, 0.05))
    assert time.monotonic() - began < 15.0
    for call in (arm.state, arm.stop, arm.recover, arm.close):
        with pytest.raises(RobotError):
            call()
    timer.join()
