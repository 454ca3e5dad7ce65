from __future__ import annotations

import numpy as np
import pytest
from planning_scenes import READY, SampledArm

from kalm_core.hand_eye import HandEyeSettings
from kalm_core.planning.collision import CollisionScene
from kalm_core.planning.obstacles import (
    Obstacles,
    ObstacleSettings,
    no_obstacles,
    obstacles_from_points,
    voxelize,
)
from kalm_core.planning.robot_body import CameraBodySettings, body_urdf
from kalm_core.planning.robot_model import RobotModel
from kalm_core.planning.solids import GROWTH

VOXEL = 0.02


@pytest.fixture(scope="module")
def model() -> RobotModel:
    return RobotModel.load()


@pytest.fixture
def scene(model: RobotModel) -> CollisionScene:
    urdf = body_urdf(model.urdf, "fr3_hand_tcp", CameraBodySettings(), HandEyeSettings())
    return CollisionScene(model, urdf)


def scattered(rng: np.random.Generator) -> Obstacles:
    points = rng.uniform([-0.8, -0.8, 0.0], [0.8, 0.8, 1.0], size=(80, 3))
    return Obstacles(voxelize(points[np.linalg.norm(points[:, :2], axis=1) > 0.2], VOXEL), VOXEL)


def test_agrees_with_points_sampled_on_the_meshes(model: RobotModel, scene: CollisionScene) -> None:
    rng, arm, hulls = np.random.default_rng(0), SampledArm(), SampledArm(hulls=True)
    obstacles = scattered(rng)
    touched = cleared = 0
    for _ in range(200):
        q = rng.uniform(model.lower, model.upper)
        scene.set_obstacles(no_obstacles())
        alone_free = scene.free(q)
        scene.set_obstacles(obstacles)
        depth = arm.depth_inside(q, obstacles)
        tool = model.forward(q)[:3, 3]
        near_hand = np.linalg.norm(obstacles.centers - tool, axis=1).min() < 0.2
        if depth > 0:
            assert not scene.free(q), f"an overlap of {depth * 1000:.1f} mm is not seen at {q}"
            touched += 1
        elif alone_free and not near_hand and hulls.depth_inside(q, obstacles) < -0.018:
            assert scene.free(q), f"a gap of 18 mm is taken for contact at {q}"
            cleared += 1
    assert touched > 20 and cleared > 50


def test_agrees_with_pinocchio_and_coal(model: RobotModel, scene: CollisionScene) -> None:
    rng = np.random.default_rng(1)
    for floor in (None, 0.05):
        scene.set_obstacles(Obstacles(scattered(rng).centers, VOXEL, floor))
        scene.set_gripper(rng.uniform(0.0, 0.08))
        answers = [
            (scene.free(q), scene.contact(q) is None)
            for q in rng.uniform(model.lower, model.upper, size=(200, 7))
        ]
        assert all(ours == other for ours, other in answers)
        assert 10 < sum(ours for ours, _ in answers) < 190


def test_the_ready_posture_is_free_with_open_and_closed_fingers(scene: CollisionScene) -> None:
    for opening in (0.0, 0.04, 0.08):
        scene.set_gripper(opening)
        assert scene.free(READY)


def test_fingers_are_where_the_gripper_is(model: RobotModel, scene: CollisionScene) -> None:
    tool = model.forward(READY)
    beside = tool[:3, 3] + 0.055 * tool[:3, 1]
    scene.set_obstacles(Obstacles(voxelize(beside[None], 0.01), 0.01))
    scene.set_gripper(0.0)
    assert scene.free(READY)
    scene.set_gripper(0.08)
    assert not scene.free(READY)
    contact = scene.contact(READY)
    assert contact is not None and "finger" in contact.link and contact.other == "obstacle"
    assert np.abs(contact.point - beside).max() <= 0.01


def test_the_camera_is_part_of_the_hand(model: RobotModel, scene: CollisionScene) -> None:
    behind_lens = model.forward(READY) @ HandEyeSettings().T_ee_cam @ [0.03, 0.0, -0.012, 1.0]
    scene.set_obstacles(Obstacles(voxelize(behind_lens[None, :3], VOXEL), VOXEL))
    assert not scene.free(READY)
    assert "wrist_camera" in scene.explain(READY)


def test_the_floor_is_solid_but_the_base_may_stand_on_it(scene: CollisionScene) -> None:
    scene.set_obstacles(Obstacles(np.zeros((0, 3)), VOXEL, floor=0.02))
    assert scene.free(READY)
    scene.set_obstacles(Obstacles(np.zeros((0, 3)), VOXEL, floor=0.5))
    assert not scene.free(READY)
    assert "the floor at" in scene.explain(READY)


def test_a_posture_outside_the_limits_is_not_free(model: RobotModel, scene: CollisionScene) -> None:
    q = READY.copy()
    q[3] = model.upper[3] + 0.01
    assert not scene.free(q)
    assert "joint 4" in scene.explain(q) and "outside its limits" in scene.explain(q)


def test_what_cannot_be_checked_is_not_free(scene: CollisionScene, monkeypatch) -> None:
    def broken(q: np.ndarray) -> bool:
        raise RuntimeError("geometry is stale")

    monkeypatch.setattr(scene, "_collides", broken)
    assert not scene.free(READY)
    assert scene.failures == ["RuntimeError: geometry is stale"]
    assert "geometry is stale" in scene.explain(READY)


def test_a_thin_wall_between_two_free_postures_is_seen(scene: CollisionScene) -> None:
    other = READY.copy()
    other[0] = 1.2
    grid = np.stack(np.meshgrid([0.25], [0.25], np.arange(0.3, 0.7, 0.01)), axis=-1)
    scene.set_obstacles(Obstacles(voxelize(grid.reshape(-1, 3), 0.01), 0.01))
    assert scene.free(READY) and scene.free(other)
    blocked = scene.first_blocked(np.stack([READY, other]), 0.01)
    assert blocked is not None and 0.2 < blocked[0] < 1.0


def test_points_on_the_arm_are_told_from_points_beside_it(
    model: RobotModel, scene: CollisionScene
) -> None:
    arm = SampledArm()
    on = arm.surface(READY)[::7]
    tool = model.forward(READY)[:3, 3]
    beside = np.array([[0.6, 0.3, 0.2], [0.5, -0.4, 0.6], tool - [0.0, 0.0, 0.1]])
    assert scene.robot_points(on, READY, 0.01).all()
    assert not scene.robot_points(beside, READY, 0.02).any()


def test_a_solid_holds_all_of_its_link_with_room_to_spare(
    model: RobotModel, scene: CollisionScene
) -> None:
    """Points on the collision meshes are inside by `GROWTH` at least, at any posture."""
    rng, arm = np.random.default_rng(2), SampledArm()
    for q in rng.uniform(model.lower, model.upper, size=(5, 7)):
        points = arm.surface(q)
        outside = rng.normal(size=(len(points), 3))
        outside *= 0.999 * GROWTH / np.linalg.norm(outside, axis=1, keepdims=True)
        # the filter takes what is within a padding; without one it is the solid itself
        assert scene.robot_points(points + outside, q, 1e-4).all()


@pytest.mark.parametrize(
    "folded", [(0.0, -1.1, -1.2, -1.4, -2.0, 0.6, -0.4), (-2.4, -1.1, 0.9, -2.4, -0.7, 0.6, 2.4)]
)
def test_the_wrist_may_fold_into_the_hollow_of_the_long_link(
    scene: CollisionScene, folded: tuple[float, ...]
) -> None:
    """One hull around the link before the wrist would touch link 7 and the hand here."""
    q = np.array(folded)
    assert scene.free(q)
    assert scene.contact(q) is None


def test_what_a_link_has_swallowed_is_touched(model: RobotModel, scene: CollisionScene) -> None:
    inside = model.joint_poses(READY[None])[0, 4] @ [0.0, 0.04, -0.1, 1.0]
    scene.set_obstacles(Obstacles(inside[None, :3], 0.005))
    assert not scene.free(READY)


def test_points_count_where_a_voxel_says_no(model: RobotModel, scene: CollisionScene) -> None:
    tool = model.forward(READY)
    settings = ObstacleSettings(min_points=1, clearance=0.0025)
    answers = []
    for away in np.linspace(0.0, 0.03, 61):  # below the finger tips
        point = tool[:3, 3] + (0.011 + away) * tool[:3, 2]
        scene.set_obstacles(obstacles_from_points(point[None], settings))
        quick, exact = scene.free(READY), scene.free_exactly(READY)
        assert exact or not quick, "what the voxels free is free"
        answers.append((quick, exact))
    quick, exact = np.array(answers).sum(axis=0)
    assert not answers[0][1] and exact > quick
    assert exact >= 61 - 2 * 8  # at 8 mm at the latest: tip, growth and clearance


def test_without_points_the_voxels_have_the_last_word(scene: CollisionScene) -> None:
    tool = scene._model.forward(READY)
    scene.set_obstacles(Obstacles(tool[None, :3, 3], 0.02))
    assert not scene.free(READY) and not scene.free_exactly(READY)


def test_a_failed_check_is_not_asked_again(scene: CollisionScene, monkeypatch) -> None:
    def broken(q: np.ndarray) -> bool:
        raise RuntimeError("geometry is stale")

    monkeypatch.setattr(scene, "_collides", broken)
    assert not scene.free_exactly(READY)
