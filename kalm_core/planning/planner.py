"""The interface of the planners, their settings, and the choice of a backend by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field

from kalm_core.errors import BackendUnavailableError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.joint_motion import JointMotionSettings
from kalm_core.planning.obstacles import ObstacleSettings
from kalm_core.planning.robot_body import CameraBodySettings
from kalm_core.planning.robot_model import RobotModelSettings
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.settings import Settings
from kalm_core.trajectory import EndEffectorTrajectory, JointPath


class PlanningSettings(Settings):
    """Everything about planning."""

    backend: Literal["roboplan", "moveit"] = Field("roboplan", description="which planner")
    robot: RobotModelSettings = RobotModelSettings()
    camera_body: CameraBodySettings = CameraBodySettings()
    hand_eye: HandEyeSettings = HandEyeSettings()
    obstacles: ObstacleSettings = ObstacleSettings()
    motion: JointMotionSettings = JointMotionSettings()
    branches: int = Field(
        8, ge=1, le=50, description="postures tried for the first pose of a trajectory"
    )
    retreat: float = Field(
        0.12,
        ge=0.0,
        le=0.4,
        description="the approach may begin and end in a straight part of up to this length [m]",
    )
    check_execution: bool = Field(
        True, description="refuse trajectories that touch obstacles outside the contact"
    )


@dataclass(frozen=True)
class MotionPlan:
    """A trajectory that the arm can reach and follow, and the way to its first pose.

    Attributes:
        chosen: index of the trajectory among those given.
        approach: from the arm's joints to the first pose, within the limits of the joints.
        execution: the chosen trajectory, as it was given.
        execution_joints: (N, 7) joints [rad] that follow it on one branch, from the end of the
            approach.
        rejected: for each trajectory before it, in plain words why not.
    """

    chosen: int
    approach: JointPath
    execution: EndEffectorTrajectory
    execution_joints: Array
    rejected: tuple[str, ...]


class MotionPlanner(Protocol):
    """Finds the first of several trajectories that can be reached and followed."""

    def plan(  # noqa: PLR0917 (a robot's stage has many inputs)
        self,
        trajectories: Sequence[EndEffectorTrajectory],
        keypoints: DetectedKeypoints,
        frame: RgbdFrame,
        joints: Array,
        gripper: float,
        progress: Progress | None = None,
    ) -> MotionPlan:
        """Plan an approach to the first feasible trajectory.

        Args:
            trajectories: tried in this order.
            keypoints: where contact is meant to happen.
            frame: the depth image that shows the obstacles, taken at `joints`.
            joints: (7,) the arm's present joints [rad].
            gripper: the present opening between the fingers [m].
            progress: told about every trajectory; may ask to stop.

        Raises:
            NoFeasibleTrajectoryError: none can; the text counts the reasons.
            NoImageError: the depth image shows too little.
            GoalError: no trajectory, or joints that are not 7 finite numbers.
            CancelledError: `progress` asked to stop.
        """
        ...

    def path_to(
        self,
        q_goal: Array,
        joints: Array,
        gripper: float,
        frame: RgbdFrame | None = None,
    ) -> JointPath:
        """Plan a free motion from `joints` (7,) to `q_goal` (7,) [rad], e.g. to a view posture.

        Args:
            q_goal: where to go.
            joints: the arm's present joints.
            gripper: the present opening between the fingers [m].
            frame: the depth image that shows the obstacles, taken at `joints`; None: only the
                arm itself is avoided.

        Raises:
            NoFeasibleTrajectoryError: an end touches something, or no way was found.
        """
        ...


def make_planner(settings: PlanningSettings | None = None) -> MotionPlanner:
    """Build the planner that the settings name.

    Raises:
        BackendUnavailableError: the backend is not built or not installed.
    """
    settings = settings or PlanningSettings()
    if settings.backend == "roboplan":
        from kalm_core.planning.roboplan_planner import RoboplanPlanner

        return RoboplanPlanner(settings)
    raise BackendUnavailableError(
        f"the planning backend {settings.backend!r} is not available yet",
        "set `backend` to 'roboplan'",
    )
