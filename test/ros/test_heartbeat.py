from __future__ import annotations

import threading
import time

from rclpy.node import Node
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


def test_words_that_wait_for_a_busy_node_are_heard(graph):
    unserved = Node("busy", context=graph.context)  # as where its executor gets no time
    graph.nodes.append(unserved)
    watch = HeartbeatWatch(unserved)
    client = graph.make("client").create_publisher(String, TOPIC, STATES)
    ending = threading.Event()

    def speak() -> None:
        while not ending.wait(0.05):
            client.publish(String(data="word"))

    speaker = threading.Thread(target=speak)
    speaker.start()
    with watch.watching("word", 0.5) as gone:
        time.sleep(0.8)  # nobody asks for longer than a client may be silent
        assert not gone()
        ending.set()
        speaker.join()
        time.sleep(0.1)
        assert not gone()  # the last words
        time.sleep(0.6)
        assert gone()
