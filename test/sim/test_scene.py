from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kalm_core.se3 import invert_pose, transform_points
from kalm_sim.scene import BOTTOM, FRONT_DISTANCE, TOP, draw_scene, luminance, scene_truth

SEEDS = range(60)


@pytest.mark.parametrize("seed", [0, 7, 123456])
def test_the_same_seed_gives_the_same_scene(seed: int) -> None:
    assert draw_scene(seed) == draw_scene(seed)
    assert dataclasses.replace(draw_scene(seed, empty=True), empty=False).cabinet == (
        draw_scene(seed).cabinet
    )


def test_other_seeds_give_other_scenes() -> None:
    assert len({draw_scene(seed) for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cabinet_is_within_its_ranges(seed: int) -> None:
    cabinet = draw_scene(seed).cabinet
    assert FRONT_DISTANCE[0] <= cabinet.x <= FRONT_DISTANCE[1]
    assert abs(cabinet.y) <= 0.12
    assert abs(np.degrees(cabinet.yaw)) <= 25
    assert 0.28 <= cabinet.width <= 0.38
    assert 0.24 <= cabinet.height <= 0.32
    assert 0.24 <= cabinet.depth <= 0.30
    assert 0.08 <= cabinet.handle.length <= 0.14
    assert 0.010 <= cabinet.handle.thickness <= 0.018
    assert 2.0 <= cabinet.friction <= 4.0
    assert abs(luminance(cabinet.handle.color) - luminance(cabinet.front_color)) > 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_handles_are_centred_on_their_drawers_and_move_out_with_them(seed: int) -> None:
    cabinet = draw_scene(seed).cabinet
    for drawer in (TOP, BOTTOM):
        low, high = cabinet.drawer_span(drawer)
        assert 0 < low < high < cabinet.height
        closed = cabinet.T_base_handle(drawer)
        local = invert_pose(cabinet.T_base_cabinet) @ closed
        np.testing.assert_allclose(
            local[:3, 3], [-cabinet.handle.standoff, 0, (low + high) / 2], atol=1e-12
        )
        moved = cabinet.T_base_handle(drawer, 0.1)[:3, 3] - closed[:3, 3]
        np.testing.assert_allclose(moved, -0.1 * cabinet.T_base_cabinet[:3, 0], atol=1e-12)
    assert cabinet.drawer_span(BOTTOM)[1] < cabinet.drawer_span(TOP)[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_clutter_leaves_the_front_and_the_other_items_alone(seed: int) -> None:
    scene = draw_scene(seed)
    assert 3 <= len(scene.clutter) <= 6
    T_cabinet_base = invert_pose(scene.cabinet.T_base_cabinet)
    for index, item in enumerate(scene.clutter):
        x, y, _ = transform_points(T_cabinet_base, [item.x, item.y, item.z])
        assert x - item.width / 2 > 0.0, "in front of the drawers"
        on_top = item.z > 0
        assert item.z == (scene.cabinet.height if on_top else 0.0)
        if on_top:
            assert x - item.width / 2 > 0.08, "where the hand passes"
        else:
            assert abs(y) > scene.cabinet.width / 2 + item.width / 2
        for other in scene.clutter[:index]:
            distance = np.hypot(item.x - other.x, item.y - other.y)
            assert distance > (item.width + other.width) / 2


def test_an_empty_scene_has_clutter_but_no_truth() -> None:
    scene = draw_scene(3, empty=True)
    truth = scene_truth(scene)
    assert scene.clutter and all(item.z == 0 for item in scene.clutter)
    assert truth.T_base_cabinet is None and truth.handles == () and len(truth.openings) == 0


def test_truth_follows_the_openings() -> None:
    scene = draw_scene(5)
    truth = scene_truth(scene, (0.12, 0.0))
    np.testing.assert_array_equal(truth.openings, [0.12, 0.0])
    np.testing.assert_array_equal(
        truth.handles[TOP].T_base_handle, scene.cabinet.T_base_handle(TOP, 0.12)
    )
