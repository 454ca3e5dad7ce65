"""skill_node among servers that take the places of the other nodes."""

from __future__ import annotations

import threading
import time

import pytest
import rclpy
from rclpy.action import ActionServer
from rclpy.node import Node
from small_skill import make_skill
from stand_ins import await_server

from kalm_core.errors import KeypointsNotFoundError, NoFeasibleTrajectoryError, Outcome
from kalm_core.skill import write_skill
from kalm_interfaces.action import (
    DetectKeypoints,
    ExecuteMotion,
    ExecuteSkill,
    MoveGripper,
    PlanMotion,
    PlanView,
    PredictTrajectories,
)
from kalm_interfaces.msg import EndEffectorTrajectory
from kalm_ros.action_server import GoalServer, wait_or_stop
from kalm_ros.client import GraphClient
from kalm_ros.skill_node import SkillNode

SUCCEEDED, CANCELED, ABORTED = 4, 5, 6
PHASES = {
    "detect": (DetectKeypoints, "kalm/detect_keypoints", "keypoint_node"),
    "predict": (PredictTrajectories, "kalm/predict_trajectories", "trajectory_node"),
    "plan": (PlanMotion, "kalm/plan_motion", "planning_node"),
    "execute": (ExecuteMotion, "robot/execute_motion", "robot_node"),
}
PLACES = {
    **PHASES,
    "look again": (PlanView, "kalm/plan_view", "planning_node"),
    "hold": (MoveGripper, "robot/move_gripper", "robot_node"),
}
VIEW = (0.1, -0.6, 0.2, -2.2, 0.0, 1.8, 0.7)


class Place:
    """A server that succeeds, fails or waits, and says what happened to it."""

    def __init__(self, node, phase) -> None:
        self.phase = phase
        kind, name, _ = PLACES[phase]
        self.error = None
        self.errors_left = 1000
        self.release = threading.Event()
        self.release.set()
        self.entered = threading.Event()
        self.stopped = threading.Event()
        self.goals = []
        self.width = 0.0
        GoalServer(node, kind, name, self._work, lambda *_: kind.Feedback())

    def _work(self, goal, result, progress):
        self.goals.append(goal)
        self.entered.set()
        progress.step(self.phase, 0.5)
        try:
            wait_or_stop(self.release, 20.0, progress, self.phase)
        finally:
            if progress.should_stop():
                self.stopped.set()
        if self.error is not None and self.errors_left > 0:
            self.errors_left -= 1
            raise self.error
        if self.phase == "hold":
            result.width = self.width
        if self.phase == "predict":
            result.trajectories = [EndEffectorTrajectory()]
        return f"{self.phase} is done"


class Bench:
    def __init__(self, graph, skills, without=(), at=None, **given) -> None:
        for name, record in {
            "open": {"view": VIEW},
            "pour": {"view": VIEW, "holds": 0.058},
            "older": {},
        }.items():
            write_skill(make_skill(name, **record), skills)
        node = graph.make("places")
        self.places = {phase: Place(node, phase) for phase in PLACES if phase not in without}
        parameters = {"skills": str(skills), "patience": 2.0, **given}
        graph.add(
            SkillNode(
                context=graph.context,
                parameter_overrides=[rclpy.Parameter(k, value=v) for k, v in parameters.items()],
            )
        )
        self.action = (at or graph).action_client(ExecuteSkill, "execute_skill")
        self.said: list[str] = []
        await_server(self.action)

    def start(self, skill="open", **fields):
        goal = ExecuteSkill.Goal(skill=skill, **fields)
        return GraphClient.wait(
            self.action.send_goal_async(
                goal, feedback_callback=lambda m: self.said.append(m.feedback.phase)
            ),
            60.0,
            "start",
        )

    def end(self, handle):
        answer = GraphClient.wait(handle.get_result_async(), 60.0, "result")
        return answer.status, Outcome(answer.result.outcome.code), answer.result

    def run(self, *args, **fields):
        return self.end(self.start(*args, **fields))


@pytest.fixture
def bench(graph, tmp_path):
    return Bench(graph, tmp_path)


def test_a_run_passes_every_phase_in_order_and_times_each(bench):
    status, outcome, result = bench.run(speed_scale=0.25)
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED)
    assert list(result.phases) == list(PHASES)
    assert len(result.seconds) == 4
    assert all(seconds > 0 for seconds in result.seconds)
    assert bench.places["execute"].goals[0].speed_scale == 0.25
    assert list(dict.fromkeys(bench.said)) == list(PHASES)


def test_view_only_does_not_move_the_arm(bench):
    status, outcome, result = bench.run(mode=ExecuteSkill.Goal.VIEW_ONLY)
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED)
    assert list(result.phases) == ["detect", "predict", "plan"]
    assert not bench.places["execute"].goals
    assert "not moved" in result.outcome.message


def test_a_second_look_from_elsewhere_comes_before_giving_up(bench):
    bench.places["plan"].error = NoFeasibleTrajectoryError("16 trajectories tried: 16 collide")
    bench.places["plan"].errors_left = 1
    status, outcome, result = bench.run()
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED)
    first = ["detect", "predict", "plan"]
    assert list(result.phases) == [*first, "look again", *first, "execute"]
    assert len(bench.places["execute"].goals) == 2  # to the view, and the skill
    words = {goal.client for goal in bench.places["execute"].goals}
    assert len(words) == 2 and "" not in words


@pytest.mark.parametrize("skill", ["open", "pour"])
def test_what_is_held_is_kept_level_on_the_way_to_another_view(bench, skill):
    bench.places["hold"].width = 0.058
    bench.places["plan"].error = NoFeasibleTrajectoryError("16 collide")
    bench.places["plan"].errors_left = 1
    assert bench.run(skill)[1] is Outcome.SUCCEEDED
    assert [goal.level for goal in bench.places["look again"].goals] == [skill == "pour"]


def test_what_is_not_found_is_looked_for_from_elsewhere_where_that_is_allowed(graph, tmp_path):
    bench = Bench(graph, tmp_path, search=True)
    bench.places["detect"].error = KeypointsNotFoundError("0 of 8 keypoints found")
    bench.places["detect"].errors_left = 1
    status, outcome, result = bench.run()
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED)
    rest = ["detect", "predict", "plan", "execute"]
    assert list(result.phases) == ["detect", "look again", *rest]
    assert not bench.places["look again"].goals[0].keypoints.points

    bench.places["detect"].errors_left = 2
    status, outcome, result = bench.run()
    assert (status, outcome) == (ABORTED, Outcome.KEYPOINTS_NOT_FOUND)
    assert result.outcome.message.count("0 of 8") == 2


def test_the_view_of_the_demonstrations_is_taken_and_nothing_more(bench):
    status, outcome, result = bench.run(mode=ExecuteSkill.Goal.GO_TO_VIEW, speed_scale=0.25)
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED)
    assert list(result.phases) == ["go to view"]
    assert list(bench.places["look again"].goals[0].joints) == pytest.approx(VIEW)
    assert [goal.speed_scale for goal in bench.places["execute"].goals] == [0.25]
    assert not bench.places["detect"].goals

    status, outcome, result = bench.run("older", mode=ExecuteSkill.Goal.GO_TO_VIEW)
    assert (status, outcome) == (ABORTED, Outcome.BAD_GOAL)
    assert "learn it again" in result.outcome.message


def test_a_skill_that_holds_something_is_not_done_with_an_empty_hand(bench):
    hand = bench.places["hold"]
    hand.width = 0.001
    status, outcome, result = bench.run("pour")
    assert (status, outcome) == (ABORTED, Outcome.GRIPPER_EMPTY)
    assert "1 mm" in result.outcome.message and "58 mm" in result.outcome.message
    assert not bench.places["detect"].goals
    hand.width = 0.049
    assert list(bench.run("pour")[2].phases) == ["hold", *PHASES]
    assert all(goal.force < 0 for goal in hand.goals)  # robot_node's own force


def test_fingers_stay_as_they_are_where_nothing_is_held_or_nothing_shall_move(bench):
    bench.run("open")
    bench.run("pour", mode=ExecuteSkill.Goal.VIEW_ONLY)
    assert not bench.places["hold"].goals


def test_two_views_without_a_motion_are_both_told(bench):
    bench.places["plan"].error = NoFeasibleTrajectoryError("16 trajectories tried: 16 collide")
    status, outcome, result = bench.run()
    assert (status, outcome) == (ABORTED, Outcome.NO_FEASIBLE_TRAJECTORY)
    assert "16 collide. From a second view: 16 trajectories" in result.outcome.message
    assert list(result.phases).count("plan") == 2
    assert len(bench.places["execute"].goals) == 1


def test_a_view_that_cannot_be_taken_is_told_with_the_first_reason(bench):
    bench.places["plan"].error = NoFeasibleTrajectoryError("16 collide")
    bench.places["look again"].error = NoFeasibleTrajectoryError("no other view")
    _, outcome, result = bench.run()
    assert outcome is Outcome.NO_FEASIBLE_TRAJECTORY
    assert "16 collide" in result.outcome.message and "no other view" in result.outcome.message
    assert not bench.places["execute"].goals


def test_view_only_never_moves_for_a_second_look(bench):
    bench.places["plan"].error = NoFeasibleTrajectoryError("16 collide")
    _, outcome, _ = bench.run(mode=ExecuteSkill.Goal.VIEW_ONLY)
    assert outcome is Outcome.NO_FEASIBLE_TRAJECTORY
    assert not bench.places["look again"].goals and not bench.places["execute"].goals


@pytest.mark.parametrize("phase", PHASES)
def test_a_cancel_reaches_the_phase_and_the_next_goal_works(bench, phase):
    place = bench.places[phase]
    place.release.clear()
    handle = bench.start()
    assert place.entered.wait(60.0)
    GraphClient.wait(handle.cancel_goal_async(), 60.0, "cancel")
    status, outcome, result = bench.end(handle)
    assert (status, outcome) == (CANCELED, Outcome.CANCELLED)
    assert place.stopped.is_set()
    assert list(result.phases) == list(PHASES)[: list(PHASES).index(phase) + 1]
    assert len(result.phases) == len(result.seconds)
    place.release.set()
    assert bench.run()[1] is Outcome.SUCCEEDED


def test_the_arm_stops_when_the_caller_has_left(graph, tmp_path):
    caller = graph.another()
    bench = Bench(graph, tmp_path, at=caller)
    place = bench.places["execute"]
    place.release.clear()
    bench.start()
    assert place.entered.wait(60.0)
    caller.close()
    assert place.stopped.wait(20.0)
    place.release.set()
    bench.action = graph.action_client(ExecuteSkill, "execute_skill")
    await_server(bench.action)
    end = time.monotonic() + 10.0
    while (outcome := bench.run()[1]) is Outcome.BUSY and time.monotonic() < end:
        time.sleep(0.1)  # until the other goal has ended
    assert outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("phase", PHASES)
def test_an_error_of_a_phase_ends_the_goal_with_its_outcome_and_text(bench, phase):
    bench.places[phase].error = KeypointsNotFoundError("the object is gone", "look again")
    status, outcome, result = bench.run()
    assert (status, outcome) == (ABORTED, Outcome.KEYPOINTS_NOT_FOUND)
    assert result.outcome.message == "the object is gone. look again."
    assert result.phases[-1] == phase
    if phase != "execute":
        assert not bench.places["execute"].goals


@pytest.mark.parametrize("phase", PHASES)
def test_an_absent_node_is_named(graph, tmp_path, phase):
    bench = Bench(graph, tmp_path, without=(phase,))
    status, outcome, result = bench.run()
    assert (status, outcome) == (ABORTED, Outcome.BACKEND_UNAVAILABLE)
    assert PHASES[phase][2] in result.outcome.message


def test_a_phase_that_ends_without_an_outcome_is_not_taken_for_success(graph, tmp_path):
    def abort(goal):
        goal.abort()
        return DetectKeypoints.Result()  # its code is 0, as that of success

    bench = Bench(graph, tmp_path, without=("detect",))
    node = Node("crashing", context=graph.context)
    server = ActionServer(node, DetectKeypoints, "kalm/detect_keypoints", abort)
    graph.add(node)
    status, outcome, result = bench.run()
    assert (status, outcome) == (ABORTED, Outcome.BACKEND_UNAVAILABLE)
    assert "lost a goal" in result.outcome.message
    assert not bench.places["predict"].goals
    del server


def test_a_goal_while_another_runs_is_refused_and_does_not_disturb_it(bench):
    bench.places["plan"].release.clear()
    first = bench.start()
    assert bench.places["plan"].entered.wait(60.0)
    assert bench.run()[:2] == (ABORTED, Outcome.BUSY)
    bench.places["plan"].release.set()
    assert bench.end(first)[:2] == (SUCCEEDED, Outcome.SUCCEEDED)


@pytest.mark.parametrize(
    ("goal", "outcome", "text"),
    [
        ({"skill": ""}, Outcome.BAD_GOAL, "name"),
        ({"skill": "../open"}, Outcome.BAD_GOAL, "name"),
        ({"skill": "closing"}, Outcome.UNKNOWN_SKILL, "closing"),
        ({"mode": 7}, Outcome.BAD_GOAL, "mode"),
        ({"speed_scale": 1.5}, Outcome.BAD_GOAL, "speed_scale"),
        ({"speed_scale": -0.5}, Outcome.BAD_GOAL, "speed_scale"),
        ({"speed_scale": float("nan")}, Outcome.BAD_GOAL, "speed_scale"),
    ],
)
def test_a_goal_that_cannot_be_meant_is_refused_before_anything_starts(bench, goal, outcome, text):
    status, ended, result = bench.run(**goal)
    assert (status, ended) == (ABORTED, outcome)
    assert text in result.outcome.message
    assert not bench.places["detect"].goals
