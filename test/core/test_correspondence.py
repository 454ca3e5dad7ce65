from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cabinet_scene import draw_camera, draw_scene, render
from distilled_cabinet import PHI, SCALE, distilled
from scipy.spatial import cKDTree

from kalm_core.constellation import find_upright, fit_upright, stretched
from kalm_core.correspondence import KeypointDetector, require_found
from kalm_core.errors import BundleError, CancelledError, ConfigError, KeypointsNotFoundError
from kalm_core.progress import Progress
from kalm_core.se3 import rotation_about_z, transform_points

DETECTOR = KeypointDetector(PHI)
UNSEEN = (21, 22, 23)


def unseen(seed: int, angle: float = 0.0):
    scene = draw_scene(seed)
    T_base_cam = rotation_about_z(angle) @ draw_camera(seed, scene)
    return render(scene.rotated(angle), T_base_cam, seed, SCALE), scene.rotated(angle)


@pytest.mark.parametrize("seed", UNSEEN)
def test_keypoints_are_found_on_the_top_handle_of_an_unseen_cabinet(seed):
    frame, scene = unseen(seed)
    detected = DETECTOR.detect(frame, distilled().reference)
    require_found(detected, PHI)
    assert np.linalg.norm(detected.center - scene.top_handle) < 0.03
    assert np.isnan(detected.positions[~detected.found]).all()
    assert np.isfinite(detected.positions[detected.found]).all()


def test_detections_turn_with_the_scene():
    here = DETECTOR.detect(unseen(21)[0], distilled().reference)
    there = DETECTOR.detect(unseen(21, 0.9)[0], distilled().reference)
    both = here.found & there.found
    assert both.sum() >= 6
    turned = transform_points(rotation_about_z(0.9), here.positions[both])
    assert np.linalg.norm(turned - there.positions[both], axis=1).max() < 0.015


def test_the_same_image_gives_the_same_keypoints():
    frame, _ = unseen(22)
    first, second = (DETECTOR.detect(frame, distilled().reference) for _ in range(2))
    assert np.array_equal(first.positions, second.positions, equal_nan=True)
    assert np.array_equal(first.score, second.score)


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_a_table_with_clutter_has_no_keypoints(seed):
    scene = draw_scene(seed, empty=True)
    frame = render(scene, draw_camera(seed, scene), seed, SCALE)
    detected = DETECTOR.detect(frame, distilled().reference)
    with pytest.raises(KeypointsNotFoundError, match=r"\d of 8 keypoints found, 5 are needed"):
        require_found(detected, PHI)


def test_an_image_without_depth_has_no_keypoints():
    frame, _ = unseen(21)
    blind = replace(frame, depth=np.zeros_like(frame.depth))
    detected = DETECTOR.detect(blind, distilled().reference)
    assert not detected.found.any()
    assert np.isnan(detected.positions).all()


def test_a_higher_demand_turns_weak_matches_into_null():
    frame, _ = unseen(23)
    reference = distilled().reference
    strict = replace(reference, min_score=np.full(len(reference), 1.5))
    assert not DETECTOR.detect(frame, strict).found.any()


def test_without_verification_every_best_match_is_taken():
    frame, _ = unseen(21)
    loose = KeypointDetector(PHI.model_copy(update={"verify": False}))
    view = loose.view(frame)
    detected = loose.detect_in(view, distilled().reference)
    best = loose.score(view, distilled().reference.features).argmax(axis=0)
    assert detected.found.all()
    assert (detected.positions == view.points[best]).all()


def test_other_backends_than_the_skill_has_are_refused():
    other = KeypointDetector(PHI.model_copy(update={"weights": {"local": 0.9, "fpfh": 0.1}}))
    with pytest.raises(BundleError, match="no features named fpfh"):
        other.detect(unseen(21)[0], distilled().reference)


def test_weights_must_add_up_to_something():
    with pytest.raises(ConfigError, match="add up to nothing"):
        KeypointDetector(PHI.model_copy(update={"weights": {"local": 0.0}}))


def test_detection_can_be_stopped():
    with pytest.raises(CancelledError):
        DETECTOR.detect(unseen(21)[0], distilled().reference, Progress(should_stop=lambda: True))


def test_upright_fit_recovers_a_turn_about_gravity():
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.2, 0.2, (6, 3))
    T = rotation_about_z(2.2)
    T[:3, 3] = 0.4, -0.3, 0.1
    assert np.allclose(fit_upright(points, transform_points(T, points)), T, atol=1e-9)


@pytest.mark.parametrize("longer", [0.7, 1.0, 1.3])
def test_an_arrangement_stretches_with_a_part_of_another_length(longer):
    along = np.linspace(-0.1, 0.1, 8)
    bar = np.stack([np.full(8, 0.5), along, np.full(8, 0.3)], axis=1)
    match = bar * [1.0, longer, 1.0]
    match[3] += [0.0, 0.02, 0.0]  # one is off
    expected = stretched(bar, match, np.ones(8), bar, 0.05)
    rest = np.arange(8) != 3
    assert np.linalg.norm(expected - match, axis=1)[rest].max() < 0.01
    assert abs(expected[3, 1] - longer * along[3]) < 0.005


def test_an_arrangement_without_extent_only_shifts():
    points = np.random.default_rng(2).uniform(-0.1, 0.1, (5, 3))
    here, step = np.array([[0.5, 0.0, 0.2]]), np.array([0.0, 0.03, 0.0])
    assert np.allclose(stretched(here, here + step, np.ones(1), points, 0.05), points + step)


def test_a_keypoint_that_jumps_to_a_like_part_is_outvoted():
    rng = np.random.default_rng(1)
    reference = rng.uniform(-0.05, 0.05, (6, 3)) * [1, 1, 0.1]
    T = rotation_about_z(0.5)
    T[:3, 3] = 0.6, 0.1, 0.2
    right = transform_points(T, reference)
    wrong = right - [0, 0, 0.14]
    points = np.concatenate([right, wrong, rng.uniform(0, 1, (200, 3))])
    scores = np.full((len(points), 6), 0.3)
    for k in range(6):
        scores[k, k] = 0.9
        scores[6 + k, k] = 0.95 if k < 2 else 0.7  # two keypoints prefer the other part
    fit = find_upright(
        reference, points, cKDTree(points), scores,
        tolerance=0.02, size_change=0.2, penalty=0.05,
    )  # fmt: skip
    assert fit is not None
    assert np.allclose(fit.T_base_reference, T, atol=1e-2)
