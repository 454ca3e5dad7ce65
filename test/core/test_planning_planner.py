from __future__ import annotations

import time

import numpy as np
import pytest
from planning_scenes import READY, SampledArm, box_frame, hand_pose

from kalm_core import fr3_limits
from kalm_core.errors import (
    BackendUnavailableError,
    CancelledError,
    GoalError,
    NoFeasibleTrajectoryError,
    NoImageError,
)
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.certified_planner import CertifiedPlanner
from kalm_core.planning.joint_motion import JointMotionSettings, joint_path_to
from kalm_core.planning.obstacles import ObstacleSettings
from kalm_core.planning.planner import PlanningSettings, make_planner
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import interpolate_poses
from kalm_core.trajectory import EndEffectorTrajectory, JointPath

TABLE = ([0.1, -1.0, -0.1], [2.0, 1.0, -0.001])
WALL = ([0.42, 0.05, 0.0], [0.62, 0.08, 0.55])
HANDLE = np.array([0.60, 0.0, 0.25])
HALF = np.array([0.006, 0.06, 0.006])
CABINET = [
    TABLE,
    ([0.64, -0.2, 0.0], [0.9, 0.2, 0.36]),
    (HANDLE - HALF, HANDLE + HALF),
]
SETTINGS = PlanningSettings(obstacles=ObstacleSettings(pixel_stride=1))


@pytest.fixture(scope="module")
def planner() -> CertifiedPlanner:
    planner = make_planner(SETTINGS)
    assert isinstance(planner, CertifiedPlanner)
    return planner


@pytest.fixture(scope="module")
def view(planner: CertifiedPlanner) -> np.ndarray:
    """Joints (7,) from which the camera looks at the cabinet."""
    for turn in (1.0, -1.0):
        pose = hand_pose([0.3, 0.0, 0.5], np.radians(35)) @ np.diag([turn, turn, 1.0, 1.0])
        for q in planner.model.inverse_all(pose, READY):
            if planner.surroundings.free(q):
                return q
    raise AssertionError("the view cannot be taken")


def seen(planner: CertifiedPlanner, joints: np.ndarray, boxes=CABINET) -> RgbdFrame:
    return box_frame(planner.model.forward(joints), boxes)


def no_keypoints() -> DetectedKeypoints:
    return DetectedKeypoints(np.full((8, 3), np.nan), np.zeros(8, bool), np.zeros(8))


def keypoints() -> DetectedKeypoints:
    positions = HANDLE + np.linspace(-0.05, 0.05, 8)[:, None] * [0.0, 1.0, 0.0]
    return DetectedKeypoints(positions, np.ones(8, bool), np.ones(8))


def opening(handle=HANDLE, pitch: float = 35.0, yaw: float = 0.0) -> EndEffectorTrajectory:
    """Reach forward to the handle, close, pull 15 cm towards the base: 48 poses."""
    grasp = hand_pose(handle, np.radians(pitch), yaw)
    before, after = grasp.copy(), grasp.copy()
    before[:3, 3] -= 0.08 * grasp[:3, 2]
    after[:2, 3] -= 0.15 * np.array([np.cos(yaw), np.sin(yaw)])
    poses = interpolate_poses(
        [0.0, 1.0, 2.5], np.stack([before, grasp, after]), np.linspace(0, 2.5, 48)
    )
    return EndEffectorTrajectory(poses, np.repeat([0.08, 0.012], [20, 28]), np.linspace(0, 5, 48))


def assert_within_limits(path: JointPath) -> None:
    assert path.stamps[0] == 0.0
    assert np.diff(path.stamps).max() <= 0.05
    assert (path.positions >= fr3_limits.position_lower()).all()
    assert (path.positions <= fr3_limits.position_upper()).all()
    velocity = np.diff(path.positions, axis=0) / np.diff(path.stamps)[:, None]
    assert (np.abs(velocity) <= fr3_limits.velocity() + 1e-6).all()
    middle = (path.stamps[1:] + path.stamps[:-1]) / 2
    acceleration = np.diff(velocity, axis=0) / np.diff(middle)[:, None]
    assert (np.abs(acceleration) <= 1.02 * fr3_limits.acceleration()).all()


def test_opens_a_drawer(planner: CertifiedPlanner, view: np.ndarray) -> None:
    trajectory = opening()
    plan = planner.plan([trajectory], keypoints(), seen(planner, view), view, 0.08)
    assert plan.chosen == 0 and plan.rejected == {}
    np.testing.assert_array_equal(plan.motion.execution.stamps, trajectory.stamps)
    assert_within_limits(plan.motion.approach)
    np.testing.assert_allclose(plan.motion.approach.positions[0], view, atol=1e-9)
    np.testing.assert_allclose(
        plan.motion.approach.positions[-1], plan.motion.execution_joints[0], atol=1e-9
    )
    assert plan.motion.execution_joints.shape == (48, 7)
    assert np.abs(np.diff(plan.motion.execution_joints, axis=0)).max() < 0.35
    for pose, q in zip(trajectory.T_base_ee, plan.motion.execution_joints, strict=True):
        np.testing.assert_allclose(planner.model.forward(q), pose, atol=0.003)


def test_the_approach_touches_no_voxel_by_an_independent_check(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    arm = SampledArm()
    plan = planner.plan([opening()], keypoints(), seen(planner, view), view, 0.08)
    assert len(planner.surroundings.obstacles) > 300
    for q in plan.motion.approach.positions[::3]:
        assert arm.depth_inside(q, planner.contact.obstacles) < 0


def test_same_input_same_plan(planner: CertifiedPlanner, view: np.ndarray) -> None:
    frame = seen(planner, view)
    first = planner.plan([opening()], keypoints(), frame, view, 0.08)
    again = make_planner(SETTINGS).plan([opening()], keypoints(), frame, view, 0.08)
    np.testing.assert_array_equal(first.motion.approach.positions, again.motion.approach.positions)
    np.testing.assert_array_equal(first.motion.execution_joints, again.motion.execution_joints)


def test_a_first_pose_at_the_handle_ends_in_a_straight_approach(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    whole = opening()
    contact = int(np.argmin(np.linalg.norm(whole.positions - HANDLE, axis=1)))
    late = EndEffectorTrajectory(
        whole.T_base_ee[contact:], whole.gripper[contact:], whole.stamps[contact:]
    ).resampled(48)
    plan = planner.plan([late], keypoints(), seen(planner, view), view, 0.08)
    planner.surroundings.set_gripper(0.08)
    assert not planner.surroundings.free(plan.motion.approach.positions[-1])
    tools = np.stack([planner.model.forward(q) for q in plan.motion.approach.positions])
    near = np.linalg.norm(tools[:, :3, 3] - HANDLE, axis=1) < 0.02
    along = (tools[near, :3, 3] - HANDLE) @ late.T_base_ee[0, :3, 2]
    aside = np.linalg.norm(
        tools[near, :3, 3] - HANDLE - along[:, None] * late.T_base_ee[0, :3, 2], axis=1
    )
    assert near.sum() >= 2 and aside.max() < 0.005
    assert_within_limits(plan.motion.approach)


def test_leaves_a_handle_that_it_holds_straight_backwards(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    there = planner.plan([opening()], keypoints(), seen(planner, view), view, 0.08)
    holding = there.motion.execution_joints[19]
    frame = seen(planner, view)  # a picture from afar, as if a second camera had taken it
    plan = planner.plan([opening()], keypoints(), frame, holding, 0.08)
    np.testing.assert_allclose(plan.motion.approach.positions[0], holding, atol=1e-9)
    assert_within_limits(plan.motion.approach)


def test_a_trajectory_that_is_too_fast_is_slowed_down(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    good = opening()
    hasty = EndEffectorTrajectory(good.T_base_ee, good.gripper, good.stamps / 100)
    plan = planner.plan([hasty], keypoints(), seen(planner, view), view, 0.08)
    assert plan.certificate.passed and plan.certificate.velocity > 0.1  # slower, not sluggish
    np.testing.assert_array_equal(plan.motion.execution.T_base_ee, good.T_base_ee)
    assert plan.motion.execution.duration < good.duration


def test_plans_in_a_fraction_of_a_second(planner: CertifiedPlanner, view: np.ndarray) -> None:
    frame, spent = seen(planner, view), []
    for y in np.linspace(-0.06, 0.06, 5):
        start = time.process_time()  # not the wall clock: other work may share the machine
        planner.plan([opening(HANDLE + np.array([0, y, 0]))], keypoints(), frame, view, 0.08)
        spent.append(time.process_time() - start)
    assert np.median(spent) < 1.0


def test_goes_around_a_wall_that_the_straight_joint_line_would_hit(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    left = planner.model.inverse(hand_pose([0.45, 0.3, 0.25], np.radians(60)), READY)
    right = planner.model.inverse(hand_pose([0.45, -0.25, 0.25], np.radians(60)), READY)
    assert left is not None and right is not None
    scene, arm = planner.surroundings, SampledArm()
    scene.set_gripper(0.04)
    scene.set_obstacles(planner.see(seen(planner, view, [TABLE, WALL]), view, 0.04))
    obstacles = scene.obstacles
    line = left + np.linspace(0, 1, 60)[:, None] * (right - left)
    assert max(arm.depth_inside(q, obstacles) for q in line) > 0
    path = joint_path_to(scene, left, right)
    assert_within_limits(path)
    for previous, q in zip(path.positions[:-1], path.positions[1:], strict=True):
        for share in (0.0, 0.5):
            assert arm.depth_inside(previous + share * (q - previous), obstacles) < 0
    again = joint_path_to(scene, left, right)
    np.testing.assert_array_equal(path.positions, again.positions)


def test_slower_settings_make_slower_motions(planner: CertifiedPlanner, view: np.ndarray) -> None:
    planner.surroundings.set_obstacles(planner.see(seen(planner, view), view, 0.04))
    goal = view + 0.1
    fast = joint_path_to(planner.surroundings, view, goal, JointMotionSettings(speed=0.9))
    slow = joint_path_to(planner.surroundings, view, goal, JointMotionSettings(speed=0.2))
    assert slow.duration > 1.5 * fast.duration


def test_standing_at_the_goal_is_a_motion_too(planner: CertifiedPlanner, view: np.ndarray) -> None:
    path = planner.path_to(view, view, 0.04)
    assert path.duration > 0 and np.ptp(path.positions, axis=0).max() == 0


def test_reasons_are_counted_in_plain_words(planner: CertifiedPlanner, view: np.ndarray) -> None:
    far = opening(HANDLE + np.array([0.8, 0.0, 0.0]))
    inside = opening(HANDLE + np.array([0.13, 0.0, 0.0]))
    with pytest.raises(NoFeasibleTrajectoryError) as caught:
        planner.plan([far, inside, far], no_keypoints(), seen(planner, view), view, 0.08)
    text = caught.value.problem
    assert text.startswith("3 trajectories tried: 2 start out of reach (nearest ")
    assert "1 collide at the start: link fr3_" in text and "obstacle at (0." in text


def test_an_infeasible_trajectory_is_passed_over(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    far = opening(HANDLE + np.array([0.8, 0.0, 0.0]))
    plan = planner.plan([far, opening()], keypoints(), seen(planner, view), view, 0.08)
    assert plan.chosen == 1
    assert list(plan.rejected) == [0] and plan.rejected[0].startswith(
        "start out of reach: first pose"
    )


def test_a_pull_that_leaves_the_reach_is_refused(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    good = opening()
    poses = good.T_base_ee.copy()
    poses[:, 2, 3] += np.linspace(0, 1.0, 48)
    flying = EndEffectorTrajectory(poses, good.gripper, good.stamps)
    with pytest.raises(NoFeasibleTrajectoryError, match="cannot be followed on one branch: pose"):
        planner.plan([flying], keypoints(), seen(planner, view), view, 0.08)


def test_an_execution_through_an_obstacle_is_refused(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    good = opening()
    behind = good.T_base_ee[-1] @ [0.0, 0.0, -0.25, 1.0]  # where the wrist ends up
    box = (behind[:3] - 0.03, behind[:3] + 0.03)
    frame = box_frame(hand_pose([0.0, 0.7, 0.6], np.radians(20), np.radians(-70)), [TABLE, box])
    with pytest.raises(NoFeasibleTrajectoryError, match="collide outside the contact: pose"):
        planner.plan([good], keypoints(), frame, view, 0.08)


def test_a_broken_checker_means_no_plan(view: np.ndarray, monkeypatch) -> None:
    planner = make_planner(SETTINGS)
    assert isinstance(planner, CertifiedPlanner)

    def broken(q: np.ndarray) -> bool:
        raise RuntimeError("geometry is stale")

    frame = seen(planner, view)
    monkeypatch.setattr(planner.contact, "_collides", broken)
    with pytest.raises(NoFeasibleTrajectoryError, match=r"checks failed .*geometry is stale"):
        planner.plan([opening()], keypoints(), frame, view, 0.08)
    monkeypatch.setattr(planner.surroundings, "_collides", broken)
    with pytest.raises(NoFeasibleTrajectoryError, match=r"present posture is not free.*stale"):
        planner.plan([opening()], keypoints(), frame, view, 0.08)


def test_a_start_inside_an_obstacle_names_it(planner: CertifiedPlanner, view: np.ndarray) -> None:
    tool = planner.model.forward(view)[:3, 3]
    box = (tool + np.array([0.0, -0.05, -0.2]), tool + np.array([0.1, 0.05, 0.3]))
    frame = box_frame(hand_pose([0.05, 0.0, 0.7], np.radians(30)), [TABLE, box])
    with pytest.raises(NoFeasibleTrajectoryError, match=r"present posture is not free: link fr3_"):
        planner.plan([opening()], keypoints(), frame, view, 0.08)


def test_the_arm_seen_by_its_own_camera_is_no_obstacle(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    fingers = planner.model.forward(view)[:3, 3]
    board = ([0.1, -1.0, 0.0], [2.0, 1.0, 0.03])
    camera = hand_pose([0.05, 0.0, 0.7], np.radians(30))
    obstacles = planner.see(box_frame(camera, [board]), view, 0.08)
    assert len(obstacles) > 100
    tips = box_frame(camera, [board, (fingers - 0.004, fingers + 0.004)])
    again = planner.see(tips, view, 0.0)
    assert np.linalg.norm(again.centers - fingers, axis=1).min() > 0.03


def test_stops_when_asked(planner: CertifiedPlanner, view: np.ndarray) -> None:
    told: list[str] = []

    def stop() -> bool:
        return len(told) >= 2

    progress = Progress(lambda stage, fraction, text: told.append(text), stop)
    with pytest.raises(CancelledError):
        planner.plan([opening()], keypoints(), seen(planner, view), view, 0.08, progress)
    assert told == ["looking for obstacles", "trying trajectory 1 of 1"]


def test_bad_goals_are_refused(planner: CertifiedPlanner, view: np.ndarray) -> None:
    frame = seen(planner, view)
    with pytest.raises(GoalError, match="no trajectory"):
        planner.plan([], keypoints(), frame, view, 0.08)
    with pytest.raises(GoalError, match="7 finite numbers"):
        planner.plan([opening()], keypoints(), frame, view[:6], 0.08)
    dark = RgbdFrame(frame.color, np.zeros_like(frame.depth), frame.intrinsics, frame.T_base_cam)
    with pytest.raises(NoImageError, match="depth image is measured"):
        planner.plan([opening()], keypoints(), dark, view, 0.08)


def test_the_backend_that_is_not_built_says_so() -> None:
    with pytest.raises(BackendUnavailableError, match="'moveit' works inside planning_node"):
        make_planner(PlanningSettings(backend="moveit"))
