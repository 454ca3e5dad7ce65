from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from kalm_core.se3 import make_pose, rotation_about_z, transform_points
from kalm_core.voting import find_by_votes

REFERENCE = np.random.default_rng(0).uniform(-0.1, 0.1, (10, 3))
SETTINGS = {"tolerance": 0.03, "penalty": 0.3}


def scene(T, kinds, seed=1):
    """Places of moved keypoints among clutter; a score says only of which kind a place is."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([transform_points(T, REFERENCE), rng.uniform(-0.5, 0.5, (90, 3))])
    kind = np.concatenate([kinds, rng.integers(0, kinds.max() + 1, 90)])
    scores = (kind[:, None] == kinds[None]).astype(np.float32)
    return points, scores


def test_places_that_look_alike_find_the_arrangement_together():
    kinds = np.arange(10) % 5  # of 100 places, every fifth looks like any keypoint
    order = np.random.default_rng(2).permutation(100)
    for angle in (0.0, 0.9, 2.4, -2.0):
        T = make_pose(np.eye(3), [0.1, -0.2, 0.05]) @ rotation_about_z(angle)
        points, scores = scene(T, kinds)
        tree = cKDTree(points[order])
        fit = find_by_votes(REFERENCE, points[order], tree, scores[order], **SETTINGS)
        off = transform_points(fit.T_base_reference, REFERENCE) - points[:10]
        assert np.linalg.norm(off, axis=1).max() < 0.02
        assert fit.support > 0.9 and fit.lead > 0.0


def test_hidden_keypoints_do_not_move_the_others():
    kinds = np.arange(10) % 5
    T = make_pose(np.eye(3), [0.0, 0.1, 0.0]) @ rotation_about_z(1.0)
    points, scores = scene(T, kinds)
    shown = np.r_[0:5, 10 : len(points)]
    tree = cKDTree(points[shown])
    fit = find_by_votes(REFERENCE, points[shown], tree, scores[shown], **SETTINGS)
    off = transform_points(fit.T_base_reference, REFERENCE) - points[:10]
    assert np.linalg.norm(off, axis=1).max() < 0.03


def test_the_same_places_in_another_order_give_the_same_motion():
    points, scores = scene(rotation_about_z(0.5), np.arange(10) % 5)
    fit = find_by_votes(REFERENCE, points, cKDTree(points), scores, **SETTINGS)
    order = np.random.default_rng(3).permutation(len(points))
    again = find_by_votes(
        REFERENCE, points[order], cKDTree(points[order]), scores[order], **SETTINGS
    )
    assert np.allclose(fit.T_base_reference, again.T_base_reference, atol=0.01)


def test_without_places_there_is_no_motion():
    none = np.zeros((0, 3))
    assert find_by_votes(REFERENCE, none, cKDTree(none), np.zeros((0, 10)), **SETTINGS) is None


def test_of_two_equal_arrangements_neither_leads():
    first, second = (transform_points(make_pose(np.eye(3), [x, 0, 0]), REFERENCE) for x in (-1, 1))
    points = np.concatenate([first, second])
    scores = (np.tile(np.arange(10), 2)[:, None] == np.arange(10)[None]).astype(np.float32)
    alone = find_by_votes(REFERENCE, first, cKDTree(first), scores[:10], **SETTINGS)
    both = find_by_votes(REFERENCE, points, cKDTree(points), scores, **SETTINGS)
    assert alone.lead > 0.9
    assert both.support > 0.99 and both.lead < 0.01
