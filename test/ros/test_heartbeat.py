from __future__ import annotations

import time

from std_msgs.msg import String

from kalm_ros.heartbeat import TOPIC, HeartbeatWatch
from kalm_ros.qos import STATES


def test_a_client_that_was_gone_stays_gone(graph):
    watch = HeartbeatWatch(graph.make("listener"))
    client = graph.make("client").create_publisher(String, TOPIC, STATES)
    with watch.watching("word", 0.5) as gone:
        for _ in range(10):
            client.publish(String(data="word"))
            time.sleep(0.1)
        assert not gone()
        time.sleep(0.7)
        assert gone()
        client.publish(String(data="word"))
        time.sleep(0.2)
        assert gone()  # it was told to the arm
