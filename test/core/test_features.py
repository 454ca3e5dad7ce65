from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cabinet_scene import draw_camera, draw_scene, make_demonstration, render

from kalm_core.errors import ConfigError
from kalm_core.features import make_extractors
from kalm_core.features.extractor import unit_rows
from kalm_core.features.facing import facing_directions, fill_small_holes
from kalm_core.features.view import make_view, valid_pixels
from kalm_core.se3 import rotation_about_z, transform_points

EXTRACTORS = make_extractors(["local", "fpfh"])


@pytest.fixture(scope="module")
def frame():
    return make_demonstration(1, scale=0.5)[0].initial


@pytest.mark.parametrize("name", ["local", "fpfh"])
def test_rows_are_unit_or_zero_and_zero_without_depth(frame, name):
    pixels = np.array([[u, v] for v in range(3, 240, 12) for u in range(3, 320, 12)])
    rows = EXTRACTORS[name].extract(frame, pixels)
    assert rows.shape == (len(pixels), EXTRACTORS[name].dimension)
    assert rows.dtype == np.float32
    norm = np.linalg.norm(rows, axis=1)
    assert ((np.abs(norm - 1) < 1e-5) | (norm == 0)).all()
    assert (norm[frame.depth[pixels[:, 1], pixels[:, 0]] == 0] == 0).all()
    assert (norm > 0).mean() > 0.2


@pytest.mark.parametrize("name", ["local", "fpfh"])
def test_the_same_image_gives_the_same_features(frame, name):
    pixels = valid_pixels(frame, 8, 1.3)
    first, second = (EXTRACTORS[name].extract(frame, pixels) for _ in range(2))
    assert (first == second).all()


def test_local_does_not_change_when_the_world_turns_about_gravity(frame):
    turned = replace(frame, T_base_cam=rotation_about_z(0.7) @ frame.T_base_cam)
    pixels = valid_pixels(frame, 6, 1.3)
    a, b = (EXTRACTORS["local"].extract(item, pixels) for item in (frame, turned))
    described = np.abs(a).max(axis=1) > 0
    assert described.sum() > 300
    assert np.median((a * b).sum(axis=1)[described]) > 0.99


def test_local_tells_the_top_handle_from_the_bottom_one_from_another_view():
    view = []
    for seed in (1, 2):
        scene = draw_scene(1)
        frame = render(scene, draw_camera(seed, scene), seed, 0.5)
        item = make_view(frame, {"local": EXTRACTORS["local"]}, valid_pixels(frame, 2, 1.3))
        rows = item.tree.query(np.stack([scene.top_handle, scene.bottom_handle]))[1]
        view.append(item.features["local"][rows])
    similarity = view[0] @ view[1].T
    assert similarity[0, 0] > similarity[0, 1] + 0.05
    assert similarity[1, 1] > similarity[1, 0] + 0.05


def test_facing_directions_turn_with_the_scene_and_point_out_of_the_cabinet():
    scene = draw_scene(5)
    T_base_cam = draw_camera(5, scene)
    for angle in (0.0, 1.1):
        turned = scene.rotated(angle)
        frame = render(turned, rotation_about_z(angle) @ T_base_cam, 5, 0.5)
        face = turned.top_handle - 0.03 * turned.T_base_cabinet[:3, 0] + [0, 0, 0.03]
        direction, share = facing_directions(frame, face[None], 0.09)
        assert direction[0] @ turned.T_base_cabinet[:2, 0] > 0.98
        assert share[0] > 0.2


def test_what_faces_no_way_is_seen_from_the_camera_and_a_front_is_not():
    scene = draw_scene(5)
    frame = render(scene, draw_camera(5, scene), 5, 0.5)
    face = scene.top_handle - 0.03 * scene.T_base_cabinet[:3, 0] + [0, 0, 0.03]
    alone, share = facing_directions(frame, face[None], 0.09)
    asked, same = facing_directions(frame, face[None], 0.09, camera_vote=0.3)
    assert alone[0] @ asked[0] > 0.98
    assert same[0] == pytest.approx(share[0], rel=0.1)
    bare = replace(scene, boxes=scene.boxes[:1])
    frame = render(bare, draw_camera(5, scene), 5, 0.5)
    points = make_view(frame, {}, valid_pixels(frame, 16, 1.0)).points
    towards = frame.T_base_cam[:2, 3] - points[:, :2]
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    direction, share = facing_directions(frame, points, 0.09, camera_vote=0.3)
    assert np.median((direction * towards).sum(axis=1)) > 0.98
    assert np.median(share) < 0.02


def test_a_bare_table_faces_nowhere():
    scene = draw_scene(2, empty=True)
    bare = replace(scene, boxes=scene.boxes[:1])
    frame = render(bare, draw_camera(2, scene), 2, 0.5)
    pixels = valid_pixels(frame, 8, 1.0)
    rows = EXTRACTORS["local"].extract(frame, pixels)
    assert (np.abs(rows).max(axis=1) == 0).mean() > 0.95


def test_an_image_without_depth_has_no_features(frame):
    blind = replace(frame, depth=np.zeros_like(frame.depth))
    pixels = np.array([[10, 10], [100, 100]])
    for extractor in EXTRACTORS.values():
        assert (extractor.extract(blind, pixels) == 0).all()
    assert len(valid_pixels(blind, 4, 1.3)) == 0


def test_small_holes_are_filled_and_large_ones_stay():
    depth = np.full((40, 40), 0.5, np.float32)
    depth[5, 5] = 0
    depth[15:35, 15:35] = 0
    filled = fill_small_holes(depth, 3)
    assert filled[5, 5] == np.float32(0.5)
    assert filled[25, 25] == 0
    assert depth[5, 5] == 0


def test_unit_rows_zeroes_what_is_not_finite():
    rows = unit_rows(np.array([[3.0, 4.0], [np.nan, 1.0], [0.0, 0.0]]))
    assert np.allclose(rows, [[0.6, 0.8], [0, 0], [0, 0]])


def test_view_points_are_those_of_the_pixels(frame):
    pixels = valid_pixels(frame, 10, 1.3)
    view = make_view(frame, {}, pixels)
    assert np.abs(frame.project(view.points) - pixels).max() < 1e-2
    assert np.isfinite(transform_points(frame.T_base_cam, view.points)).all()


def test_backends_by_name():
    assert list(EXTRACTORS) == ["local", "fpfh"]
    with pytest.raises(ConfigError, match="no feature backend 'sift'"):
        make_extractors(["sift"])
    with pytest.raises(ConfigError, match="no feature backend is named"):
        make_extractors([])
