"""Learns a skill from demonstrations."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from pydantic import Field
from rclpy.node import Node

from kalm_core.errors import GoalError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.learning import LearningSettings, learn_skill
from kalm_core.learning_record import learned_sentence
from kalm_core.progress import Progress
from kalm_core.settings import Settings
from kalm_core.skill import check_name, load_skill
from kalm_interfaces.action import LearnSkill
from kalm_ros.action_server import GoalServer
from kalm_ros.parameters import declare_settings
from kalm_ros.run_node import run_node


class LearnerNodeSettings(Settings):
    """Parameters of `learner_node`."""

    skills: Path = Field(Path("skills"), description="folder of the learned skills")
    learning: LearningSettings = LearningSettings()
    hand_eye: HandEyeSettings = HandEyeSettings()


class LearnerNode(Node):
    """Offers `kalm/learn_skill`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "learner_node", automatically_declare_parameters_from_overrides=True, **options
        )
        self._settings = declare_settings(self, LearnerNodeSettings)
        GoalServer(
            self,
            LearnSkill,
            "kalm/learn_skill",
            self._learn,
            lambda stage, fraction, text: LearnSkill.Feedback(
                stage=stage, progress=fraction, text=text
            ),
        )

    def _learn(self, goal: LearnSkill.Goal, result: LearnSkill.Result, progress: Progress) -> str:
        check_name(goal.skill)
        if not goal.bags:
            raise GoalError("the goal names no bags", "give the folders of the demonstrations")
        start = time.monotonic()
        try:
            bundle = learn_skill(
                goal.skill,
                goal.task,
                [Path(bag) for bag in goal.bags],
                self._settings.skills,
                self._settings.learning,
                self._settings.hand_eye,
                overwrite=goal.overwrite,
                progress=progress,
            )
        finally:
            result.seconds = time.monotonic() - start
        result.bundle = str(bundle)
        return learned_sentence(load_skill(bundle))


def main() -> int:
    """Run `learner_node`."""
    return run_node(LearnerNode)


if __name__ == "__main__":
    sys.exit(main())
