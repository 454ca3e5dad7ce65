"""rosbag2 in and out, without ROS: recording, reading and judging demonstrations."""

from kalm_core.bags.demonstration_reader import read_demonstration
from kalm_core.bags.settings import BagSettings
from kalm_core.bags.topics import RECORDED_TOPICS, RecordedTopic, record_command
from kalm_core.bags.writer import BagWriter

__all__ = [
    "RECORDED_TOPICS",
    "BagSettings",
    "BagWriter",
    "RecordedTopic",
    "read_demonstration",
    "record_command",
]
