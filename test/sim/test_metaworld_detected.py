from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="pip install -r requirements/benchmarks.txt")

from benchmarks.metaworld import _add_perception
from benchmarks.metaworld_detected import learn_keypoints, take_picture
from benchmarks.metaworld_piece import CUT, OURS, Piece
from benchmarks.results import Results
from kalm_core.errors import KeypointsNotFoundError
from kalm_sim.metaworld.scenes import Scene, draw_scene
from kalm_sim.metaworld.tasks import TASKS
from kalm_sim.metaworld.world import World

pytestmark = pytest.mark.sim


def test_keypoints_of_five_demonstrations_are_found_in_another_scene_and_not_without_the_object():
    world = World(TASKS["button-press"])
    eye = learn_keypoints(world, range(5), CUT)
    assert len(eye.examples) + len(eye.left_out) == 5 and len(eye.examples) >= 3
    look = eye.look(world, draw_scene(world.task, 50_000))
    eye.require(look)
    assert np.median(look.errors) < 0.03
    # The same picture without the object: what it stood on is taken out of the depth.
    frame, _ = take_picture(world, draw_scene(world.task, 50_000))
    above = frame.points_base()[..., 2] > 0.01
    blank = replace(frame, depth=np.where(above, 0.0, frame.depth).astype(np.float32))
    found = eye.detector.detect(blank, eye.distillation.reference)
    with pytest.raises(KeypointsNotFoundError):
        eye.require(replace(look, keypoints=found))


def test_a_scene_is_pictured_from_the_same_place_again():
    world = World(TASKS["drawer-open"])
    scene = draw_scene(world.task, 4)
    first, refused = take_picture(world, scene)
    world.reset(Scene(np.array([0.05, 0.86, 0.0]), 0.3))
    again, same = take_picture(world, scene)
    assert refused == same
    assert np.array_equal(first.T_base_cam, again.T_base_cam)
    assert np.array_equal(first.depth, again.depth)


def test_failures_are_split_into_not_found_and_policy_failed():
    piece = Piece(found=[True, True, False, True], errors=[0.01, 0.02, 0.03], views_refused=2)
    piece.ever[OURS] = piece.end[OURS] = [True, False, False, True]
    results = Results("metaworld", "test", full=False)
    _add_perception(results, "detected", "drawer-open", [piece])
    rows = {row.id.rsplit("/", 1)[1]: row for row in results.rows}
    assert rows["not_found"].value == rows["policy_failed"].value == 0.25
    assert "2 views left out" in rows["not_found"].note
    assert rows["keypoint_error_median"].value == 0.02
    before = len(results.rows)
    _add_perception(results, "oracle", "drawer-open", [Piece(end={OURS: [True]})])
    assert len(results.rows) == before
