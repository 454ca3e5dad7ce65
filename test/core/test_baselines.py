from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.baseline_actor import PointActor
from benchmarks.baseline_models import spatial_softmax
from benchmarks.baseline_sight import POINTS, SIDE, Sights, farthest, sight
from benchmarks.baseline_training import (
    KINDS,
    Effort,
    Scaling,
    batch_of,
    network_of,
    shaken,
    train_baseline,
)
from kalm_core.policy.encoding import encode
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.se3 import make_pose, rotation_about_z, transform_points
from kalm_core.trajectory import POSES, EndEffectorTrajectory

SHORT = Effort(steps=2, batch=4, points=16)
EACH_NETWORK = ("diffuser_rgb", "actor3d_keypoints")
KEYPOINTS = np.random.default_rng(5).uniform(-0.1, 0.1, (8, 3))


def looking_down():
    """A camera 1.5 m above the table that sees a slope of points above it."""
    k = Intrinsics(160, 120, 200.0, 200.0, 79.5, 59.5)
    T = make_pose(np.diag([1.0, -1.0, -1.0]), [0.0, 0.75, 1.5])
    depth = np.tile(np.linspace(1.3, 1.45, 160, dtype=np.float32), (120, 1))
    color = np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    return RgbdFrame(color, depth, k, T)


def made_up(rng, turn=0.0, views=3):
    """A scene whose object is turned: views of it, and the trajectory that goes past it."""
    T = rotation_about_z(turn)
    T[:3, 3] = [rng.uniform(-0.1, 0.1), rng.uniform(0.7, 0.8), 0.1]
    keypoints = transform_points(T, KEYPOINTS)
    points = np.tile(keypoints, (POINTS // 8, 1)) + rng.normal(0.0, 0.01, (POINTS, 3))
    seen = Sights(
        image=rng.integers(0, 255, (views, SIDE, SIDE, 3), dtype=np.uint8),
        camera=rng.normal(size=(views, 12)),
        points=np.tile(points, (views, 1, 1)),
        colors=rng.integers(0, 255, (views, POINTS, 3), dtype=np.uint8),
        places=rng.uniform(-1.0, 1.0, (views, POINTS, 2)),
        keypoints=np.tile(keypoints, (views, 1, 1)),
        pixels=np.tile(4.0 * keypoints[:, :2] - [0.0, 3.0], (views, 1, 1)),
    )
    path = np.linspace(-0.1, 0.1, POSES)[:, None] * [1.0, 0.0, 0.0]
    poses = T @ make_pose(np.diag([1.0, -1.0, -1.0]), path)
    return seen, EndEffectorTrajectory(poses, np.zeros(POSES), np.arange(POSES) * 0.1)


def lessons(count=3):
    rng = np.random.default_rng(0)
    pairs = [made_up(rng, turn) for turn in np.linspace(-0.5, 0.5, count)]
    return [seen for seen, _ in pairs], [trajectory for _, trajectory in pairs]


def test_points_lie_in_the_picture_where_they_are_said_to_lie():
    frame = looking_down()
    keypoints = np.array([[0.0, 0.75, 0.1], [0.1, 0.7, 0.15]])
    seen = sight(frame, keypoints, np.random.default_rng(0))
    assert len(seen) == 1 and seen.image.shape == (1, SIDE, SIDE, 3)
    pixels = frame.project(seen.points[0])
    assert np.abs((pixels - [79.5, 59.5]) / 60.0 - seen.places[0]).max() < 1e-4
    assert np.abs(seen.pixels[0, 0]).max() < 1e-6  # straight below the camera
    u, v = pixels.round().astype(int).T
    assert (frame.color[v, u] == seen.colors[0]).all()
    assert seen.points[0, :, 1].min() > 0.5  # nothing outside of the workspace


def test_a_view_without_points_in_the_workspace_still_has_points():
    frame = looking_down()
    low = replace(frame, depth=np.full((120, 160), 1.5, np.float32))  # the bare table
    assert np.isfinite(sight(low, np.zeros((8, 3)), np.random.default_rng(0)).points).all()


def test_farthest_points_spread_and_repeat_where_there_are_few():
    line = np.arange(5.0)[:, None] * [1.0, 0.0, 0.0]
    assert farthest(line, 3).tolist() == [0, 4, 2]
    assert set(farthest(line, 9).tolist()) == set(range(5))


def test_a_bright_spot_of_a_map_is_where_it_is():
    maps = torch.zeros(1, 1, 5, 9)
    maps[0, 0, 0, 8] = 50.0
    assert torch.allclose(spatial_softmax(maps), torch.tensor([[1.0, -1.0]]), atol=1e-5)


@pytest.mark.parametrize("kind", EACH_NETWORK)
def test_the_same_seed_trains_and_samples_the_same(kind):
    seen, trajectories = lessons()
    first = train_baseline(kind, seen, trajectories, 4, SHORT)
    again = train_baseline(kind, seen, trajectories, 4, SHORT)
    other = train_baseline(kind, seen, trajectories, 5, SHORT)
    assert first.losses == again.losses and first.losses != other.losses
    samples = first.sample(seen[0][:1], 2, 7)
    assert len(samples) == 2 and samples[0].T_base_ee.shape == (POSES, 4, 4)
    for sample, repeated in zip(samples, again.sample(seen[0][:1], 2, 7), strict=True):
        assert np.array_equal(sample.T_base_ee, repeated.T_base_ee)


@pytest.mark.parametrize("kind", EACH_NETWORK)
def test_the_loss_falls(kind):
    seen, trajectories = lessons()
    effort = replace(SHORT, steps=30, yaw=0.0, shift=0.0)
    losses = train_baseline(kind, seen, trajectories, 0, effort).losses
    assert np.mean(losses[-8:]) < 0.6 * np.mean(losses[:4])


@pytest.mark.parametrize("kind", KINDS)
def test_only_those_with_keypoints_see_keypoints(kind):
    seen = lessons(1)[0][0]
    moved = replace(seen, keypoints=seen.keypoints + 0.1, pixels=seen.pixels + 0.1)
    torch.manual_seed(0)
    network = network_of(kind, 8)
    scaling = Scaling(np.zeros(10), np.full(10, 0.1))
    with torch.no_grad():
        told, other = (network.observe(batch_of(s, scaling)) for s in (seen, moved))
    assert torch.equal(told, other) != kind.endswith("_keypoints")


def test_the_actors_prediction_shifts_with_the_scene_whatever_the_order_of_its_points():
    torch.manual_seed(0)
    network = PointActor(8).eval()
    scaling = Scaling(np.array([0.0, 0.75, 0.1, *[0.0] * 7]), np.full(10, 0.1))
    seen = lessons(1)[0][0]
    noisy, level = torch.randn(3, POSES, 10), torch.tensor([3, 50, 99])
    shift = torch.tensor([0.7, -1.2, 0.4])
    with torch.no_grad():
        scene = network.observe(batch_of(seen, scaling))
        clean = network(noisy, level, scene)
        order = np.random.default_rng(0).permutation(POINTS)
        mixed = {name: getattr(seen, name)[:, order] for name in ("points", "colors", "places")}
        moved = batch_of(replace(seen, **mixed), scaling)
        moved = replace(moved, points=moved.points + shift, keypoints=moved.keypoints + shift)
        wide = torch.cat([shift, torch.zeros(7)])
        again = network(noisy + wide, level, network.observe(moved)) - wide
    assert torch.abs(again - clean).max() < 1e-3


def test_a_shaken_world_turns_with_its_camera_and_its_trajectory():
    seen, trajectories = lessons(2)
    views = Sights.joined([s[:1] for s in seen])
    frame = looking_down()
    views = replace(views, camera=np.tile(frame.T_base_cam[:3].reshape(1, 12), (2, 1)))
    rows = np.stack([encode(t, np.eye(4)) for t in trajectories])
    before = rows.copy()
    drawn, turned = shaken(views, rows, replace(SHORT, yaw=1.0), np.random.default_rng(0))
    assert (rows == before).all() and drawn.points.shape == (2, SHORT.points, 3)
    for i in range(2):
        there = replace(frame, T_base_cam=np.vstack([drawn.camera[i].reshape(3, 4), [0, 0, 0, 1]]))
        # The picture stays: what was seen at a pixel is seen there still.
        assert np.abs(there.project(turned[i, :, :3]) - frame.project(rows[i, :, :3])).max() < 1e-6
        shown = there.project(drawn.keypoints[i]) - frame.project(views.keypoints[i])
        assert np.abs(shown).max() < 3.0  # [px]: points are shaken by 3 mm
        assert np.linalg.norm(turned[i, :, :3] - rows[i, :, :3], axis=1).min() > 1e-3
        hand = np.linalg.norm(turned[i, :, 3:6] - rows[i, :, 3:6], axis=1)
        assert hand.min() > 0.01 and np.ptp(hand) < 1e-9  # one turn for all poses


def test_scaling_of_space_keeps_geometry():
    rows = np.stack([encode(t, np.eye(4)) for t in lessons()[1]])
    points = np.random.default_rng(0).normal(size=(6, 3))
    scaled = Scaling.of_space(rows).positions(points)
    ratio = np.linalg.norm(np.diff(scaled, axis=0), axis=1)
    assert np.allclose(ratio, 10.0 * np.linalg.norm(np.diff(points, axis=0), axis=1))
