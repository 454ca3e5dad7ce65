from __future__ import annotations

import numpy as np
import pytest
from planning_scenes import box_frame, hand_pose

from kalm_core.errors import NoImageError
from kalm_core.planning.obstacles import (
    Obstacles,
    ObstacleSettings,
    fit_floor,
    obstacles_from_frame,
    voxelize,
)
from kalm_core.rgbd import RgbdFrame

VIEW = hand_pose([0.3, 0.0, 0.5], np.radians(35))
TABLE = ([0.0, -1.0, -0.1], [2.0, 1.0, 0.0])
BLOCK = ([0.6, -0.1, 0.0], [0.8, 0.1, 0.2])


def nothing(points: np.ndarray) -> np.ndarray:
    return np.zeros(len(points), dtype=bool)


def test_every_point_lies_in_a_voxel_of_the_grid() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, size=(500, 3))
    centers = voxelize(points, 0.05)
    nearest = np.abs(points[:, None] - centers[None]).max(axis=-1).min(axis=1)
    assert nearest.max() <= 0.025 + 1e-9
    assert len(np.unique(centers.round(6), axis=0)) == len(centers)


def test_thin_voxels_are_noise() -> None:
    points = np.array([[0.01, 0.01, 0.01]] * 3 + [[0.51, 0.01, 0.01]])
    np.testing.assert_allclose(voxelize(points, 0.02, min_points=3), [[0.01, 0.01, 0.01]])


def test_no_points_give_no_voxels() -> None:
    assert voxelize(np.zeros((0, 3)), 0.02).shape == (0, 3)


def test_a_seen_block_becomes_voxels_on_its_surface() -> None:
    frame = box_frame(VIEW, [BLOCK])
    settings = ObstacleSettings(pixel_stride=1, min_measured=0.01)
    obstacles = obstacles_from_frame(frame, nothing, settings)
    assert len(obstacles) > 50
    low, high = np.asarray(BLOCK[0]) - 0.02, np.asarray(BLOCK[1]) + 0.02
    assert ((obstacles.centers > low) & (obstacles.centers < high)).all()
    front = np.abs(obstacles.centers[:, 0] - 0.6) < 0.02
    assert front.sum() > 30


def test_the_robot_is_no_obstacle() -> None:
    frame = box_frame(VIEW, [TABLE, BLOCK])
    settings = ObstacleSettings(pixel_stride=1)
    kept = obstacles_from_frame(frame, lambda p: p[:, 2] > 0.05, settings)
    assert len(kept) and kept.centers[:, 2].max() < 0.07


def test_the_part_to_touch_can_be_taken_apart() -> None:
    obstacles = Obstacles(voxelize(np.random.default_rng(1).uniform(0, 1, (800, 3)), 0.02), 0.02)
    keypoints = np.array([[0.5, 0.5, 0.5], [0.2, 0.2, 0.2]])
    far, near = obstacles.split(keypoints, 0.2)
    distance = [
        np.linalg.norm(part.centers[:, None] - keypoints, axis=-1).min(axis=1)
        for part in (far, near)
    ]
    assert distance[0].min() > 0.2 >= distance[1].max()
    assert len(far) + len(near) == len(obstacles)
    assert obstacles.split(np.zeros((0, 3)), 0.2)[0] is obstacles


def test_what_is_in_no_voxel_keeps_the_clearance_from_every_point() -> None:
    rng = np.random.default_rng(5)
    points = rng.uniform(0, 0.3, (300, 3))
    for clearance in (0.005, 0.012):
        centers = voxelize(points, 0.01, clearance=clearance)
        asked = rng.uniform(-0.02, 0.32, (20000, 3))
        inside = np.abs(asked[:, None] - centers[None]).max(axis=-1).min(axis=1) < 0.005
        distance = np.abs(asked[:, None] - points[None]).max(axis=-1).min(axis=1)
        assert distance[~inside].min() > clearance - 1e-9
        assert distance[inside].max() < clearance + 0.01 + 1e-9


def test_the_fitted_floor_is_the_table_not_the_top_of_the_block() -> None:
    frame = box_frame(VIEW, [TABLE, BLOCK])
    settings = ObstacleSettings(pixel_stride=1, floor="fitted")
    obstacles = obstacles_from_frame(frame, nothing, settings)
    assert obstacles.floor == pytest.approx(0.0, abs=0.005)
    beside = np.abs(obstacles.centers[:, 1]) > 0.12
    assert len(obstacles) > 50 and not beside.any()


def test_no_level_no_floor() -> None:
    assert fit_floor(np.zeros((0, 3))) is None
    assert fit_floor(np.random.default_rng(2).uniform(0, 1, (5000, 3))) is None


def test_an_image_almost_without_depth_is_refused() -> None:
    frame = box_frame(VIEW, [TABLE])
    empty = RgbdFrame(frame.color, np.zeros_like(frame.depth), frame.intrinsics, frame.T_base_cam)
    with pytest.raises(NoImageError, match=r"only 0\.0 % of the depth image is measured"):
        obstacles_from_frame(empty, nothing, ObstacleSettings())


def test_depth_below_the_sensors_range_is_not_believed() -> None:
    frame = box_frame(VIEW, [TABLE])
    close = RgbdFrame(
        frame.color, np.full_like(frame.depth, 0.08), frame.intrinsics, frame.T_base_cam
    )
    assert len(obstacles_from_frame(close, nothing, ObstacleSettings())) == 0
