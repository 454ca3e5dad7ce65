from __future__ import annotations

import numpy as np
import pytest

from kalm_core.errors import GoalError
from kalm_core.planning.robot_model import RobotModel
from kalm_core.se3 import invert_pose, rotation_angle, transform_points
from kalm_sim.demonstrator import DemonstratorSettings, script_opening
from kalm_sim.demonstrator_handle import script_lift
from kalm_sim.demonstrator_pour import script_pour
from kalm_sim.posed_scene import PosedScene
from kalm_sim.scene import TOP, draw_scene, scene_truth
from kalm_sim.scripts import write_script
from kalm_sim.synthetic import draw_reachable, drawer_openings, make_demonstration
from kalm_sim.tasks.bowl import BowlParameters
from kalm_sim.tasks.coffee_machine import LEVER_RANGE, CoffeeMachineParameters
from kalm_sim.tasks.handle import ENOUGH
from kalm_sim.viewpoints import sees_front

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("seed", range(12))
def test_a_script_grasps_the_bar_and_pulls_along_the_drawer(seed: int) -> None:
    handle = scene_truth(draw_scene(seed)).handles[TOP]
    settings = DemonstratorSettings()
    script = script_opening(handle, np.random.default_rng(seed), settings)
    grasp = invert_pose(handle.T_base_handle) @ script.approach.T_base_ee[-1]
    x, y, z = grasp[:3, 3]
    assert -0.004 < x <= 0 and abs(y) < handle.length / 2 - 0.02 and abs(z) < 0.002
    tilt = np.degrees(np.arcsin(-grasp[2, 2]))
    assert settings.tilt_min <= tilt <= settings.tilt_max
    assert grasp[0, 2] > 0.7, "the hand points at the front"
    assert abs(grasp[2, 1]) > 0.7, "the fingers open across the bar"

    pulled = script.pull.positions[-1] - script.pull.positions[0]
    length = np.linalg.norm(pulled)
    assert 0.15 <= length <= 0.165
    np.testing.assert_allclose(pulled / length, -handle.T_base_handle[:3, 0], atol=1e-9)
    np.testing.assert_allclose(script.pull.T_base_ee[0], script.approach.T_base_ee[-1], atol=1e-9)
    np.testing.assert_allclose(script.retreat.T_base_ee[0], script.pull.T_base_ee[-1], atol=1e-9)


def test_the_whole_motion_rests_while_the_fingers_move() -> None:
    handle = scene_truth(draw_scene(0)).handles[TOP]
    whole = script_opening(handle, np.random.default_rng(0)).whole()
    fingers = np.abs(np.diff(whole.gripper)) > 1e-9
    steps = np.linalg.norm(np.diff(whole.positions, axis=0), axis=1)
    assert fingers.sum() > 10
    assert (steps[fingers] < 1e-9).all()
    assert whole.gripper.min() == pytest.approx(handle.thickness)
    assert steps.max() / 0.05 < 0.25, "slower than 0.25 m/s"


@pytest.mark.parametrize("task", ["drawer", "handle", "pour"])
def test_a_wrong_side_is_refused(task: str) -> None:
    with pytest.raises(GoalError, match="side is 0"):
        write_script(draw_scene(0, task=task), np.random.default_rng(0), side=0)


@pytest.mark.parametrize("seed", range(8))
def test_a_lifting_hand_stays_at_the_grip_and_turns_by_half_the_levers_angle(seed: int) -> None:
    machine = draw_scene(seed, task="handle").target
    assert isinstance(machine, CoffeeMachineParameters)
    script = script_lift(machine, np.random.default_rng(seed))
    motion = script.whole()
    angles = script.states(motion)[:, 0]
    assert angles[0] == 0.0 and ENOUGH + 0.2 < angles[-1] < LEVER_RANGE[1]
    closed = np.flatnonzero(motion.gripper < script.grasp_width + 1e-9)
    grips = [invert_pose(machine.T_base_grip(angles[k])) @ motion.T_base_ee[k] for k in closed]
    places = np.array([grip[:3, 3] for grip in grips])
    np.testing.assert_allclose(places, [places[0]] * len(grips), atol=1e-6)
    turned = rotation_angle(motion.T_base_ee[closed], motion.T_base_ee[closed[0]])
    np.testing.assert_allclose(turned, angles[closed] / 2, atol=1e-6)
    assert np.linalg.norm(grips[0][[0, 2], 3]) < 0.004, "the tool is at the grip's axis"
    assert abs(grips[0][2, 1]) > 0.7, "the fingers open across the grip"


@pytest.mark.parametrize("seed", range(8))
def test_a_pouring_hand_brings_the_cup_upright_and_turns_its_mouth_over_the_bowl(
    seed: int,
) -> None:
    scene = draw_scene(seed, task="pour")
    bowl, cup = scene.target, scene.held
    assert isinstance(bowl, BowlParameters) and cup is not None
    motion = script_pour(bowl, cup, np.random.default_rng(seed)).whole()
    poses = motion.T_base_ee @ cup.T_ee_cup
    assert poses[0, 2, 2] > np.cos(np.radians(4.0)), "upright at first"
    assert poses[-1, 2, 2] < np.cos(np.radians(110.0)), "turned over at last"
    upright = poses[:, 2, 2] > 0.99
    assert (poses[upright, 2, 3] > bowl.height).all(), "the foot stays above the rim"
    mouth = transform_points(poses[-1], np.array([0.0, 0.0, cup.height]))
    local = transform_points(invert_pose(bowl.T_base_object), mouth[None])[0]
    assert np.linalg.norm(local[:2]) < 0.6 * min(bowl.width, bowl.depth) / 2 + 0.02
    assert local[2] > bowl.height / 2


def test_scenes_can_be_looked_at_and_opened_by_the_arm() -> None:
    robot = RobotModel.load()
    for seed in range(200, 204):
        scene = draw_scene(seed)
        posed = PosedScene(scene)
        view, script, joints = draw_reachable(scene, np.random.default_rng(seed), robot, posed)
        assert sees_front(scene.cabinet, view.T_base_cam, margin=5)
        motion = script.whole()
        assert joints.shape == (len(motion.stamps), 7)
        assert np.abs(np.diff(joints, axis=0)).max() < 0.2
        for index in (0, len(joints) // 2, len(joints) - 1):
            np.testing.assert_allclose(
                robot.forward(joints[index]), motion.T_base_ee[index], atol=3e-3
            )
        openings = drawer_openings(script, motion)
        assert openings[0] == 0 and openings[-1] >= 0.149 and (np.diff(openings) >= 0).all()


def test_a_synthetic_demonstration_is_complete_and_repeatable() -> None:
    first, truth = make_demonstration(11, frames=2)
    again, _ = make_demonstration(11, frames=2)
    np.testing.assert_array_equal(first.frames[0].depth, again.frames[0].depth)
    np.testing.assert_array_equal(first.frames[1].color, again.frames[1].color)
    np.testing.assert_array_equal(first.joints, again.joints)
    assert first.frames[0].stamp == 0 < first.frames[1].stamp
    assert first.gripper.min() == pytest.approx(truth.handles[TOP].thickness)
    closed = np.flatnonzero(first.gripper < truth.handles[TOP].thickness + 1e-6)
    grasp = first.T_base_ee[closed[0], :3, 3]
    assert np.linalg.norm(grasp - truth.handles[TOP].T_base_handle[:3, 3]) < 0.02
