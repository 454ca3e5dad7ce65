"""Does a learned skill: detect, predict, plan, execute, by the other nodes' actions."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from kalm_core.errors import (
    GoalError,
    GripperEmptyError,
    KeypointsNotFoundError,
    NoFeasibleTrajectoryError,
)
from kalm_core.progress import Progress
from kalm_core.settings import Settings
from kalm_core.skill import SkillSummary, list_skills, skill_folder, summarize_skill
from kalm_interfaces.action import (
    DetectKeypoints,
    ExecuteMotion,
    ExecuteSkill,
    MoveGripper,
    PlanMotion,
    PlanView,
    PredictTrajectories,
)
from kalm_interfaces.msg import CertifiedMotion, KeypointArray, SkillInfo
from kalm_interfaces.srv import ListSkills
from kalm_ros.action_server import GoalServer
from kalm_ros.heartbeat import Heartbeat
from kalm_ros.parameters import declare_settings
from kalm_ros.run_node import run_node
from kalm_ros.sub_action import SubAction


class SkillNodeSettings(Settings):
    """Parameters of `skill_node`."""

    skills: Path = Field(Path("skills"), description="folder of the learned skills")
    speed_scale: float = Field(
        0.5, gt=0, le=1, description="speed of the arm where a goal does not say one"
    )
    samples: int = Field(16, ge=1, le=256, description="trajectories to sample and try")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of the samples")
    second_look: bool = Field(
        True,
        description="when no motion is certified, go to another view once and detect again there",
    )
    search: bool = Field(
        False,
        description="the same when the keypoints are not found, from higher up: the arm then moves "
        "though the object may be absent",
    )
    patience: float = Field(
        10.0, gt=0, le=120, description="how long another node may take to appear [s]"
    )


class Phases:
    """Names and times of the phases of one goal, kept in its result as they pass."""

    def __init__(self, result: ExecuteSkill.Result, progress: Progress) -> None:
        self._result = result
        self._progress = progress

    @contextmanager
    def phase(self, name: str, text: str) -> Iterator[Callable[[float, str], None]]:
        """Time a phase, also one that fails; gives the function to report its progress with."""
        start = time.monotonic()
        self._result.phases = [*self._result.phases, name]
        try:
            self._progress.step(name, 0.0, text)
            yield lambda fraction, said: self._progress.report(name, fraction, said or text)
        finally:
            self._result.seconds = [*self._result.seconds, time.monotonic() - start]
        self._progress.report(name, 1.0, text)  # what was done stays done: no more asking to stop


class SkillNode(Node):
    """Offers `execute_skill` and `kalm/list_skills`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "skill_node", automatically_declare_parameters_from_overrides=True, **options
        )
        self._settings = declare_settings(self, SkillNodeSettings)
        self._detect = self._action(DetectKeypoints, "kalm/detect_keypoints", "keypoint_node")
        self._predict = self._action(
            PredictTrajectories, "kalm/predict_trajectories", "trajectory_node"
        )
        self._plan = self._action(PlanMotion, "kalm/plan_motion", "planning_node")
        self._plan_view = self._action(PlanView, "kalm/plan_view", "planning_node")
        self._move = self._action(ExecuteMotion, "robot/execute_motion", "robot_node")
        self._hand = self._action(MoveGripper, "robot/move_gripper", "robot_node")
        self._heartbeat = Heartbeat(self)
        GoalServer(
            self,
            ExecuteSkill,
            "execute_skill",
            self._execute,
            lambda phase, fraction, text: ExecuteSkill.Feedback(
                phase=phase, progress=fraction, text=text
            ),
            attended=True,  # the arm does not go on for nobody
        )
        self.create_service(
            ListSkills, "kalm/list_skills", self._list, callback_group=ReentrantCallbackGroup()
        )

    def _action(self, kind: Any, name: str, offered_by: str) -> SubAction:
        return SubAction(self, kind, name, offered_by, self._settings.patience)

    def _execute(
        self, goal: ExecuteSkill.Goal, result: ExecuteSkill.Result, progress: Progress
    ) -> str:
        skill = self._checked(goal)
        phases = Phases(result, progress)
        speed = goal.speed_scale or self._settings.speed_scale
        if goal.mode == ExecuteSkill.Goal.GO_TO_VIEW:
            return self._go_to_view(skill, speed, phases, progress)
        stays = goal.mode == ExecuteSkill.Goal.VIEW_ONLY
        if skill.holds and not stays:
            self._hold(skill, phases, progress)
        seen = KeypointArray()
        try:
            seen = self._detected(goal.skill, phases, progress)
            plan = self._planned(seen, phases, progress)
        except (KeypointsNotFoundError, NoFeasibleTrajectoryError) as error:
            found = isinstance(error, NoFeasibleTrajectoryError)
            looks = self._settings.second_look if found else self._settings.search
            if stays or not looks:
                raise
            elsewhere = PlanView.Goal(keypoints=seen, level=bool(skill.holds))
            self._go_to_another_view(error, elsewhere, speed, phases, progress)
            try:
                plan = self._planned(self._detected(goal.skill, phases, progress), phases, progress)
            except (KeypointsNotFoundError, NoFeasibleTrajectoryError) as second:
                raise type(second)(
                    f"{error.problem}. From a second view: {second.problem}", second.remedy
                ) from second
        result.motion = plan.motion
        if stays:
            return f"{plan.outcome.message} The arm was not moved, as asked."
        with phases.phase("execute", "moving the arm") as say:
            return self._moved(plan.motion, speed, progress, say)

    def _go_to_view(
        self, skill: SkillSummary, speed: float, phases: Phases, progress: Progress
    ) -> str:
        """Bring the camera to the demonstrations' view that shows most of where the part stood."""
        if not skill.view:
            raise GoalError(
                f"the skill {skill.name} was learned before views were kept with it",
                "learn it again from its bags, or guide the arm to a view by hand",
            )
        with phases.phase("go to view", "going to the view of the demonstrations") as say:
            view = self._plan_view.call(
                PlanView.Goal(joints=skill.view), progress, lambda f: say(f.progress, "")
            )
            self._moved(view.motion, speed, progress, say)
        then = " Now give the hand what it is to hold." if skill.holds else ""
        return f"The camera is where it saw most of the places of the demonstrations.{then}"

    def _hold(self, skill: SkillSummary, phases: Phases, progress: Progress) -> None:
        """Close the hand on what the skill was shown with, and refuse to go on with an empty one.

        Nothing later could tell: fingers that are closed all the time may also push with.
        """
        with phases.phase("hold", "closing the hand on what it is to hold") as say:
            closed = self._hand.call(
                MoveGripper.Goal(width=0.0, force=-1.0), progress, lambda _: say(0.5, "")
            )
        if not closed.width > skill.holds / 2:
            raise GripperEmptyError(
                f"the hand closed to {closed.width * 1000:.0f} mm; {skill.name} was shown with "
                f"something of about {skill.holds * 1000:.0f} mm in it",
                "open the hand, put the thing between the fingers, then try again",
            )

    def _detected(self, skill: str, phases: Phases, progress: Progress) -> KeypointArray:
        with phases.phase("detect", f"looking for the keypoints of {skill}") as say:
            return self._detect.call(
                DetectKeypoints.Goal(skill=skill), progress, lambda f: say(f.progress, f.stage)
            ).keypoints

    def _planned(self, keypoints: KeypointArray, phases: Phases, progress: Progress) -> Any:
        with phases.phase("predict", "sampling trajectories") as say:
            candidates = self._predict.call(
                PredictTrajectories.Goal(
                    keypoints=keypoints, samples=self._settings.samples, seed=self._settings.seed
                ),
                progress,
                lambda f: say(f.progress, ""),
            ).trajectories
        with phases.phase("plan", "looking for a motion that can be certified") as say:
            return self._plan.call(
                PlanMotion.Goal(trajectories=candidates, keypoints=keypoints),
                progress,
                lambda f: say(f.trying / len(candidates), f"tried {f.trying} trajectories"),
            )

    def _go_to_another_view(
        self,
        why: KeypointsNotFoundError | NoFeasibleTrajectoryError,
        where: PlanView.Goal,
        speed: float,
        phases: Phases,
        progress: Progress,
    ) -> None:
        """Look from elsewhere; the first error is the goal's where that cannot be done."""
        with phases.phase("look again", "going to another view") as say:
            try:
                view = self._plan_view.call(where, progress, lambda f: say(f.progress, ""))
            except NoFeasibleTrajectoryError as error:
                raise type(why)(f"{why.problem}. {error.problem}", why.remedy) from error
            self._moved(view.motion, speed, progress, say)

    def _moved(
        self,
        motion: CertifiedMotion,
        speed: float,
        progress: Progress,
        say: Callable[[float, str], None],
    ) -> str:
        with self._heartbeat.beating(lambda: not progress.should_stop()) as word:
            moved = self._move.call(
                ExecuteMotion.Goal(motion=motion, speed_scale=speed, client=word),
                progress,
                lambda f: say(f.progress, f.part),
            )
        return str(moved.outcome.message)

    def _checked(self, goal: ExecuteSkill.Goal) -> SkillSummary:
        """Return the skill of a goal; one that cannot be meant is refused."""
        modes = ExecuteSkill.Goal
        if goal.mode not in (modes.RUN, modes.VIEW_ONLY, modes.GO_TO_VIEW):
            raise GoalError(
                f"mode is {goal.mode}, expected 0 (run), 1 (view only) or 2 (go to view)"
            )
        if not 0.0 <= goal.speed_scale <= 1.0:
            raise GoalError(f"speed_scale is {goal.speed_scale}, expected a number in (0, 1]")
        return summarize_skill(skill_folder(self._settings.skills, goal.skill))

    def _list(self, _: ListSkills.Request, response: ListSkills.Response) -> ListSkills.Response:
        response.skills = [
            SkillInfo(
                name=skill.name,
                task=skill.task,
                created=skill.created,
                demonstrations=skill.demonstrations,
                keypoints=skill.keypoints,
                problem=skill.problem,
            )
            for skill in list_skills(self._settings.skills)
        ]
        return response


def main() -> int:
    """Run `skill_node`."""
    return run_node(SkillNode)


if __name__ == "__main__":
    sys.exit(main())
