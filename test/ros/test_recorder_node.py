from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rclpy
from stand_ins import StandIn, await_server
from std_srvs.srv import Trigger

from kalm_core.bags import RECORDED_TOPICS, find_leftovers, inspect_bag, rescue
from kalm_core.bags.bag_file import open_bag
from kalm_core.bags.topics import COLOR, DEPTH, EE_POSE
from kalm_core.errors import Outcome
from kalm_interfaces.action import RecordDemonstration
from kalm_ros import conversions as c
from kalm_ros.client import GraphClient
from kalm_ros.qos import IMAGES, LISTEN_SENSOR
from kalm_ros.recorder_node import RecorderNode


class Bench:
    def __init__(self, graph, folder, namespace="") -> None:
        self.folder = folder
        self.stand_in = StandIn(graph, namespace)
        parameters = {"folder": str(folder), "silence": 2.0}
        graph.add(
            RecorderNode(
                context=graph.context,
                parameter_overrides=[rclpy.Parameter(k, value=v) for k, v in parameters.items()],
            )
        )
        self.action = graph.action_client(RecordDemonstration, "kalm/record_demonstration")
        self.service = graph.make("finisher").create_client(Trigger, "kalm/finish_recording")
        assert self.service.wait_for_service(timeout_sec=10.0)
        await_server(self.action)
        self.messages = 0

    def start(self, name="", max_seconds=0.0):
        goal = RecordDemonstration.Goal(name=name, max_seconds=max_seconds)
        return GraphClient.wait(
            self.action.send_goal_async(goal, feedback_callback=self._hear), 10.0, "start"
        )

    def _hear(self, message) -> None:
        self.messages = message.feedback.messages

    def until_recording(self) -> None:
        end = time.monotonic() + 5.0
        while self.messages < 50:
            assert time.monotonic() < end, "no message was recorded"
            time.sleep(0.02)

    def finish(self):
        return GraphClient.wait(self.service.call_async(Trigger.Request()), 20.0, "finish")

    def end(self, handle):
        result = GraphClient.wait(handle.get_result_async(), 20.0, "result").result
        return Outcome(result.outcome.code), result


@pytest.fixture
def bench(graph, tmp_path):
    made = Bench(graph, tmp_path / "demonstrations")
    yield made
    made.stand_in.close()


def test_a_recording_holds_every_topic_as_it_was_published(bench):
    handle = bench.start()
    bench.until_recording()
    finished = bench.finish()
    outcome, result = bench.end(handle)
    assert (finished.success, outcome) == (True, Outcome.SUCCEEDED)
    assert finished.message == result.bag == str(bench.folder / "001")
    assert result.messages >= 50
    assert result.seconds > 0.1
    with open_bag(bench.folder / "001") as bag:
        counts = {topic: 0 for topic in (t.name for t in RECORDED_TOPICS)}
        for topic, received, raw in bag.messages(tuple(counts)):
            counts[topic] += 1
            if topic == RECORDED_TOPICS[1].name:
                message = bag.decode(topic, raw)
                stamp = c.stamp_from_ros(message.header.stamp)
                assert 0 <= received - stamp < 1_000_000_000
                sent = c.depth_to_ros(bench.stand_in.published[stamp], c.header_to_ros(0, ""))
                assert bytes(np.asarray(message.data)) == bytes(sent.data)
    assert all(counts.values()), counts


def test_the_next_recording_takes_the_next_number(bench):
    for number in ("001", "002"):
        handle = bench.start(max_seconds=2.0)
        outcome, result = bench.end(handle)
        assert (outcome, result.bag) == (Outcome.SUCCEEDED, str(bench.folder / number))


def test_a_cancelled_recording_leaves_nothing(bench):
    handle = bench.start(name="thrown_away")
    bench.until_recording()
    GraphClient.wait(handle.cancel_goal_async(), 10.0, "cancel")
    assert bench.end(handle)[0] is Outcome.CANCELLED
    assert not list(bench.folder.glob("*"))
    assert bench.end(bench.start(max_seconds=2.0))[0] is Outcome.SUCCEEDED


def test_a_silent_topic_is_named_before_anything_is_recorded(bench):
    bench.stand_in.silent = {"depth"}
    time.sleep(0.2)
    outcome, result = bench.end(bench.start())
    assert outcome is Outcome.NO_IMAGE
    assert "/camera/camera/aligned_depth_to_color/image_raw" in result.outcome.message
    assert not bench.folder.exists()


@pytest.mark.parametrize("what", ["color", "pose"])
def test_a_topic_that_falls_silent_ends_the_recording_and_leaves_it_for_a_rescue(bench, what):
    handle = bench.start()
    bench.until_recording()
    bench.stand_in.silent = {what}
    outcome, result = bench.end(handle)
    assert outcome is Outcome.BAD_DEMONSTRATION
    name = {"color": COLOR, "pose": EE_POSE}[what]
    assert f"nothing came on {name} for 2 s" in result.outcome.message
    assert "--rescue" in result.outcome.message
    assert [path.name for path in bench.folder.iterdir()] == ["001.recording"]
    bag, lost = rescue(find_leftovers(bench.folder)[0])
    assert lost == 0
    assert any(f"{name} ends" in sentence for sentence in inspect_bag(bag).suspicions)
    bench.stand_in.silent = set()
    assert bench.end(bench.start(max_seconds=2.0))[1].bag == str(bench.folder / "002")


def test_a_recorder_that_is_shut_down_leaves_its_recording_for_a_rescue(graph, tmp_path):
    stand_in = StandIn(graph)
    process = subprocess.Popen(
        [sys.executable, "-m", "kalm_ros.recorder_node", "--ros-args", "-p", f"folder:={tmp_path}"],
        env={**os.environ, "ROS_DOMAIN_ID": str(graph.domain)},
    )
    try:
        action = graph.action_client(RecordDemonstration, "kalm/record_demonstration")
        await_server(action)
        heard = []
        GraphClient.wait(
            action.send_goal_async(
                RecordDemonstration.Goal(), feedback_callback=lambda m: heard.append(m.feedback)
            ),
            10.0,
            "start",
        )
        end = time.monotonic() + 10.0
        while not heard or heard[-1].messages < 50:
            assert time.monotonic() < end, "no message was recorded"
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(20.0) == 0
    finally:
        process.kill()
        process.wait()
        stand_in.close()
    assert [path.name for path in tmp_path.iterdir()] == ["001.recording"]
    bag, _ = rescue(find_leftovers(tmp_path)[0])
    assert sum(topic.messages for topic in inspect_bag(bag).topics) >= 50


def test_a_camera_that_comes_back_with_another_quality_of_service_is_recorded(bench):
    assert bench.end(bench.start(max_seconds=1.0))[0] is Outcome.SUCCEEDED
    for number, reliability in (("002", LISTEN_SENSOR), ("003", IMAGES)):
        bench.stand_in.restart("depth", reliability)
        outcome, result = bench.end(bench.start(max_seconds=1.0))
        assert outcome is Outcome.SUCCEEDED, result.outcome.message
        assert result.bag == str(bench.folder / number)
        topics = {topic.name: topic for topic in inspect_bag(bench.folder / number).topics}
        assert topics[DEPTH].messages >= 5
        assert all(topic.disordered == 0 for topic in topics.values())  # none is written twice


def test_topics_that_nobody_publishes_are_named(graph, tmp_path):
    bench = Bench(graph, tmp_path / "demonstrations", namespace="/elsewhere")
    bench.stand_in.close()
    outcome, result = bench.end(bench.start())
    assert outcome is Outcome.NO_IMAGE
    assert all(topic.name in result.outcome.message for topic in RECORDED_TOPICS)


def test_a_name_that_is_taken_is_refused_and_the_bag_stays(bench):
    assert bench.end(bench.start(name="mine", max_seconds=2.0))[0] is Outcome.SUCCEEDED
    before = {path: path.read_bytes() for path in (bench.folder / "mine").iterdir()}
    outcome, result = bench.end(bench.start(name="mine"))
    assert outcome is Outcome.BAD_DEMONSTRATION
    assert "exists already" in result.outcome.message
    assert before == {path: path.read_bytes() for path in (bench.folder / "mine").iterdir()}


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", "take.recording"])
def test_a_name_that_cannot_be_a_bags_is_refused(bench, name):
    assert bench.end(bench.start(name=name))[0] is Outcome.BAD_GOAL


def test_finishing_without_a_recording_says_so(bench):
    answer = bench.finish()
    assert not answer.success
    assert "no recording" in answer.message
