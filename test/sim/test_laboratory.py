from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from kalm_core.errors import BusyError, CancelledError, GoalError, RobotError
from kalm_core.planning.robot_model import RobotModel
from kalm_core.progress import Progress
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.joint_line import joint_line
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import Array, make_pose
from kalm_core.trajectory import JointPath
from kalm_sim.demonstrator import grasp_rotation
from kalm_sim.laboratory import Laboratory
from kalm_sim.scene import TOP, draw_scene
from kalm_sim.simulator import HOME, ArmPosture
from kalm_sim.synthetic import draw_reachable, free_view

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    with Laboratory(draw_scene(3), realtime=False) as laboratory:
        yield laboratory


@pytest.fixture(scope="module")
def arm(laboratory: Laboratory) -> Iterator[FrankyArm]:
    arm = FrankyArm(RobotSettings.for_simulator(laboratory.hostname, realtime=False))
    yield arm
    arm.close()


@pytest.fixture(scope="module")
def robot() -> RobotModel:
    return RobotModel.load()


def path_to(arm: FrankyArm, joints: Array) -> JointPath:
    return joint_line(arm.state().q, joints, 1.0)


def go_home(arm: FrankyArm) -> None:
    arm.follow_joint_path(path_to(arm, np.array(HOME)))


def pass_time(laboratory: Laboratory, seconds: float) -> None:
    end = laboratory.robot_time + seconds
    while laboratory.robot_time < end:
        time.sleep(0.02)


def test_drawers_stay_shut_when_nobody_touches_them(laboratory: Laboratory) -> None:
    before = laboratory.capture()
    pass_time(laboratory, 3.0)
    np.testing.assert_allclose(laboratory.truth().openings, 0.0, atol=1e-4)
    after = laboratory.capture()
    np.testing.assert_allclose(after.joints, before.joints, atol=1e-3)
    assert after.robot_time - before.robot_time >= 3.0
    assert after.frame.stamp > before.frame.stamp
    assert laboratory.contact_force() == 0.0


def test_a_capture_is_of_one_instant(laboratory: Laboratory, robot: RobotModel) -> None:
    capture = laboratory.capture()
    hand_eye = np.linalg.inv(robot.forward(capture.joints)) @ capture.frame.T_base_cam
    np.testing.assert_allclose(hand_eye[:3, 3], [0.07, 0.0, -0.06], atol=1e-4)
    assert (capture.frame.depth > 0).mean() > 0.5
    assert laboratory.outside_image().shape == (480, 640, 3)


def test_a_reset_exchanges_the_scene_and_keeps_the_arm(
    laboratory: Laboratory, arm: FrankyArm
) -> None:
    go_home(arm)
    arm.move_gripper(0.03, 0.05, 0.0)
    pass_time(laboratory, 0.5)
    before, old = laboratory.capture(), laboratory.truth()
    laboratory.reset(draw_scene(8))
    after, new = laboratory.capture(), laboratory.truth()
    np.testing.assert_allclose(after.joints, before.joints, atol=1e-3)
    assert after.robot_time > before.robot_time
    assert arm.state().gripper_width == pytest.approx(0.03, abs=0.004)
    assert (old.seed, new.seed) == (3, 8) and laboratory.scene == draw_scene(8)
    assert (before.frame.color != after.frame.color).mean() > 0.2

    laboratory.reset(draw_scene(8, empty=True))
    assert laboratory.truth().handles == ()


def test_a_reset_is_refused_while_the_arm_moves(laboratory: Laboratory, arm: FrankyArm) -> None:
    go_home(arm)
    pass_time(laboratory, 0.5)
    seed = laboratory.scene.seed
    refused: list[str] = []
    under_way: list[float] = []
    other = draw_scene(9)

    def reset_once() -> bool:
        if under_way and not refused:
            try:
                laboratory.reset(other)
            except BusyError as error:
                refused.append(str(error))
        return bool(refused)

    with pytest.raises(CancelledError):
        target = np.array((0.5, *HOME[1:]))
        progress = Progress(lambda _, fraction, __: under_way.append(fraction), reset_once)
        arm.follow_joint_path(path_to(arm, target), 1.0, progress)
    assert "the arm follows a motion" in refused[0]
    assert laboratory.scene.seed == seed
    laboratory.reset(other)
    assert laboratory.scene.seed == 9


def test_a_scene_that_the_arm_would_stand_in_is_refused(
    laboratory: Laboratory, arm: FrankyArm, robot: RobotModel
) -> None:
    go_home(arm)
    laboratory.reset(draw_scene(3, empty=True))
    pose = make_pose(grasp_rotation(0.5, 1), (0.72, 0.0, 0.16))
    joints = robot.inverse(pose, np.array(HOME))
    assert joints is not None
    arm.follow_joint_path(path_to(arm, joints))
    with pytest.raises(GoalError, match=r"scene 3 does not fit.*ready posture"):
        laboratory.reset(draw_scene(3))
    assert laboratory.scene.empty
    go_home(arm)
    laboratory.reset(draw_scene(3))


def test_the_scripted_demonstrator_opens_the_drawer(
    laboratory: Laboratory, arm: FrankyArm, robot: RobotModel
) -> None:
    seed = 3
    scene = draw_scene(seed)
    go_home(arm)
    laboratory.reset(scene)
    view, script, joints = draw_reachable(scene, np.random.default_rng([seed, 4]), robot)
    arm.move_gripper(script.open_width, 0.05, 0.0)
    arm.follow_joint_path(path_to(arm, view.joints))
    arm.follow_joint_path(path_to(arm, joints[0]))
    arm.follow_ee_path(script.whole(), joints)
    pass_time(laboratory, 0.5)
    truth = laboratory.truth()
    assert truth.openings[TOP] > 0.12, f"opened by {truth.openings[TOP] * 100:.1f} cm"
    assert abs(truth.openings[1]) < 1e-3, "the bottom drawer stays shut"


def test_a_second_laboratory_cannot_take_the_address(laboratory: Laboratory) -> None:
    other = Laboratory(draw_scene(0), hostname=laboratory.hostname)
    with pytest.raises(RobotError, match="cannot be served"):
        other.start()
    other.close()


def test_a_closed_laboratory_says_so() -> None:
    laboratory = Laboratory(draw_scene(0))
    with pytest.raises(RobotError, match="not started"):
        laboratory.truth()
    with pytest.raises(RobotError, match="not started"):
        _ = laboratory.hostname


def test_a_reset_can_put_the_arm_somewhere_and_it_stays(
    laboratory: Laboratory, arm: FrankyArm, robot: RobotModel
) -> None:
    scene = draw_scene(5)
    view = free_view(scene, np.random.default_rng(5), robot)
    laboratory.reset(scene, ArmPosture(view.joints, 0.05))
    pass_time(laboratory, 0.5)
    assert np.abs(arm.state().q - view.joints).max() < 0.005
    assert arm.move_gripper(0.05, 0.1, 0.0) == pytest.approx(0.05, abs=0.002)
    arm.follow_joint_path(path_to(arm, view.joints + 0.05))
    assert np.abs(arm.state().q - view.joints - 0.05).max() < 0.01
    go_home(arm)


def test_time_goes_slowly_while_somebody_thinks(laboratory: Laboratory) -> None:
    with laboratory.slowed():
        time.sleep(0.1)
        before = laboratory.robot_time
        time.sleep(0.5)
        passed = laboratory.robot_time - before
    assert 0.0 < passed < 0.05
    before = laboratory.robot_time
    pass_time(laboratory, 0.2)
    assert laboratory.robot_time >= before + 0.2
