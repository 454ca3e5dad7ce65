"""The real franky client against franky-sim in a process of its own."""

from __future__ import annotations

import threading
import time

import franky
import numpy as np
import pytest
from simulated_arm import AWAY, START, joints_along, reach, time_until_still

from kalm_core.errors import (
    BusyError,
    CancelledError,
    ConnectionLostError,
    GoalError,
    ReflexError,
    RobotError,
    TooSlowError,
    TrackingError,
)
from kalm_core.planning.robot_model import RobotModel
from kalm_core.progress import Progress
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.joint_line import joint_line
from kalm_core.robot.punctuality import Punctuality
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import rotation_angle
from kalm_core.trajectory import EndEffectorTrajectory, JointPath

pytestmark = pytest.mark.sim


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
            slow.append(True)
            robot = arm._connected().robot  # whose clock may be slow on a busy machine
            start = robot.state.time.to_sec()
            while robot.state.time.to_sec() < start + 0.4:
                time.sleep(0.01)
        return False

    arm.follow_joint_path(joint_line(arm.state().q, START), 1.0, Progress(should_stop=stall))
    assert arm.punctuality.late >= 1 and arm.punctuality.longest > 0.2
    assert f"of {arm.punctuality.targets} targets came late" in str(arm.punctuality)


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

    with pytest.raises(TooSlowError, match=r"watchdog"):
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


@pytest.mark.parametrize(("number", "mode"), [(5, "UserStopped"), (3, "Guiding")])
def test_an_arm_that_is_held_in_desk_is_told_from_a_lost_one(arm, server, number, mode):
    server.rest_in_mode(number)
    try:
        end = time.monotonic() + 5.0
        while arm.state().mode != mode and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(RobotError, match=f"{mode}.*Desk.*user stop") as error:
            arm.follow_joint_path(joint_line(arm.state().q, AWAY))
        assert type(error.value) is RobotError
    finally:
        server.rest_in_mode(1)
    while arm.state().mode != "Idle":
        time.sleep(0.01)
    arm.follow_joint_path(joint_line(arm.state().q, START + 0.02))


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (franky.CommandException("command rejected: joints locked"), RobotError),
        (franky.ControlException("joint_velocity_violation"), RobotError),
        (franky.ControlException("cartesian_reflex"), ReflexError),
        (franky.ControlException("reflex: communication_constraints_violation"), TooSlowError),
        (franky.NetworkException("connection closed by peer"), ConnectionLostError),
        (RuntimeError("Net Exception"), ConnectionLostError),
        (franky.RealtimeException("unable to set realtime scheduling"), RobotError),
    ],
)
def test_what_the_arm_refuses_is_no_lost_connection(arm, monkeypatch, raised, kind):
    def refuse(*_: object) -> None:
        raise raised

    monkeypatch.setattr(arm._targets, "follow", refuse)
    with pytest.raises(RobotError, match=str(raised)) as error:
        arm.follow_joint_path(joint_line(arm.state().q, AWAY))
    assert type(error.value) is kind
    slow = isinstance(raised, franky.RealtimeException)
    assert ("Desk" in error.value.remedy) is (kind is RobotError and not slow)
    assert ("PREEMPT_RT" in error.value.remedy) is slow


def test_a_dead_host_is_named_with_the_remedy():
    host = "127.255.254.253"
    with pytest.raises(RobotError, match=rf"{host}.*FCI"):
        FrankyArm(RobotSettings.for_simulator(host))


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
