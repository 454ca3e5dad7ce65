"""Goals that the nodes with one action refuse, and what they say."""

from __future__ import annotations

import time
from queue import SimpleQueue
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import Point
from rclpy.node import Node
from sensor_msgs.msg import Image
from small_skill import make_skill
from stand_ins import await_server
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from kalm_core.errors import BackendUnavailableError, ConfigError, Outcome
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.planning.certificate import Certificate
from kalm_core.planning.motion import Motion
from kalm_core.planning.planner import MotionPlan
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.se3 import make_pose
from kalm_core.skill import write_skill
from kalm_core.trajectory import EndEffectorTrajectory, JointPath
from kalm_interfaces.action import (
    DetectKeypoints,
    LearnSkill,
    PlanMotion,
    PlanView,
    PredictTrajectories,
)
from kalm_interfaces.msg import KeypointArray
from kalm_ros.client import GraphClient
from kalm_ros.conversions import BASE_FRAME, NANOSECONDS, header_to_ros, trajectory_to_ros
from kalm_ros.motion_messages import motion_to_ros
from kalm_ros.qos import LATCHED
from kalm_ros.realsense_node import RealsenseCamera, RealsenseSettings

ABORTED = 6


def run(graph, kind, name, goal):
    """Status, outcome and result of one goal."""
    client = graph.action_client(kind, name)
    await_server(client)
    handle = GraphClient.wait(client.send_goal_async(goal), 10.0, "send")
    answer = GraphClient.wait(handle.get_result_async(), 30.0, "result")
    return answer.status, Outcome(answer.result.outcome.code), answer.result


def start(graph, kind, **parameters):
    return graph.add(
        kind(
            context=graph.context,
            parameter_overrides=[
                rclpy.Parameter(k.replace("__", "."), value=v) for k, v in parameters.items()
            ],
        )
    )


def keypoints(skill, stamp=1):
    return KeypointArray(
        header=header_to_ros(stamp, BASE_FRAME),
        skill=skill,
        points=[Point()],
        found=[True],
        score=[1.0],
        confidence=[1.0],
    )


@pytest.mark.parametrize(
    ("goal", "outcome", "text"),
    [
        (PredictTrajectories.Goal(), Outcome.BAD_GOAL, "at least 1"),
        (PredictTrajectories.Goal(samples=1000), Outcome.BAD_GOAL, "samples"),
        (
            PredictTrajectories.Goal(keypoints=keypoints("unknown")),
            Outcome.UNKNOWN_SKILL,
            "unknown",
        ),
    ],
)
def test_trajectory_node_refuses(graph, tmp_path, goal, outcome, text):
    from kalm_ros.trajectory_node import TrajectoryNode

    start(graph, TrajectoryNode, skills=str(tmp_path))
    status, ended, result = run(graph, PredictTrajectories, "kalm/predict_trajectories", goal)
    assert (status, ended) == (ABORTED, outcome)
    assert text in result.outcome.message


@pytest.mark.parametrize(
    ("skill", "outcome"), [("", Outcome.BAD_GOAL), ("unknown", Outcome.UNKNOWN_SKILL)]
)
def test_keypoint_node_refuses(graph, tmp_path, skill, outcome):
    from kalm_ros.keypoint_node import KeypointNode

    start(graph, KeypointNode, skills=str(tmp_path))
    goal = DetectKeypoints.Goal(skill=skill)
    status, ended, result = run(graph, DetectKeypoints, "kalm/detect_keypoints", goal)
    assert (status, ended) == (ABORTED, outcome)
    assert result.outcome.message


def test_keypoint_node_refuses_a_skill_of_the_simulators_mount(graph, tmp_path):
    from kalm_ros.keypoint_node import KeypointNode

    record = {"hand_eye": HandEyeSettings().model_dump(mode="json")}
    write_skill(make_skill("open", **record), tmp_path)
    parameters = {"skills": str(tmp_path), "hand_eye__translation": [0.05, 0.0, -0.06]}
    start(graph, KeypointNode, **parameters)
    goal = DetectKeypoints.Goal(skill="open")
    _, ended, result = run(graph, DetectKeypoints, "kalm/detect_keypoints", goal)
    assert ended is Outcome.CALIBRATION_MISMATCH
    assert "learn it again" in result.outcome.message


def test_keypoint_node_takes_the_settings_that_the_skill_was_distilled_with(graph, tmp_path):
    from kalm_ros.keypoint_node import KeypointNode

    node = start(graph, KeypointNode, skills=str(tmp_path))
    skill = SimpleNamespace(name="open", perception={"verify": False, "of_another_version": 1})
    assert not node._detector_of(skill).settings.verify
    skill.perception["correspondence"] = {"stride": 0}
    with pytest.raises(ConfigError, match="skill open"):
        node._detector_of(skill)


def test_planning_node_refuses_an_empty_goal(graph):
    from kalm_ros.planning_node import PlanningNode

    start(graph, PlanningNode)
    status, ended, result = run(graph, PlanMotion, "kalm/plan_motion", PlanMotion.Goal())
    assert (status, ended) == (ABORTED, Outcome.BAD_GOAL)
    assert result.chosen == -1


@pytest.mark.parametrize("seconds", [40, -40])
def test_planning_node_refuses_keypoints_of_another_time(graph, seconds):
    from kalm_ros.planning_node import PlanningNode

    start(graph, PlanningNode)
    still = trajectory_to_ros(
        EndEffectorTrajectory(np.tile(np.eye(4), (2, 1, 1)), np.zeros(2), np.arange(2.0)), 1
    )
    seen = keypoints("open", time.time_ns() - seconds * NANOSECONDS)
    goal = PlanMotion.Goal(trajectories=[still], keypoints=seen)
    status, ended, result = run(graph, PlanMotion, "kalm/plan_motion", goal)
    assert (status, ended) == (ABORTED, Outcome.NO_IMAGE)
    assert "s ago, allowed are 30 s" in result.outcome.message


@pytest.mark.parametrize("joints", [[0.0] * 6, [0.0] * 6 + [float("nan")]])
def test_planning_node_refuses_a_posture_that_is_none(graph, joints):
    from kalm_ros.planning_node import PlanningNode

    start(graph, PlanningNode)
    goal = PlanView.Goal(joints=joints)
    status, ended, result = run(graph, PlanView, "kalm/plan_view", goal)
    assert (status, ended) == (ABORTED, Outcome.BAD_GOAL)
    assert "expected 7 finite numbers" in result.outcome.message


def a_plan():
    joints = np.linspace(0.0, 0.1, 12)[:, None] + np.zeros(7)
    stamps = np.linspace(0.0, 2.0, 12)
    poses = np.repeat(make_pose(np.eye(3), (0.4, 0.1, 0.3))[None], 12, axis=0)
    execution = EndEffectorTrajectory(poses, np.full(12, 0.08), stamps)
    motion = Motion(JointPath(joints, stamps), execution, joints[::-1], None)
    return MotionPlan(0, motion, Certificate(None), execution.positions, {})


def latched(graph, kind, name):
    """The messages of a latched topic, from the last one on."""
    node, messages = Node("late", context=graph.context), SimpleQueue()
    node.create_subscription(kind, name, messages.put, LATCHED)
    graph.add(node)
    return messages


def test_a_plan_that_fails_leaves_nothing_of_the_last_one_on_display(graph):
    from kalm_ros.planning_node import PlanningNode

    node = start(graph, PlanningNode, frame__timeout=0.5)
    plan, camera = a_plan(), Intrinsics(160, 120, 115.0, 115.0, 79.5, 59.5)
    frame = RgbdFrame(
        np.zeros((120, 160, 3), np.uint8), np.ones((120, 160), np.float32), camera, np.eye(4)
    )
    node._display.show(plan, frame, motion_to_ros(plan.motion, plan.certificate, 1, 0.08))
    node._tried = 7
    shown = [
        latched(graph, kind, f"kalm/{name}")
        for name, kind in (
            ("plan_markers", MarkerArray),
            ("planned_path", JointTrajectory),
            ("plan_overlay", Image),
        )
    ]
    markers, path, overlay = (messages.get(timeout=20.0) for messages in shown)
    assert len(markers.markers) > 1 and path.points and overlay.header.stamp.sec == 0

    tried = SimpleQueue()
    goal = PlanMotion.Goal(
        trajectories=[trajectory_to_ros(plan.motion.execution, 1)],
        keypoints=keypoints("open", time.time_ns()),
    )
    client = graph.action_client(PlanMotion, "kalm/plan_motion")
    await_server(client)
    sending = client.send_goal_async(goal, lambda message: tried.put(message.feedback.trying))
    handle = GraphClient.wait(sending, 10.0, "send")
    answer = GraphClient.wait(handle.get_result_async(), 30.0, "result")
    assert Outcome(answer.result.outcome.code) is Outcome.NO_IMAGE
    assert tried.get(timeout=5.0) == 0
    markers, path, overlay = (messages.get(timeout=20.0) for messages in shown)
    assert [marker.action for marker in markers.markers] == [Marker.DELETEALL]
    assert not path.points and overlay.header.stamp.sec > 0


@pytest.mark.parametrize(
    ("fields", "outcome", "text"),
    [
        ({"skill": "", "bags": ["x"], "task": "t"}, Outcome.BAD_GOAL, "name"),
        ({"skill": "a/b", "bags": ["x"], "task": "t"}, Outcome.BAD_GOAL, "name"),
        ({"skill": "open", "bags": [], "task": "t"}, Outcome.BAD_GOAL, "no bags"),
        ({"skill": "open", "bags": ["x"], "task": ""}, Outcome.BAD_GOAL, "task"),
        (
            {"skill": "open", "bags": ["/nowhere/001"], "task": "t"},
            Outcome.BAD_DEMONSTRATION,
            "/nowhere/001",
        ),
    ],
)
def test_learner_node_refuses_and_leaves_nothing(graph, tmp_path, fields, outcome, text):
    from kalm_ros.learner_node import LearnerNode

    start(graph, LearnerNode, skills=str(tmp_path / "skills"))
    goal = LearnSkill.Goal(**fields)
    status, ended, result = run(graph, LearnSkill, "kalm/learn_skill", goal)
    assert (status, ended) == (ABORTED, outcome)
    assert text in result.outcome.message
    assert not (tmp_path / "skills").exists()


def test_a_camera_that_is_not_there_is_one_clear_error():
    with pytest.raises(BackendUnavailableError, match=r"pyrealsense2|RealSense"):
        RealsenseCamera(RealsenseSettings(serial="000000000000"))
