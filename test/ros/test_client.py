"""What a client does so that no answer gets lost."""

from __future__ import annotations

import threading
import time

import pytest
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from kalm_ros.client import ClientError, GraphClient
from kalm_ros.settling import LONGEST, SETTLE, settle


@pytest.mark.parametrize(("searched", "waits"), [(0.0, SETTLE), (1.0, 1.0), (60.0, LONGEST)])
def test_one_waits_as_long_again_as_was_searched(searched, waits):
    began = time.monotonic()
    settle(began - searched)
    assert waits <= time.monotonic() - began < waits + 0.5


def test_a_call_that_is_not_answered_is_made_again(graph, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(graph.domain))
    calls: list[float] = []
    ending = threading.Event()

    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        calls.append(time.monotonic())
        if len(calls) == 1:
            ending.wait(20.0)  # as good as lost
        response.success = True
        return response

    node = graph.make("server")
    node.create_service(Trigger, "stop", answer, callback_group=ReentrantCallbackGroup())
    try:
        with GraphClient("caller") as client:
            assert client.call_at_once("stop", Trigger, Trigger.Request(), 15.0).success
            with pytest.raises(ClientError, match="no service absent within 1 s"):
                client.call_at_once("absent", Trigger, Trigger.Request(), 1.0)
    finally:
        ending.set()
    assert len(calls) >= 2
