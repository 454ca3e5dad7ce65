from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="pip install -r requirements/benchmarks.txt")

from kalm_core.se3 import invert_pose, transform_points
from kalm_sim.camera import look_at
from kalm_sim.metaworld.scenes import Scene, draw_scene
from kalm_sim.metaworld.tasks import TASKS
from kalm_sim.metaworld.true_keypoints import true_keypoints
from kalm_sim.metaworld.views import (
    DISTANCE,
    MAX_BEHIND_ARM,
    MIN_VISIBLE,
    Viewer,
    draw_camera,
    object_middle,
)
from kalm_sim.metaworld.world import World

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("name", list(TASKS))
def test_what_is_seen_of_the_object_lies_on_it(name):
    world = World(TASKS[name])
    world.reset(draw_scene(world.task, 3))
    with Viewer(world) as viewer:
        T_base_cam, _ = viewer.draw(np.random.default_rng(0))
        frame = viewer.frame(T_base_cam)
        points = frame.points_base()[viewer.object_pixels(T_base_cam)]
    assert len(points) > 2000
    assert np.linalg.norm(points - object_middle(world), axis=1).max() < 0.4
    # The keypoints lie on the object: those that are visible are where the picture shows them.
    keypoints = true_keypoints(world).positions
    nearest = np.linalg.norm(points[None] - keypoints[:, None], axis=-1).min(axis=1)
    assert np.sort(nearest)[1] < 0.012


def test_the_pose_of_the_picture_is_that_of_the_camera():
    world = World(TASKS["button-press-topdown"])
    world.reset(draw_scene(world.task, 1))
    with Viewer(world) as viewer:
        table = []
        for seed in range(3):
            T_base_cam = draw_camera(world, np.random.default_rng(seed))
            frame = viewer.frame(T_base_cam)
            assert np.array_equal(frame.T_base_cam, T_base_cam)
            points = frame.points_base().reshape(-1, 3)
            table.append(points[np.abs(points[:, 2]) < 0.01])
            back = transform_points(invert_pose(T_base_cam), frame.points_base())
            assert np.allclose(back[..., 2], frame.depth, atol=1e-5)
            pixels = frame.project(object_middle(world)[None])[0]
            assert np.allclose(pixels, (frame.intrinsics.cx, frame.intrinsics.cy), atol=1e-6)
    # The table is flat at height 0 from wherever it is seen.
    assert all(len(t) > 1000 and abs(np.median(t[:, 2])) < 0.001 for t in table)


def test_cameras_stand_around_the_objects_front_and_are_the_same_again():
    world = World(TASKS["drawer-open"])
    for yaw in (-0.9, 0.0, 0.9):
        world.reset(Scene(np.array([0.0, 0.87, 0.0]), yaw))
        middle = object_middle(world)
        for seed in range(20):
            T_base_cam = draw_camera(world, np.random.default_rng(seed))
            off = T_base_cam[:3, 3] - middle
            assert DISTANCE[0] <= np.linalg.norm(off) <= DISTANCE[1]
            assert off[2] >= 0 and off @ np.array([np.sin(yaw), -np.cos(yaw), 0.0]) >= -1e-9
            assert np.array_equal(T_base_cam, draw_camera(world, np.random.default_rng(seed)))


def test_views_behind_the_arm_are_left_out():
    world = World(TASKS["drawer-open"])
    world.reset(Scene(np.array([0.0, 0.87, 0.0]), 0.0))
    with Viewer(world) as viewer:
        middle = object_middle(world)
        out = (world.hand - middle) / np.linalg.norm(world.hand - middle)
        behind = viewer.visibility(look_at(middle + 1.7 * out, middle))
        assert behind.behind_arm > MAX_BEHIND_ARM and not behind.enough
        T_base_cam, _ = viewer.draw(np.random.default_rng(5))
        kept = viewer.visibility(T_base_cam)
        assert kept.share >= MIN_VISIBLE and kept.behind_arm <= MAX_BEHIND_ARM
        moved = T_base_cam.copy()
        moved[:3, 3] += 0.5 * moved[:3, 0]
        assert viewer.visibility(moved).share == 0.0


def test_moving_the_hand_changes_the_picture_of_the_present():
    world = World(TASKS["lever-pull"])
    world.reset(draw_scene(world.task, 0))
    with Viewer(world) as viewer:
        T_base_cam = draw_camera(world, np.random.default_rng(2))
        before = viewer.frame(T_base_cam)
        again = viewer.frame(T_base_cam)
        assert np.array_equal(before.color, again.color)
        assert np.array_equal(before.depth, again.depth)
        for _ in range(30):
            world.drive(world.hand + np.array([0.1, 0.1, 0.1]), 0.0, True)
        assert not np.array_equal(before.depth, viewer.frame(T_base_cam).depth)
