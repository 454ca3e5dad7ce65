"""The interface of the planners, their settings, and the choice of a backend by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field

from kalm_core.errors import BackendUnavailableError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.certificate import Certificate, CertificateSettings
from kalm_core.planning.free_motion import FreeMotion
from kalm_core.planning.joint_motion import JointMotionSettings
from kalm_core.planning.motion import Motion
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
    certificate: CertificateSettings = CertificateSettings()
    branches: int = Field(
        8, ge=1, le=50, description="postures tried for the first pose of a trajectory"
    )
    contact_length: float = Field(
        0.12,
        ge=0.0,
        le=0.4,
        description="the approach may begin and end in a straight part of up to this length, where "
        "the fingers may touch what is near the keypoints [m]",
    )
    retreat: float = Field(
        0.08,
        ge=0.02,
        le=0.4,
        description="straight way back along the hand after the skill, where there is room [m]",
    )


@dataclass(frozen=True)
class MotionPlan:
    """A motion that was certified.

    Attributes:
        chosen: index of the trajectory among those given.
        motion: approach, execution and retreat.
        certificate: what was shown about it.
        approach_tools: (N, 3) tool positions along the approach [m].
        rejected: index of a trajectory -> in plain words why not, for those that were tried.
    """

    chosen: int
    motion: Motion
    certificate: Certificate
    approach_tools: Array
    rejected: dict[int, str]


class MotionPlanner(Protocol):
    """Finds the best of several trajectories whose whole motion can be certified."""

    def plan(  # noqa: PLR0917 (a robot's stage has many inputs)
        self,
        trajectories: Sequence[EndEffectorTrajectory],
        keypoints: DetectedKeypoints,
        frame: RgbdFrame,
        joints: Array,
        gripper: float,
        progress: Progress | None = None,
    ) -> MotionPlan:
        """Plan and certify the whole motion of the best trajectory.

        Args:
            trajectories: samples for the same scene; those that agree are tried first.
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
        level: bool = False,
    ) -> JointPath:
        """Plan a free motion from `joints` (7,) to `q_goal` (7,) [rad], e.g. to a view posture.

        Args:
            q_goal: where to go.
            joints: the arm's present joints.
            gripper: the present opening between the fingers [m].
            frame: the depth image that shows the obstacles, taken at `joints`; None: only the
                arm itself is avoided.
            level: carry what is held without tilting it more than at the ends.

        Raises:
            NoFeasibleTrajectoryError: an end touches something, or no way was found.
        """
        ...


def make_planner(
    settings: PlanningSettings | None = None, free_motion: FreeMotion | None = None
) -> MotionPlanner:
    """Build the planner that the settings name.

    Args:
        settings: everything about planning.
        free_motion: of a backend that needs ROS, which this package must not import;
            `planning_node` hands it in.

    Raises:
        BackendUnavailableError: the backend is not installed, or was not handed in.
    """
    from kalm_core.planning.certified_planner import CertifiedPlanner

    settings = settings or PlanningSettings()
    if settings.backend != "roboplan" and free_motion is None:
        raise BackendUnavailableError(
            f"the planning backend {settings.backend!r} works inside planning_node only",
            "set `backend` to 'roboplan'",
        )
    return CertifiedPlanner(settings, free_motion)
