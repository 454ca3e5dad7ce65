"""One pass over a bag: every stamp, and the small messages decoded; images stay as bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm_core.bags.bag_file import METADATA, BagFile, header_stamp
from kalm_core.bags.settings import BagSettings
from kalm_core.bags.topics import RECORDED_TOPICS
from kalm_core.errors import DemonstrationError

Stamps = NDArray[np.int64]


@dataclass(frozen=True)
class TopicStamps:
    """When the messages of one topic were made and when they were received.

    Attributes:
        header: (N,) acquisition times [ns], in the order of arrival.
        received: (N,) times at which the recorder wrote them [ns].
    """

    header: Stamps
    received: Stamps

    def __len__(self) -> int:
        return len(self.header)


@dataclass(frozen=True)
class BagScan:
    """What one pass over a bag found.

    Attributes:
        path: the bag.
        settings: with the topics' names.
        stamps: topic -> stamps, for the topics of the table that the bag has.
        types: topic -> type, of all topics in the bag.
        joint_states, ee_poses, camera_infos: the decoded messages in the order of arrival.
    """

    path: Path
    settings: BagSettings
    stamps: dict[str, TopicStamps]
    types: dict[str, str]
    joint_states: list[Any] = field(default_factory=list)
    ee_poses: list[Any] = field(default_factory=list)
    camera_infos: list[Any] = field(default_factory=list)

    def count(self, topic: str) -> int:
        """Return the number of messages of a topic; 0 when the bag does not have it."""
        return len(self.stamps[topic]) if topic in self.stamps else 0

    def missing(self) -> str:
        """Return one sentence about the first thing that keeps the bag from teaching, or ""."""
        if not any(map(len, self.stamps.values())):
            return f"{self.path} is empty: it has no message of any topic of a demonstration"
        for name, kind, what in expected_topics(self.settings):
            if name in self.types and self.types[name] != kind:
                return f"{self.path}: {name} has type {self.types[name]}, expected {kind}"
            if not self.count(name):
                absent = "has no messages" if name in self.types else "is not in the bag"
                return f"{self.path}: {name} ({what}) {absent}"
        return ""


def expected_topics(settings: BagSettings) -> list[tuple[str, str, str]]:
    """Return (name, type, why) of the required topics, under the names of the settings."""
    names = (
        settings.color_topic,
        settings.depth_topic,
        settings.camera_info_topic,
        settings.joint_states_topic,
        settings.ee_pose_topic,
    )
    return [(name, t.type, t.why) for name, t in zip(names, RECORDED_TOPICS, strict=True)]


def scan_bag(bag: BagFile, settings: BagSettings) -> BagScan:
    """Read the stamps of all topics of the table and decode all but the images.

    Raises:
        DemonstrationError: the file is damaged or holds fewer messages than its metadata says.
    """
    expected = {name: kind for name, kind, _ in expected_topics(settings)}
    present = tuple(name for name, kind in expected.items() if bag.types.get(name) == kind)
    scan = BagScan(bag.path, settings, {}, bag.types)
    small = {
        settings.joint_states_topic: scan.joint_states,
        settings.ee_pose_topic: scan.ee_poses,
        settings.camera_info_topic: scan.camera_infos,
    }
    header: dict[str, list[int]] = {name: [] for name in present}
    received: dict[str, list[int]] = {name: [] for name in present}
    for topic, stamp, raw in bag.messages(present):
        if len(raw) < 12:
            raise DemonstrationError(f"{bag.path}: a message of {topic} is only {len(raw)} bytes")
        header[topic].append(header_stamp(raw))
        received[topic].append(stamp)
        if topic in small:
            small[topic].append(bag.decode(topic, raw))
    for topic in present:
        if len(header[topic]) != bag.promised[topic]:
            raise DemonstrationError(
                f"{bag.path} is cut short: {METADATA} promises {bag.promised[topic]} messages of "
                f"{topic}, the file holds {len(header[topic])}",
                "copy it again from where it was recorded",
            )
        scan.stamps[topic] = TopicStamps(
            np.array(header[topic], dtype=np.int64), np.array(received[topic], dtype=np.int64)
        )
    return scan
