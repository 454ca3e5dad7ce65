"""rosbag2 in and out, without ROS: recording, reading and judging demonstrations."""

from kalm_core.bags.demonstration_reader import demonstration_name, read_demonstration
from kalm_core.bags.inspection import BagReport, TopicReport, inspect_bag
from kalm_core.bags.rescue import Leftover, find_leftovers, rescue
from kalm_core.bags.settings import BagSettings
from kalm_core.bags.topics import RECORDED_TOPICS, RecordedTopic, record_command
from kalm_core.bags.writer import BagWriter

__all__ = [
    "RECORDED_TOPICS",
    "BagReport",
    "BagSettings",
    "BagWriter",
    "Leftover",
    "RecordedTopic",
    "TopicReport",
    "demonstration_name",
    "find_leftovers",
    "inspect_bag",
    "read_demonstration",
    "record_command",
    "rescue",
]
