from __future__ import annotations

import numpy as np
import pytest
from planning_scenes import box_frame, hand_pose

from kalm_core.errors import NoFeasibleTrajectoryError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.planner import make_planner
from kalm_core.planning.robot_model import RobotModel
from kalm_core.planning.views import middle_of, other_views, path_to_other_view
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, invert_pose, transform_points

VIEW = hand_pose([0.35, 0.05, 0.45], np.radians(40))
BLOCK = ([0.6, -0.1, 0.0], [0.8, 0.1, 0.2])
CENTER = np.array([0.62, 0.05, 0.15])


@pytest.mark.parametrize("way", [(25.0, 0.0), (15.0, 20.0), (0.0, -20.0)])
def test_a_view_from_elsewhere_keeps_what_it_looks_at_where_it_was(
    way: tuple[float, float],
) -> None:
    (pose,) = other_views(VIEW, CENTER, [way])
    before, after = (transform_points(invert_pose(T), CENTER) for T in (VIEW, pose))
    np.testing.assert_allclose(after, before, atol=1e-9)
    rise = pose[2, 3] - VIEW[2, 3]
    assert (rise > 0.03) if way[0] else rise == pytest.approx(0.0, abs=1e-9)


def test_the_middle_of_an_image_is_on_what_it_shows() -> None:
    frame = box_frame(VIEW, [BLOCK])
    point = middle_of(frame)
    pixel = transform_points(invert_pose(frame.T_base_cam), point)
    assert pixel[:2] == pytest.approx([0.0, 0.0], abs=0.02)
    measured = frame.depth[frame.depth > 0]
    assert measured.min() <= pixel[2] <= measured.max()


def test_an_image_without_depth_has_no_middle() -> None:
    frame = box_frame(VIEW, [BLOCK])
    empty = RgbdFrame(
        frame.color, np.zeros_like(frame.depth), frame.intrinsics, frame.T_base_cam, frame.stamp
    )
    with pytest.raises(NoFeasibleTrajectoryError, match="no depth"):
        middle_of(empty)


def test_where_nothing_was_found_it_looks_from_higher_up() -> None:
    planner, model = make_planner(), RobotModel.load()
    joints = model.inverse(VIEW, np.array([0.0, -0.5, 0.0, -2.3, 0.0, 1.9, 0.8]), seeds=8)
    assert joints is not None
    frame = box_frame(VIEW, [([0.1, -1.0, -0.1], [2.0, 1.0, -0.001]), BLOCK])
    path = path_to_other_view(planner, model, DetectedKeypoints.nothing(), frame, joints, 0.04)
    end: Array = model.forward(path.positions[-1])
    assert end[2, 3] > VIEW[2, 3] + 0.05


def test_what_is_held_is_not_tilted_for_another_view() -> None:
    planner, model = make_planner(), RobotModel.load()
    joints = model.inverse(VIEW, np.array([0.0, -0.5, 0.0, -2.3, 0.0, 1.9, 0.8]), seeds=8)
    assert joints is not None
    frame = box_frame(VIEW, [([0.1, -1.0, -0.1], [2.0, 1.0, -0.001]), BLOCK])
    seen = DetectedKeypoints(CENTER + 0.02 * np.eye(3), np.ones(3, bool), np.ones(3))
    for keypoints in (seen, DetectedKeypoints.nothing()):
        path = path_to_other_view(planner, model, keypoints, frame, joints, 0.04, level=True)
        tools = model.tool_poses(path.positions)
        lean = np.arccos(np.clip(tools[:, 2, 2] / 1.0, -1.0, 1.0))
        assert np.abs(lean - lean[0]).max() < np.radians(3.0)
        turned = np.arctan2(tools[-1, 1, 2], tools[-1, 0, 2])
        assert abs(turned - np.arctan2(tools[0, 1, 2], tools[0, 0, 2])) > np.radians(10.0)
