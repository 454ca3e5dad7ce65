from __future__ import annotations

import numpy as np
import pytest

from kalm_core.errors import GoalError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.planning.robot_model import RobotModel
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import invert_pose, transform_points
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.posed_scene import PosedScene
from kalm_sim.rendering import SceneCamera
from kalm_sim.scene import BOTTOM, TOP, draw_scene
from kalm_sim.synthetic import free_view, render_scene
from kalm_sim.viewpoints import READY, Viewpoint

pytestmark = pytest.mark.sim


QUIET = DepthNoiseSettings.off()
SCENE = draw_scene(4)


@pytest.fixture(scope="module")
def robot() -> RobotModel:
    return RobotModel.load()


@pytest.fixture(scope="module")
def posed() -> PosedScene:
    return PosedScene(SCENE)


@pytest.fixture(scope="module")
def view(robot: RobotModel, posed: PosedScene) -> Viewpoint:
    return free_view(SCENE, np.random.default_rng(0), robot, posed)


def seen(posed: PosedScene, view: Viewpoint, noise: DepthNoiseSettings, seed: int) -> RgbdFrame:
    posed.pose(view.joints)
    with SceneCamera(posed.model, noise) as camera:
        return camera.wrist_frame(posed.data, 5, np.random.default_rng(seed))


def test_handles_are_where_the_image_and_the_depth_say(posed: PosedScene, view: Viewpoint) -> None:
    frame = seen(posed, view, QUIET, 0)
    assert frame.stamp == 5
    np.testing.assert_allclose(frame.T_base_cam, view.T_base_cam, atol=1e-3)
    for drawer in (TOP, BOTTOM):
        handle = SCENE.cabinet.T_base_handle(drawer)[:3, 3]
        u, v = frame.project(handle[None])[0]
        assert 0 < u < 639 and 0 < v < 479
        # the image's point lies on the bar: half a thickness before its axis
        distance = np.linalg.norm(frame.points_base()[round(v), round(u)] - handle)
        assert distance < SCENE.cabinet.handle.thickness / 2 * 1.5 + 0.001


def test_the_front_face_is_a_plane_where_the_truth_says(posed: PosedScene, view: Viewpoint) -> None:
    frame = seen(posed, view, QUIET, 0)
    points = transform_points(
        invert_pose(SCENE.cabinet.T_base_cabinet), frame.points_base().reshape(-1, 3)
    )
    low, high = SCENE.cabinet.drawer_span(TOP)
    inside = (np.abs(points[:, 1]) < SCENE.cabinet.width / 2 - 0.01) & (np.abs(points[:, 0]) < 0.01)
    inside &= (points[:, 2] > low + 0.005) & (points[:, 2] < high - 0.005)
    assert inside.sum() > 5000
    # the posts of the handle end in it
    assert np.quantile(np.abs(points[inside, 0]), 0.95) < 0.0002


def test_noise_is_repeatable_and_leaves_colour_alone(posed: PosedScene, view: Viewpoint) -> None:
    exact, noisy, again = (
        seen(posed, view, noise, seed)
        for noise, seed in ((QUIET, 0), (DepthNoiseSettings(), 1), (DepthNoiseSettings(), 1))
    )
    np.testing.assert_array_equal(noisy.depth, again.depth)
    np.testing.assert_array_equal(noisy.color, exact.color)
    both = (noisy.depth > 0) & (exact.depth < 0.7)
    assert 0.0005 < np.abs(noisy.depth - exact.depth)[both].std() < 0.002


def test_the_picture_has_the_same_hand_as_the_kinematics(
    posed: PosedScene, robot: RobotModel
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        joints = READY + rng.uniform(-0.4, 0.4, 7)
        posed.pose(joints)
        np.testing.assert_allclose(posed.T_base_ee, robot.forward(joints), atol=1e-5)


def test_an_arm_of_six_joints_is_refused(posed: PosedScene) -> None:
    with pytest.raises(GoalError, match="7 joints"):
        posed.pose(np.zeros(6))


def test_the_cabinet_is_missing_from_an_empty_scene(posed: PosedScene, view: Viewpoint) -> None:
    with_it = seen(posed, view, QUIET, 0)
    without = render_scene(draw_scene(SCENE.seed, empty=True), view.joints, noise=QUIET)
    u, v = with_it.project(SCENE.cabinet.T_base_handle(TOP)[None, :3, 3])[0].round().astype(int)
    assert without.depth[v, u] > with_it.depth[v, u] + 0.05


def test_another_hand_eye_moves_the_camera_with_it() -> None:
    hand_eye = HandEyeSettings(translation=(0.05, 0.02, -0.08))
    posed = PosedScene(SCENE, hand_eye.T_ee_cam)
    posed.pose(READY)
    frame = seen(posed, Viewpoint(READY, np.eye(4), np.eye(4)), QUIET, 0)
    np.testing.assert_allclose(frame.T_base_cam, posed.T_base_ee @ hand_eye.T_ee_cam, atol=1e-9)


def test_a_camera_that_turned_to_another_scene_sees_what_a_new_one_sees(
    posed: PosedScene, view: Viewpoint
) -> None:
    other = PosedScene(draw_scene(9))
    other.pose(view.joints)
    rng = np.random.default_rng
    with SceneCamera(posed.model, QUIET) as camera:
        camera.wrist_frame(posed.data, 0, rng(0))
        camera.show(other.model)
        turned, looking_on = (
            camera.wrist_frame(other.data, 0, rng(0)),
            camera.outside_image(other.data),
        )
    with SceneCamera(other.model, QUIET) as camera:
        new = camera.wrist_frame(other.data, 0, rng(0))
        np.testing.assert_array_equal(camera.outside_image(other.data), looking_on)
    np.testing.assert_array_equal(turned.color, new.color)
    np.testing.assert_array_equal(turned.depth, new.depth)
