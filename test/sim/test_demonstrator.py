from __future__ import annotations

import numpy as np
import pytest

from kalm_core.errors import GoalError
from kalm_core.planning.robot_model import RobotModel
from kalm_core.se3 import invert_pose
from kalm_sim.demonstrator import DemonstratorSettings, script_opening
from kalm_sim.posed_scene import PosedScene
from kalm_sim.scene import TOP, draw_scene, scene_truth
from kalm_sim.synthetic import draw_reachable, drawer_openings, make_demonstration
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


def test_a_wrong_side_is_refused() -> None:
    handle = scene_truth(draw_scene(0)).handles[TOP]
    with pytest.raises(GoalError, match="side is 0"):
        script_opening(handle, np.random.default_rng(0), side=0)


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
