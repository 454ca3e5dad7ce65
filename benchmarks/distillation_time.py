"""How long a distillation from ten bags takes with the embedded default, and what dominates.

The bags are those of a folder, say of a demo, or recorded from synthetic demonstrations with the
suite's own writer. Since the load of a machine changes, each time is also told in processor seconds
and as a multiple of a fixed computation done in the same run.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import Row
from benchmarks.verification_lesson import make_lesson
from kalm_core.bags import BagWriter, read_demonstration
from kalm_core.bags.folder import find_bags
from kalm_core.bags.message_types import message_types
from kalm_core.bags.topics import (
    ARM_JOINTS,
    CAMERA_INFO,
    COLOR,
    DEPTH,
    EE_POSE,
    FINGER_JOINTS,
    JOINT_STATES,
)
from kalm_core.demonstration import Demonstration
from kalm_core.distillation import (
    Attempt,
    Distillation,
    DistillationSettings,
    Examiner,
    distill,
)
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.progress import Progress
from kalm_core.proposal import Mask, Region, make_mask_proposer
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, quaternion_from_pose

IMAGES = 24
"""Images of each recording: about three a second, as the laboratory's camera gives."""
_START = 1_700_000_000_000_000_000


@dataclass
class Stages:
    """Wall and processor seconds by stage."""

    wall: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count what happens inside to a stage."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        self.wall[name] = self.wall.get(name, 0.0) + wall
        self.processor[name] = self.processor.get(name, 0.0) + processor


class _TimedMasks:
    """The default masks, on the clock."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._proposer = make_mask_proposer(DistillationSettings().mask_backend)

    def propose(self, frame: RgbdFrame, region: Region) -> list[Mask]:
        """See `MaskProposer.propose`."""
        with self._stages("masks"):
            return self._proposer.propose(frame, region)


class _TimedExaminer(Examiner):
    """The examiner, on the clock."""

    stages: Stages

    def prepare(self, progress: Progress) -> None:
        """See `Examiner.prepare`."""
        with self.stages("features"):
            super().prepare(progress)

    def examine(
        self, region: Region, mask: Mask, rank: int, min_span: float
    ) -> Distillation | Attempt:
        """See `Examiner.examine`."""
        with self.stages("verification"):
            return super().examine(region, mask, rank, min_span)


def distillation_time(task: str, recorded: Path | None = None) -> list[Row]:
    """Distil from ten bags and return the rows.

    Args:
        task: that the bags show, or that is drawn.
        recorded: folder of the bags; None records synthetic demonstrations of the task.
    """
    settings, stages = DistillationSettings(), Stages()
    hand_eye = HandEyeSettings().T_ee_cam
    with tempfile.TemporaryDirectory() as folder:
        if recorded is None:
            lesson = make_lesson(task, 0, IMAGES)
            for item in lesson.demonstrations:
                write_bag(Path(folder) / item.name, item)
        bags = find_bags(recorded or Path(folder))
        size = sum(file.stat().st_size for bag in bags for file in bag.rglob("*")) / 2**20
        unit = yardstick()
        wall, processor = time.perf_counter(), time.process_time()
        with stages("reading the bags"):
            demonstrations = [read_demonstration(bag, hand_eye) for bag in bags]
        with stages("contacts"):
            examiner = _TimedExaminer(demonstrations, settings)
        examiner.stages = stages
        result = distill(
            demonstrations, settings, mask_proposer=_TimedMasks(stages), examiner=examiner
        )
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    most = max(stages.processor, key=lambda name: stages.processor[name])
    parts = ", ".join(f"{name} {value:.1f} s" for name, value in stages.processor.items())
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    note = (
        f"{task}, embedded default, {len(bags)} bags of {size:.0f} MiB together, "
        f"{len(result.attempts)} masks tried; threads {threads}; load of the machine "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    return [
        Row("distill/seconds", round(wall, 2), "s", 1, note=note),
        Row("distill/processor_seconds", round(processor, 2), "s", 1, note=f"{most} most: {parts}"),
        Row(
            "distill/ratio",
            round(processor / unit, 2),
            "times",
            1,
            note=f"processor seconds over those of ten singular value decompositions of 700 x 700 "
            f"numbers in the same run ({unit:.2f} s)",
        ),
    ]


def yardstick() -> float:
    """Return the processor seconds of a fixed computation."""
    matrix = np.random.default_rng(0).normal(size=(700, 700))
    started = time.process_time()
    for _ in range(10):
        np.linalg.svd(matrix)
    return time.process_time() - started


def write_bag(folder: Path, demonstration: Demonstration) -> Path:
    """Record a demonstration as the recorder does and return the bag."""
    messages: list[tuple[str, int, Any]] = []
    for frame in demonstration.frames:
        stamp = _START + frame.stamp
        millimetres = np.rint(frame.depth * 1000.0).astype("<u2")
        messages += [
            (COLOR, stamp, _image(stamp, "rgb8", frame.color)),
            (DEPTH, stamp, _image(stamp, "16UC1", millimetres)),
            (CAMERA_INFO, stamp, _camera_info(stamp, frame)),
        ]
    for seconds, joints, pose, opening in zip(
        demonstration.stamps,
        demonstration.joints,
        demonstration.T_base_ee,
        demonstration.gripper,
        strict=True,
    ):
        stamp = _START + round(float(seconds) * 1e9)
        messages.append((JOINT_STATES, stamp, _joint_state(stamp, joints, float(opening))))
        messages.append((EE_POSE, stamp, _pose(stamp, pose)))
    with BagWriter(folder) as writer:
        for topic, stamp, message in sorted(messages, key=lambda item: item[1]):
            cdr = bytes(message_types().serialize_cdr(message, message.__msgtype__))
            writer.write(topic, stamp, cdr)
    return folder


def _type(name: str) -> Any:
    return message_types().types[name]


def _header(stamp: int, frame: str) -> Any:
    time_ = _type("builtin_interfaces/msg/Time")(stamp // 10**9, stamp % 10**9)
    return _type("std_msgs/msg/Header")(time_, frame)


def _image(stamp: int, encoding: str, pixels: Any) -> Any:
    height, width = pixels.shape[:2]
    content = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8)
    header = _header(stamp, "camera_color_optical_frame")
    step = len(content) // height
    return _type("sensor_msgs/msg/Image")(header, height, width, encoding, 0, step, content)


def _camera_info(stamp: int, frame: RgbdFrame) -> Any:
    k = frame.intrinsics
    return _type("sensor_msgs/msg/CameraInfo")(
        _header(stamp, "camera_color_optical_frame"),
        k.height,
        k.width,
        "plumb_bob",
        np.zeros(5),
        np.array([k.fx, 0, k.cx, 0, k.fy, k.cy, 0, 0, 1]),
        np.eye(3).reshape(-1),
        np.array([k.fx, 0, k.cx, 0, 0, k.fy, k.cy, 0, 0, 0, 1, 0]),
        0,
        0,
        _type("sensor_msgs/msg/RegionOfInterest")(0, 0, 0, 0, False),
    )


def _joint_state(stamp: int, joints: Array, opening: float) -> Any:
    positions = np.concatenate([joints, [opening / 2, opening / 2]])
    names = [*ARM_JOINTS, *FINGER_JOINTS]
    nothing = np.array([])
    return _type("sensor_msgs/msg/JointState")(
        _header(stamp, ""), names, positions, nothing, nothing
    )


def _pose(stamp: int, pose: Array) -> Any:
    return _type("geometry_msgs/msg/PoseStamped")(
        _header(stamp, "fr3_link0"),
        _type("geometry_msgs/msg/Pose")(
            _type("geometry_msgs/msg/Point")(*pose[:3, 3].tolist()),
            _type("geometry_msgs/msg/Quaternion")(*quaternion_from_pose(pose).tolist()),
        ),
    )
