from __future__ import annotations

import numpy as np
import pytest
from cabinet_scene import make_demonstration
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm_core.demonstration import Demonstration
from kalm_core.errors import ConfigError, DistillationError
from kalm_core.proposal import farthest_points, make_mask_proposer, make_region_proposer
from kalm_core.proposal.contact import find_contact, held_width, scene_points
from kalm_core.proposal.geometric import GeometricProposer, GeometricSettings
from kalm_core.proposal.mask import Mask, intersection_over_union, suppress_overlaps
from kalm_core.proposal.pixel_graph import segment_graph
from kalm_core.proposal.proximity import ProximityProposer
from kalm_core.se3 import rotation_about_z, transform_points


def with_motion(demonstration: Demonstration, T_base_ee: np.ndarray, gripper: np.ndarray):
    return Demonstration(
        demonstration.name,
        demonstration.frames,
        demonstration.stamps,
        demonstration.joints,
        T_base_ee,
        gripper,
    )


@pytest.fixture(scope="module")
def cabinet():
    return make_demonstration(3, scale=0.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 90))
def test_farthest_points_are_distinct_and_spread(seed, count, size):
    points = np.random.default_rng(seed).uniform(-1, 1, (size, 3))
    chosen = farthest_points(points, count)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, size)
    if 1 < len(chosen) < size:
        between = np.linalg.norm(points[chosen][:, None] - points[chosen][None], axis=-1)
        spacing = between[~np.eye(len(chosen), dtype=bool)].min()
        uncovered = np.linalg.norm(points[:, None] - points[chosen][None], axis=-1).min(axis=1)
        assert uncovered.max() <= spacing + 1e-12  # greedy choice: nothing is left farther off


def test_farthest_points_turn_with_the_points():
    points = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    turned = transform_points(rotation_about_z(1.0), points) + 3.0
    assert (farthest_points(points, 20) == farthest_points(turned, 20)).all()


def test_contact_is_where_the_fingers_close(cabinet):
    demonstration, scene = cabinet
    contact = find_contact(demonstration)
    assert contact is not None
    assert np.linalg.norm(contact.position - scene.top_handle) < 0.02


def test_contact_without_closing_is_where_the_tool_stays(cabinet):
    demonstration, scene = cabinet
    still = with_motion(demonstration, demonstration.T_base_ee, np.full(120, 0.02))
    contact = find_contact(still)
    assert contact is not None
    assert np.linalg.norm(contact.position - scene.top_handle) < 0.02


def test_a_tool_that_rests_in_the_end_worked_elsewhere(cabinet):
    demonstration, scene = cabinet
    seen = scene_points(demonstration).reshape(-1, 3)
    seen = seen[np.abs(seen[:, 2]) < 0.01]
    table = seen[np.linalg.norm(seen - scene.top_handle, axis=1).argmax()] + [0.0, 0.0, 0.01]
    tool = np.concatenate([demonstration.T_base_ee[:50], demonstration.T_base_ee[70:]])
    poses = np.concatenate([tool, np.tile(tool[-1:], (60, 1, 1))])
    poses[len(tool) :, :3, 3] = np.concatenate(
        [np.linspace(tool[-1, :3, 3], table, 20), np.tile(table, (40, 1))]
    )
    steps = np.arange(len(poses))
    resting = Demonstration(
        "rests",
        demonstration.frames,
        steps * 0.05,
        np.zeros((len(poses), 7)),
        poses,
        np.full(len(poses), 0.08),
    )
    settled, worked = find_contact(resting), find_contact(resting, rest=0.04)
    assert settled is not None and worked is not None
    assert np.linalg.norm(settled.position - scene.top_handle) > 0.1
    assert np.linalg.norm(worked.position - scene.top_handle) < 0.02


def over_the_handle(demonstration, scene, opening, height=0.11):
    """A hand that comes to rest above the top handle [m]; it starts at rest far from it."""
    T = demonstration.T_base_ee.copy()
    above = scene.top_handle + [0.0, 0.0, height] + 0.02 * scene.T_base_cabinet[:3, 0]
    away = np.clip((70 - np.arange(120)) / 40, 0.0, 1.0)[:, None]
    T[:, :3, 3] = above + away * (0.3 * scene.T_base_cabinet[:3, 0] + [0.0, 0.0, 0.1])
    return with_motion(demonstration, T, np.full(120, opening))


def test_a_hand_that_holds_something_works_on_what_is_under_it(cabinet):
    demonstration, scene = cabinet
    contact = find_contact(over_the_handle(demonstration, scene, 0.06))
    assert contact is not None and contact.sample >= 70
    assert np.linalg.norm(contact.position - scene.top_handle) < 0.09


def test_what_most_demonstrations_hold_is_held(cabinet):
    demonstration, scene = cabinet
    cups = [over_the_handle(demonstration, scene, width) for width in (0.05, 0.06, 0.062)]
    empty = over_the_handle(demonstration, scene, 0.08)
    assert held_width([*cups, empty]) == pytest.approx(0.06)
    assert held_width([cups[0], empty]) == 0.0


def test_what_a_held_thing_passes_nearer_to_on_its_way_is_not_what_it_works_on(cabinet):
    demonstration, scene = cabinet
    over = over_the_handle(demonstration, scene, 0.06, height=0.18)
    points = scene_points(over).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    halfway = (over.T_base_ee[0, :2, 3] + scene.top_handle[:2]) / 2
    below = points[np.linalg.norm(points[:, :2] - halfway, axis=1).argmin()]
    passed = np.add(below, [0.0, 0.0, 0.05])
    T = over.T_base_ee.copy()
    step = 0.02 * (over.stamps[50] - over.stamps[20])  # slow, but not at rest
    slowly = np.add(passed, [0.0, step, 0.0])
    for begin, end, to in ((0, 20, passed), (20, 50, slowly), (50, 70, T[70, :3, 3])):
        share = np.linspace(0, 1, end - begin + 1)[:, None]
        T[begin : end + 1, :3, 3] = T[begin, :3, 3] + share * (to - T[begin, :3, 3])
    contact = find_contact(with_motion(over, T, over.gripper))
    assert contact is not None and contact.sample >= 65
    assert np.linalg.norm(contact.position - scene.top_handle) < 0.09


@pytest.mark.parametrize("opening", [0.0, 0.08])
def test_an_empty_hand_has_no_longer_reach(cabinet, opening):
    demonstration, scene = cabinet
    contact = find_contact(over_the_handle(demonstration, scene, opening))
    assert contact is None or contact.distance < 0.09


def test_the_hand_is_not_part_of_the_scene(cabinet):
    demonstration, scene = cabinet
    T = demonstration.T_base_ee.copy()
    T[:, :3, 3] = scene.top_handle + 0.05 * scene.T_base_cabinet[:3, 0]
    T[:, :3, 2] *= -1  # the hand now lies behind the tool, where the cabinet is
    T[:, :3, 0] *= -1
    inside = with_motion(demonstration, T, demonstration.gripper)
    here = np.isfinite(scene_points(demonstration)).all(axis=-1).sum()
    assert np.isfinite(scene_points(inside)).all(axis=-1).sum() < here


def test_a_motion_in_free_space_has_no_region(cabinet):
    demonstration, _ = cabinet
    T = demonstration.T_base_ee.copy()
    T[:, 2, 3] += 0.6
    with pytest.raises(DistillationError, match="none of 1 demonstrations"):
        ProximityProposer().propose([with_motion(demonstration, T, demonstration.gripper)])


def test_regions_are_ranked_and_lie_around_the_handle(cabinet):
    others = [cabinet[0], make_demonstration(4, scale=0.5)[0]]
    regions = make_region_proposer("proximity").propose(others)
    assert [r.score for r in regions] == sorted((r.score for r in regions), reverse=True)
    for region in regions:
        frame = others[region.demonstration].initial
        assert (frame.depth[region.mask] > 0).all()
        points = frame.points_base()[region.mask]
        assert np.linalg.norm(points - region.center, axis=1).max() <= region.radius


def test_the_best_mask_is_on_the_handle(cabinet):
    demonstration, scene = cabinet
    region = ProximityProposer().propose([demonstration])[0]
    masks = make_mask_proposer("geometric", GeometricSettings(min_pixels=40)).propose(
        demonstration.initial, region
    )
    points = demonstration.initial.points_base()[masks[0].pixels]
    assert np.linalg.norm(points.mean(axis=0) - scene.top_handle) < 0.02
    assert np.abs(points[:, 2] - scene.top_handle[2]).max() < 0.03


def test_masks_have_depth_and_do_not_repeat(cabinet):
    demonstration, _ = cabinet
    region = ProximityProposer().propose([demonstration])[0]
    settings_ = GeometricSettings(min_pixels=40, max_iou=0.6)
    masks = GeometricProposer(settings_).propose(demonstration.initial, region)
    assert 1 < len(masks) <= settings_.count
    for i, mask in enumerate(masks):
        assert mask.pixels.sum() >= settings_.min_pixels
        assert (demonstration.initial.depth[mask.pixels] > 0).all()
        for other in masks[:i]:
            assert intersection_over_union(mask.pixels, other.pixels) <= 0.6
            assert other.score >= mask.score


def test_suppression_keeps_the_better_copy():
    a, b, c = (np.zeros((4, 4), bool) for _ in range(3))
    a[:2], b[:2], c[3] = True, True, True
    b[0, 0] = False
    kept = suppress_overlaps([Mask(b, 0.5), Mask(a, 0.9), Mask(c, 0.1)], 0.5)
    assert [mask.score for mask in kept] == [0.9, 0.1]


def test_graph_segmentation_cuts_at_the_large_difference():
    first, second = np.arange(9), np.arange(1, 10)
    difference = np.full(9, 0.01)
    difference[4] = 5.0
    labels = segment_graph(first, second, difference, 10, preference=2.0)
    assert labels.tolist() == [labels[0]] * 5 + [labels[9]] * 5
    assert labels[0] != labels[9]


@pytest.mark.parametrize("make", [make_region_proposer, make_mask_proposer])
def test_an_unknown_backend_says_which_are_known(make):
    with pytest.raises(ConfigError, match="known are"):
        make("magic")
