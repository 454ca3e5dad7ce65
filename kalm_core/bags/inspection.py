"""Judge a recording: length, rates, dropped frames, and whatever looks wrong in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kalm_core.bags.bag_file import BagFile, open_bag
from kalm_core.bags.demonstration_reader import (
    check_motion,
    pair_images,
    read_frames,
)
from kalm_core.bags.images import decode_depth, distortion_sentence
from kalm_core.bags.motion import Motion, Ns, read_motion
from kalm_core.bags.scan import BagScan, TopicStamps, expected_topics, scan_bag
from kalm_core.bags.settings import BagSettings
from kalm_core.errors import DemonstrationError

DROPPED_GAP = 2.5
"""A gap between images longer than this many usual periods means that images were lost."""

LATE_START = 0.5
"""A recorder may hear the topics this much one after another [s]; more is missing at an end."""

DEPTH_SAMPLES = 5
"""Depth images whose pixels are counted, evenly spaced over the bag."""


@dataclass(frozen=True)
class TopicReport:
    """One topic of a bag.

    Attributes:
        name: the topic.
        messages: how many there are.
        rate: messages per second of header time; 0 for fewer than two.
        dropped: messages missing in gaps longer than `DROPPED_GAP` median periods.
        disordered: messages older than one that arrived before them, or of the same stamp.
    """

    name: str
    messages: int
    rate: float
    dropped: int
    disordered: int


@dataclass(frozen=True)
class BagReport:
    """What `kalm demonstrations` says about a bag.

    Attributes:
        path: the bag.
        seconds: length by the stamps of the topics present [s].
        topics: one report per topic of the table that the bag has.
        dropped_frames: lost colour images.
        depth_share: share of pixels with a measurement, over a few images; NaN without depth.
        reach: how far the tool got from its start [m]; NaN without motion.
        gripper_switches: how often the gripper went between open and closed.
        starts_still: whether the arm is still in the beginning.
        problem: why the bag cannot teach, with the remedy; empty when it can.
        suspicions: plain sentences about what looks wrong although the bag can be read.
    """

    path: Path
    seconds: float
    topics: tuple[TopicReport, ...]
    dropped_frames: int
    depth_share: float
    reach: float
    gripper_switches: int
    starts_still: bool
    problem: str
    suspicions: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether `read_demonstration` would take it."""
        return not self.problem


def inspect_bag(path: Path, settings: BagSettings | None = None) -> BagReport:
    """Read a bag and judge it; a bag that lacks something is reported, not refused.

    Args:
        path: the bag's folder or file.
        settings: names of the topics and tolerances; None takes the defaults.

    Raises:
        DemonstrationError: the file cannot be read at all.
    """
    path, settings = Path(path), settings or BagSettings()
    with open_bag(path) as bag:
        scan = scan_bag(bag, settings)
        topics = tuple(_topic_report(name, stamps) for name, stamps in scan.stamps.items())
        problem = ""
        motion: Motion | None = None
        try:
            if missing := scan.missing():
                raise DemonstrationError(missing, "see `kalm topics` for what to record")
            motion = read_motion(scan)
            check_motion(path, motion, settings)
            pairs = pair_images(scan, motion)
            read_frames(bag, scan, motion, pairs[:1], np.eye(4))
        except DemonstrationError as error:
            problem = str(error)
        depth_share = _depth_share(bag, scan)
    still = motion is not None and _still_seconds(motion, settings) >= settings.still_time
    return BagReport(
        path=path,
        seconds=_length(scan),
        topics=topics,
        dropped_frames=next((t.dropped for t in topics if t.name == settings.color_topic), 0),
        depth_share=depth_share,
        reach=motion.reach if motion else float("nan"),
        gripper_switches=motion.gripper_switches(settings.min_switch) if motion else 0,
        starts_still=still,
        problem=problem,
        suspicions=tuple(_suspicions(scan, topics, motion, depth_share, still)),
    )


def _topic_report(name: str, stamps: TopicStamps) -> TopicReport:
    header = stamps.header
    disordered = int(np.count_nonzero(header[1:] <= np.maximum.accumulate(header)[:-1]))
    gaps = np.diff(np.unique(header).astype(np.float64)) * Ns
    if not len(gaps):
        return TopicReport(name, len(stamps), 0.0, 0, disordered)
    period = float(np.median(gaps))
    long = gaps[gaps > DROPPED_GAP * period]
    dropped = int(np.rint(long / period - 1).sum())
    return TopicReport(name, len(stamps), len(gaps) / float(gaps.sum()), dropped, disordered)


def _length(scan: BagScan) -> float:
    """Return the longest time that one topic spans [s]."""
    return max((float(np.ptp(s.header)) * Ns for s in scan.stamps.values() if len(s)), default=0.0)


def _still_seconds(motion: Motion, settings: BagSettings) -> float:
    return (motion.still_until(settings.still_joints) - int(motion.stamps[0])) * Ns


def _depth_share(bag: BagFile, scan: BagScan) -> float:
    """Return the share of pixels with a measurement in a few depth images."""
    topic = scan.settings.depth_topic
    if not scan.count(topic):
        return float("nan")
    received = np.sort(scan.stamps[topic].received)
    picks = np.unique(received[np.linspace(0, len(received) - 1, DEPTH_SAMPLES).astype(int)])
    shares = []
    for stamp in picks.tolist():
        for _, _, raw in bag.messages((topic,), stamp, stamp + 1):
            depth = decode_depth(bag.decode(topic, raw), f"{scan.path}: {topic}")
            shares.append(float((depth > 0).mean()))
    return float(np.mean(shares))


def _suspicions(
    scan: BagScan,
    topics: tuple[TopicReport, ...],
    motion: Motion | None,
    depth_share: float,
    still: bool,
) -> list[str]:
    settings = scan.settings
    found = []
    for topic in topics:
        if topic.dropped and topic.name in (settings.color_topic, settings.depth_topic):
            found.append(f"{topic.dropped} images of {topic.name} were lost")
        elif topic.dropped:
            found.append(f"{topic.dropped} messages of {topic.name} were lost")
        if topic.disordered:
            found.append(f"{topic.disordered} stamps of {topic.name} repeat or go back")
    found.extend(_missing_ends(scan))
    absent = [name for name, _, _ in expected_topics(settings) if not scan.count(name)]
    if absent:
        found.append(f"nothing was recorded of {', '.join(absent)}")
    if depth_share < settings.min_depth_share:
        found.append(
            f"only {depth_share:.0%} of the depth pixels have a value: too close, or shiny things"
        )
    if motion is not None and not still:
        found.append("the arm moves from the start; the first image should show it still")
    if motion is not None and motion.gripper_switches(settings.min_switch) == 0:
        found.append("the gripper never opens or closes")
    found.extend(_clock_suspicions(scan))
    if scan.camera_infos and (sentence := distortion_sentence(scan.camera_infos[0])):
        found.append(sentence)
    return found


def _missing_ends(scan: BagScan) -> list[str]:
    """Compare when each topic was first and last received with the recording's start and end."""
    received = {name: np.sort(s.received) for name, s in scan.stamps.items() if len(s)}
    if not received:
        return []
    start = min(int(times[0]) for times in received.values())
    end = max(int(times[-1]) for times in received.values())
    found = []
    for name, times in received.items():
        period = float(np.median(np.diff(times))) * Ns if len(times) > 1 else 0.0
        least = max(LATE_START, DROPPED_GAP * period)
        if (late := (int(times[0]) - start) * Ns) > least:
            found.append(f"{name} begins {late:.1f} s after the recording")
        if (early := (end - int(times[-1])) * Ns) > least:
            found.append(f"{name} ends {early:.1f} s before the recording")
    return found


def _clock_suspicions(scan: BagScan) -> list[str]:
    """Compare how far camera and arm stamps lie behind the recorder's clock."""
    settings = scan.settings
    camera, arm = settings.color_topic, settings.joint_states_topic
    if not scan.count(camera) or not scan.count(arm):
        return []
    delay = {
        name: float(np.median(scan.stamps[name].received - scan.stamps[name].header)) * Ns
        for name in (camera, arm)
    }
    apart = delay[camera] - delay[arm]
    if abs(apart) <= settings.max_clock_offset:
        return []
    side = "behind" if apart > 0 else "ahead of"
    return [f"the camera's stamps are {abs(apart):.2f} s {side} the arm's: they use other clocks"]
