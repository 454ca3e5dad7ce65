"""The MoveIt backend against a stand-in that refuses what moveit_py does not have."""

from __future__ import annotations

import sys

import moveit_stand_in
import numpy as np
import pytest

from kalm_core import fr3_limits
from kalm_core.errors import BackendUnavailableError
from kalm_core.planning.certified_planner import CertifiedPlanner
from kalm_core.planning.joint_motion import SearchError
from kalm_core.planning.obstacles import Obstacles, voxelize
from kalm_core.planning.planner import PlanningSettings, make_planner
from kalm_ros.moveit_motion import MoveItFreeMotion, MoveItSettings, moveit_motion

START = np.array([0.0, -0.7, 0.0, -2.3, 0.0, 1.6, 0.8])
GOAL = START + np.array([0.3, 0.1, 0.0, 0.1, 0.0, 0.0, -0.2])


@pytest.fixture
def motion(monkeypatch) -> MoveItFreeMotion:
    moveit_stand_in.install(monkeypatch)
    return moveit_motion(MoveItSettings())


def test_without_moveit_there_is_one_clear_error(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "moveit", None)
    monkeypatch.delitem(sys.modules, "moveit")
    with pytest.raises(BackendUnavailableError, match=r"moveit_py is not installed.*roboplan"):
        moveit_motion(MoveItSettings())


def test_moveit_that_does_not_start_says_what_it_said(monkeypatch) -> None:
    moveit_stand_in.install(monkeypatch)
    monkeypatch.setattr(moveit_stand_in.MoveItPy, "refuses", "Unable to construct robot model")
    with pytest.raises(BackendUnavailableError, match=r"Unable to construct.*docs/moveit\.md"):
        moveit_motion(MoveItSettings())


def test_a_path_goes_from_start_to_goal_in_our_order_of_joints(motion) -> None:
    path = motion.path_to(START, GOAL, 0.04)
    np.testing.assert_allclose(path.positions[0], START)
    np.testing.assert_allclose(path.positions[-1], GOAL)
    speed = np.abs(np.diff(path.positions, axis=0)) / np.diff(path.stamps)[:, None]
    assert (speed <= fr3_limits.velocity()).all() and path.stamps[0] == 0.0


def test_a_search_that_fails_is_a_search_error(motion) -> None:
    motion._moveit.fails = True
    with pytest.raises(SearchError, match="99999"):
        motion.path_to(START, GOAL, 0.04)


def test_obstacles_replace_those_before(motion) -> None:
    objects = motion._moveit.get_planning_scene_monitor().objects
    points = np.random.default_rng(0).uniform(0.3, 0.6, (50, 3))
    obstacles = Obstacles(voxelize(points, 0.02), 0.02, floor=-0.1)
    motion.see(obstacles)
    (boxes,) = objects.values()
    assert len(boxes.primitives) == len(obstacles) + 1
    assert boxes.primitives[0].dimensions == [0.02] * 3
    motion.see(Obstacles(obstacles.centers[:3], 0.02))
    (boxes,) = objects.values()
    assert len(boxes.primitives) == 3
    motion.see(Obstacles(np.zeros((0, 3)), 0.02))
    assert not objects


def test_what_moveit_finds_is_certified_anew(motion) -> None:
    """The stand-in goes straight through everything; the suite must refuse its path."""
    planner = make_planner(PlanningSettings(backend="moveit"), motion)
    assert isinstance(planner, CertifiedPlanner)
    path = planner.path_to(GOAL, START, 0.04)
    np.testing.assert_allclose(path.positions[-1], GOAL)
    middle = planner.model.forward((START + GOAL) / 2)[:3, 3]
    rod = middle + np.linspace(-0.1, 0.1, 30)[:, None] * [0.0, 0.0, 1.0]
    planner.surroundings.set_obstacles(Obstacles(voxelize(rod, 0.01), 0.01))
    with pytest.raises(SearchError, match=r"not certified: motion, pose .* obstacle at"):
        planner.certifier.demand_free(path, START, 0.04)
