"""Samples end-effector trajectories of a skill for the keypoints of a scene."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import Field
from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from kalm_core.errors import GoalError
from kalm_core.progress import Progress
from kalm_core.settings import Settings
from kalm_interfaces.action import PredictTrajectories
from kalm_ros.action_server import GoalServer
from kalm_ros.conversions import keypoints_from_ros, trajectory_to_ros
from kalm_ros.markers import trajectory_markers
from kalm_ros.parameters import declare_settings
from kalm_ros.qos import LATCHED
from kalm_ros.run_node import run_node
from kalm_ros.skill_cache import SkillCache

MOST_SAMPLES = 256
"""Samples that one goal may ask for."""


class TrajectoryNodeSettings(Settings):
    """Parameters of `trajectory_node`."""

    skills: Path = Field(Path("skills"), description="folder of the learned skills")
    samples: int = Field(
        16, ge=1, le=MOST_SAMPLES, description="trajectories sampled where a goal does not say"
    )


class TrajectoryNode(Node):
    """Offers `kalm/predict_trajectories` and shows the candidates."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "trajectory_node", automatically_declare_parameters_from_overrides=True, **options
        )
        self._settings = declare_settings(self, TrajectoryNodeSettings)
        self._skills = SkillCache(self._settings.skills)
        self._markers = self.create_publisher(MarkerArray, "kalm/trajectory_markers", LATCHED)
        GoalServer(
            self,
            PredictTrajectories,
            "kalm/predict_trajectories",
            self._predict,
            lambda _, fraction, __: PredictTrajectories.Feedback(progress=fraction),
        )

    def _predict(
        self,
        goal: PredictTrajectories.Goal,
        result: PredictTrajectories.Result,
        progress: Progress,
    ) -> str:
        count = goal.samples or self._settings.samples
        if count > MOST_SAMPLES:
            raise GoalError(f"samples is {count}, expected at most {MOST_SAMPLES}")
        keypoints = keypoints_from_ros(goal.keypoints)
        skill = self._skills.get(goal.keypoints.skill)
        progress.step("predict", 0.0)
        trajectories = skill.policy.sample(keypoints, count, goal.seed)
        progress.step("predict", 1.0)
        stamp = self.get_clock().now().nanoseconds
        result.trajectories = [trajectory_to_ros(trajectory, stamp) for trajectory in trajectories]
        self._markers.publish(trajectory_markers(trajectories, goal.keypoints.header))
        return f"{len(trajectories)} trajectories were sampled."


def main() -> int:
    """Run `trajectory_node`."""
    return run_node(TrajectoryNode)


if __name__ == "__main__":
    sys.exit(main())
