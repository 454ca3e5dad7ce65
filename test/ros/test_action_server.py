from __future__ import annotations

import threading

import pytest
from stand_ins import await_server

from kalm_core.errors import CancelledError, GoalError, NoImageError, Outcome
from kalm_interfaces.action import PredictTrajectories
from kalm_ros.action_server import GoalServer, wait_or_stop
from kalm_ros.client import GraphClient

SUCCEEDED, CANCELED, ABORTED = 4, 5, 6


class Worker:
    """What a goal does is chosen by its number of samples."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self.stopped = threading.Event()

    def __call__(self, goal, result, progress):
        self.entered.set()
        if goal.samples == 1:
            raise GoalError("one is none", "ask for two")
        if goal.samples == 2:
            raise ZeroDivisionError("a defect")
        if goal.samples == 3:
            result.trajectories.append(_trajectory())
            raise NoImageError("dark")
        if goal.samples == 4:
            progress.step("wait", 0.5, "waiting")
            try:
                wait_or_stop(self.release, 20.0, progress, "the wait")
            except CancelledError:
                self.stopped.set()
                raise
        progress.step("done", 1.0)
        return "all is well"


def _trajectory():
    from kalm_interfaces.msg import EndEffectorTrajectory

    return EndEffectorTrajectory(gripper=[0.5])


class Bench:
    def __init__(self, graph, at=None) -> None:
        self.worker = Worker()
        self.feedback: list[float] = []
        server = graph.make("server")
        GoalServer(
            server,
            PredictTrajectories,
            "work",
            self.worker,
            lambda stage, fraction, text: PredictTrajectories.Feedback(progress=fraction),
            attended=True,
        )
        self.client = (at or graph).action_client(PredictTrajectories, "work")
        await_server(self.client)

    def send(self, samples):
        goal = PredictTrajectories.Goal(samples=samples)
        handle = GraphClient.wait(
            self.client.send_goal_async(
                goal, feedback_callback=lambda m: self.feedback.append(m.feedback.progress)
            ),
            10.0,
            "send",
        )
        assert handle.accepted
        return handle

    def end(self, handle):
        answer = GraphClient.wait(handle.get_result_async(), 10.0, "result")
        return answer.status, Outcome(answer.result.outcome.code), answer.result


@pytest.fixture
def bench(graph):
    return Bench(graph)


def test_success_carries_a_sentence_and_feedback(bench):
    status, outcome, result = bench.end(bench.send(9))
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED)
    assert result.outcome.message == "all is well"
    assert bench.feedback == [1.0]


def test_an_error_of_the_core_becomes_its_outcome(bench):
    status, outcome, result = bench.end(bench.send(1))
    assert (status, outcome) == (ABORTED, Outcome.BAD_GOAL)
    assert result.outcome.message == "one is none. ask for two."


def test_a_defect_is_named(bench):
    status, outcome, result = bench.end(bench.send(2))
    assert (status, outcome) == (ABORTED, Outcome.INTERNAL_ERROR)
    assert "ZeroDivisionError: a defect" in result.outcome.message


def test_what_was_filled_before_an_error_is_sent(bench):
    _, outcome, result = bench.end(bench.send(3))
    assert outcome is Outcome.NO_IMAGE
    assert list(result.trajectories[0].gripper) == [0.5]


def test_a_second_goal_is_told_that_the_first_runs_and_does_not_disturb_it(bench):
    first = bench.send(4)
    assert bench.worker.entered.wait(10.0)
    status, outcome, _ = bench.end(bench.send(9))
    assert (status, outcome) == (ABORTED, Outcome.BUSY)
    bench.worker.release.set()
    assert bench.end(first)[:2] == (SUCCEEDED, Outcome.SUCCEEDED)
    assert bench.end(bench.send(9))[1] is Outcome.SUCCEEDED


def test_a_cancelled_goal_ends_as_cancelled_and_the_next_one_works(bench):
    handle = bench.send(4)
    assert bench.worker.entered.wait(10.0)
    answer = GraphClient.wait(handle.cancel_goal_async(), 10.0, "cancel")
    assert len(answer.goals_canceling) == 1
    assert bench.end(handle)[:2] == (CANCELED, Outcome.CANCELLED)
    assert bench.end(bench.send(9))[1] is Outcome.SUCCEEDED


def test_a_goal_goes_on_while_anybody_listens_and_stops_when_the_last_has_left(graph):
    first, second = graph.another(), graph.another()
    bench = Bench(graph, at=first)
    await_server(second.action_client(PredictTrajectories, "work"))
    bench.send(4)
    assert bench.worker.entered.wait(10.0)
    second.close()
    assert not bench.worker.stopped.wait(1.0)
    first.close()
    assert bench.worker.stopped.wait(10.0)
