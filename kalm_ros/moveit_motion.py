"""Free motions by MoveIt (moveit_py), on a full ROS installation: OMPL's RRTConnect and TOTG.

Written against moveit_py's public Python interface of Jazzy and Kilted; not yet run on an arm. It
replaces the search only: whatever MoveIt finds is certified by the suite's own checks.

moveit_py holds Python's global lock while it plans, so this lives in planning_node, which has
nothing else to do meanwhile, and not beside the arm's driver.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from pydantic import Field

from kalm_core import fr3_limits
from kalm_core.errors import BackendUnavailableError
from kalm_core.planning.joint_motion import SearchError
from kalm_core.planning.obstacles import Obstacles
from kalm_core.se3 import Array
from kalm_core.settings import Settings
from kalm_core.trajectory import JointPath
from kalm_ros.conversions import BASE_FRAME, duration_from_ros

_OBJECT = "kalm_obstacles"
_FINGERS = ("fr3_finger_joint1", "fr3_finger_joint2")


class MoveItSettings(Settings):
    """How MoveIt is asked. Robot description, SRDF and pipelines come with its own parameters."""

    node_name: str = Field("moveit_py", description="name of MoveIt's own node")
    group: str = Field("fr3_arm", description="planning group of the seven joints")
    pipeline: str = Field("ompl", description="planning pipeline")
    planner_id: str = Field("RRTConnectkConfigDefault", description="planner of the pipeline")
    seconds: float = Field(3.0, gt=0.0, le=60.0, description="time to search [s]")
    attempts: int = Field(4, ge=1, le=100, description="searches of which the best is taken")
    speed: float = Field(
        0.95, gt=0.0, le=1.0, description="share of the arm's velocity and acceleration limits"
    )
    sample_period: float = Field(
        0.03, ge=0.005, le=0.1, description="time between the positions of a motion [s]"
    )


def moveit_motion(settings: MoveItSettings) -> MoveItFreeMotion:
    """Start MoveIt in this process.

    Raises:
        BackendUnavailableError: moveit_py is not installed, or does not start.
    """
    if find_spec("moveit") is None:
        raise BackendUnavailableError(
            "MoveIt's Python package moveit_py is not installed",
            "install ros-$ROS_DISTRO-moveit-py and source ROS, or set planning.backend to "
            "'roboplan'",
        )
    from moveit.planning import MoveItPy

    try:
        return MoveItFreeMotion(MoveItPy(node_name=settings.node_name), settings)
    except RuntimeError as error:  # what moveit_py raises where its parameters lack something
        raise BackendUnavailableError(
            f"MoveIt did not start: {error}", "see docs/moveit.md for the parameters that it needs"
        ) from error


class MoveItFreeMotion:
    """Plans with MoveIt; implements `kalm_core.planning.free_motion.FreeMotion`.

    Args:
        moveit: a `moveit.planning.MoveItPy`.
        settings: how to ask.
    """

    def __init__(self, moveit: Any, settings: MoveItSettings) -> None:
        self._moveit = moveit
        self._settings = settings
        self._component = moveit.get_planning_component(settings.group)
        self._monitor = moveit.get_planning_scene_monitor()

    def see(self, obstacles: Obstacles) -> None:
        """Replace the obstacles in MoveIt's scene: one object of boxes, so nothing is stale."""
        from geometry_msgs.msg import Pose
        from moveit_msgs.msg import CollisionObject
        from shape_msgs.msg import SolidPrimitive

        removed = CollisionObject(id=_OBJECT, operation=CollisionObject.REMOVE)
        removed.header.frame_id = BASE_FRAME
        self._monitor.process_collision_object(removed)
        added = CollisionObject(id=_OBJECT, operation=CollisionObject.ADD)
        added.header.frame_id = BASE_FRAME
        boxes = [(center, (obstacles.voxel_size,) * 3) for center in obstacles.centers]
        if obstacles.floor is not None:
            boxes.append((np.array([0.0, 0.0, obstacles.floor - 0.5]), (6.0, 6.0, 1.0)))
        for center, sides in boxes:
            pose = Pose()
            pose.position.x, pose.position.y, pose.position.z = (float(v) for v in center)
            pose.orientation.w = 1.0
            added.primitives.append(
                SolidPrimitive(type=SolidPrimitive.BOX, dimensions=[float(s) for s in sides])
            )
            added.primitive_poses.append(pose)
        if boxes and not self._monitor.process_collision_object(added):
            raise SearchError(f"MoveIt did not take the {len(boxes)} obstacles")

    def path_to(self, q_start: Array, q_goal: Array, gripper: float) -> JointPath:
        """See `FreeMotion.path_to`."""
        from moveit.core.robot_state import RobotState
        from moveit.planning import PlanRequestParameters

        if np.abs(q_goal - q_start).max() < 1e-3:
            stamps = np.array([0.0, self._settings.sample_period])
            return JointPath(np.stack([q_start, q_goal]), stamps)
        for q, tell in (
            (q_start, self._component.set_start_state),
            (q_goal, self._component.set_goal_state),
        ):
            state = RobotState(self._moveit.get_robot_model())
            # not set_joint_group_positions, which can crash in moveit_py
            state.joint_positions = {
                **dict(zip(fr3_limits.JOINT_NAMES, map(float, q), strict=True)),
                **dict.fromkeys(_FINGERS, gripper / 2),
            }
            state.update()
            tell(robot_state=state)
        request = PlanRequestParameters(self._moveit, "")
        request.planning_pipeline = self._settings.pipeline
        request.planner_id = self._settings.planner_id
        request.planning_time = self._settings.seconds
        request.planning_attempts = self._settings.attempts
        request.max_velocity_scaling_factor = self._settings.speed
        request.max_acceleration_scaling_factor = self._settings.speed
        response = self._component.plan(single_plan_parameters=request)
        if not response:
            raise SearchError(f"MoveIt found no way (error code {response.error_code.val})")
        return self._timed(response.trajectory, q_start)

    def _timed(self, trajectory: Any, q_start: Array) -> JointPath:
        """Time MoveIt's path (TOTG) and return its arm joints."""
        s = self._settings
        if not trajectory.apply_totg_time_parameterization(
            velocity_scaling_factor=s.speed,
            acceleration_scaling_factor=s.speed,
            resample_dt=s.sample_period,
        ):
            raise SearchError("MoveIt could not time its path")
        message = trajectory.get_robot_trajectory_msg().joint_trajectory
        order = [list(message.joint_names).index(name) for name in fr3_limits.JOINT_NAMES]
        positions = np.array([point.positions for point in message.points])[:, order]
        stamps = np.array([duration_from_ros(point.time_from_start) for point in message.points])
        keep = np.concatenate([[True], np.diff(stamps) > 0.0])
        positions, stamps = positions[keep], stamps[keep]
        if len(stamps) < 2 or np.abs(positions[0] - q_start).max() > 1e-3:
            raise SearchError("MoveIt's path does not start where it was asked to")
        return JointPath(positions, stamps - stamps[0])
