"""Segmentation, features and the report on a real sensor's image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from real_frame import (
    TOP_HANDLE,
    halved,
    handle_outline,
    needs_real_frame,
    real_frame,
    region_around,
)

from kalm_core.demonstration import Demonstration
from kalm_core.distillation import DistillationSettings, distill
from kalm_core.features import make_extractors
from kalm_core.proposal.geometric import GeometricProposer, GeometricSettings
from kalm_core.proposal.mask import intersection_over_union
from kalm_core.report.perception import write_perception_report
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import make_pose

pytestmark = needs_real_frame


def noisy(frame: RgbdFrame, seed: int) -> RgbdFrame:
    """The same view with another sample of a D435's depth noise."""
    rng = np.random.default_rng(seed)
    depth = frame.depth + rng.normal(0, 0.001, frame.depth.shape) * (frame.depth > 0)
    return replace(frame, depth=np.round(depth, 3).astype(np.float32))


def test_the_handle_is_the_best_mask():
    frame = real_frame()
    masks = GeometricProposer().propose(frame, region_around(frame, TOP_HANDLE, 0.09))
    outline = handle_outline() & (frame.depth > 0)
    overlaps = [intersection_over_union(mask.pixels, outline) for mask in masks]
    assert overlaps[0] == max(overlaps) > 0.7


def test_fpfh_of_a_place_survives_noise_and_tells_places_apart():
    frame = halved(real_frame())
    feature = make_extractors(["fpfh"])["fpfh"]
    edge, flat = (TOP_HANDLE[0] // 2, TOP_HANDLE[1] // 2), (300, 250)  # handle, bottom drawer
    around = np.array([[u + du, v] for u, v in (edge, flat) for du in range(-12, 13, 4)])
    a, b = (feature.extract(noisy(frame, seed), around) for seed in (1, 2))
    similarity = a @ b.T
    count = len(around) // 2
    same = np.concatenate([similarity[:count, :count], similarity[count:, count:]]).mean()
    other = np.concatenate([similarity[:count, count:], similarity[count:, :count]]).mean()
    assert np.diag(similarity).mean() > 0.9
    assert same > other + 0.02


def opening(frame: RgbdFrame, name: str) -> Demonstration:
    """A motion that closes on the handle and pulls it towards the camera."""
    points = frame.points_base()
    handle = points[TOP_HANDLE[1] // 2, TOP_HANDLE[0] // 2].astype(np.float64)
    away = frame.T_base_cam[:3, 3] - handle
    away[2] = 0.0
    away /= np.linalg.norm(away)
    share = np.concatenate([np.linspace(0.2, 0, 30), np.zeros(10), np.linspace(0, 0.1, 30)])
    up = np.array([0.0, 0.0, 1.0])
    rotation = np.stack([np.cross(up, -away), up, -away], axis=1)
    gripper = np.concatenate([np.full(30, 0.08), np.linspace(0.08, 0.012, 10), np.full(30, 0.012)])
    poses = make_pose(np.tile(rotation, (70, 1, 1)), handle + share[:, None] * away)
    return Demonstration(name, (frame,), np.arange(70) * 0.05, np.zeros((70, 7)), poses, gripper)


def test_its_report_is_written(tmp_path):
    frame = halved(real_frame())
    demonstrations = [opening(noisy(frame, seed), f"noise_{seed}") for seed in range(3)]
    settings = DistillationSettings(geometric=GeometricSettings(min_pixels=60))
    found = distill(demonstrations, settings)
    handle = frame.points_base()[handle_outline()[::2, ::2]].astype(np.float64)
    away = [np.nanmin(np.linalg.norm(handle - p, axis=1)) for p in found.reference.positions]
    assert max(away) < 0.02
    files = write_perception_report(tmp_path, demonstrations, found)
    assert all(path.stat().st_size > 5000 for path in files)
