from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cabinet_scene import Box, Scene, look_at, render

from kalm_core.features import make_extractors
from kalm_core.features.color import ColorFeature, ColorSettings, color_shares
from kalm_core.features.view import make_view, valid_pixels
from kalm_core.se3 import make_pose, rotation_about_z

RED, BLUE = (200.0, 30.0, 30.0), (30.0, 40.0, 200.0)
PLACES = np.array([[0.6, -0.06, 0.1], [0.6, 0.06, 0.1], [0.6, 0.0, 0.0]])


def two_blocks():
    """A red block beside a blue one on a grey table."""
    table = Box(make_pose(np.eye(3), [0.6, 0.0, -0.02]), (0.8, 0.8, 0.02), (120.0, 120.0, 120.0))
    red = Box(make_pose(np.eye(3), [0.6, -0.06, 0.05]), (0.03, 0.03, 0.05), RED)
    blue = Box(make_pose(np.eye(3), [0.6, 0.06, 0.05]), (0.03, 0.03, 0.05), BLUE)
    return Scene((table, red, blue), np.eye(4), PLACES[0], PLACES[1])


def picture(eye):
    return render(two_blocks(), look_at(np.array(eye), np.array([0.6, 0.0, 0.05])), 0, 0.5)


def described(frame):
    view = make_view(frame, {"color": ColorFeature()}, valid_pixels(frame, 2, 1.3))
    return view.features["color"][view.tree.query(PLACES)[1]]


def test_shares_of_a_color_add_up_and_follow_its_hue():
    colors = np.array([RED, BLUE, (0, 0, 0), (255, 255, 255), (90, 90, 90)]).astype(np.uint8)
    shares = color_shares(colors)
    assert np.allclose(shares.sum(axis=1), 1.0) and (shares >= 0).all()
    assert shares[0] @ shares[1] < 0.01
    darker = color_shares((0.6 * colors[:2]).astype(np.uint8))
    assert np.allclose(darker, shares[:2], atol=0.05)
    assert shares[2] @ shares[3] == 0


def test_color_tells_parts_apart_from_any_side():
    front, side = described(picture((0.2, 0.1, 0.4))), described(picture((0.75, 0.4, 0.5)))
    similarity = front @ side.T
    assert (np.diag(similarity) > 0.8).all()
    assert (np.diag(similarity) > (similarity - 2 * np.eye(3)).max(axis=1) + 0.15).all()


def test_color_does_not_change_when_the_world_turns_about_gravity():
    frame = picture((0.2, 0.1, 0.4))
    turned = replace(frame, T_base_cam=rotation_about_z(0.7) @ frame.T_base_cam)
    pixels = valid_pixels(frame, 6, 1.3)
    a, b = (ColorFeature().extract(item, pixels) for item in (frame, turned))
    assert np.median((a * b).sum(axis=1)) > 0.99


def test_rows_are_unit_and_zero_without_depth_or_beyond_the_range():
    frame = picture((0.2, 0.1, 0.4))
    feature = make_extractors(["color"])["color"]
    pixels = np.array([[u, v] for v in range(3, 240, 12) for u in range(3, 320, 12)])
    rows = feature.extract(frame, pixels)
    assert rows.shape == (len(pixels), feature.dimension) and rows.dtype == np.float32
    depth = frame.depth[pixels[:, 1], pixels[:, 0]]
    norm = np.linalg.norm(rows, axis=1)
    seen = (depth > 0) & (depth < 1.5)
    assert np.allclose(norm[seen], 1.0, atol=1e-5) and (norm[~seen] == 0).all()
    near = ColorFeature(ColorSettings(max_range=0.2)).extract(frame, pixels)
    assert (near == 0).all()


@pytest.mark.parametrize("radii", [(0.02,), (0.02, 0.05)])
def test_the_length_follows_from_the_shells(radii):
    feature = ColorFeature(ColorSettings(radii=radii))
    rows = feature.extract(picture((0.2, 0.1, 0.4)), np.array([[160, 120]]))
    assert rows.shape == (1, feature.dimension)


@pytest.mark.parametrize("radii", [(), (0.04, 0.015), (-0.01, 0.04), (0.02, 0.02), (0.1, 0.9)])
def test_radii_that_are_no_shells_are_refused(radii):
    with pytest.raises(ValueError, match="ascending"):
        ColorSettings(radii=radii)
