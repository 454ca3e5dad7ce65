from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded import Message, Recording, nanoseconds, write_bag

from kalm_core.bags import inspect_bag
from kalm_core.bags.topics import CAMERA_INFO, COLOR, DEPTH, EE_POSE, JOINT_STATES


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return Recording().messages()


def test_a_good_bag_raises_no_suspicion(tmp_path: Path, messages: list[Message]) -> None:
    report = inspect_bag(write_bag(tmp_path / "001", messages))
    assert report.usable
    assert report.suspicions == ()
    assert report.seconds == pytest.approx(4.0, abs=0.02)
    rates = {topic.name: topic.rate for topic in report.topics}
    assert rates[COLOR] == pytest.approx(10)
    assert rates[JOINT_STATES] == pytest.approx(100)
    assert rates[EE_POSE] == pytest.approx(50)
    assert report.reach == pytest.approx(0.2, abs=1e-3)
    assert report.gripper_switches == 1
    assert report.starts_still
    assert report.dropped_frames == 0
    assert report.depth_share > 0.99


def test_lost_images_are_counted(tmp_path: Path, messages: list[Message]) -> None:
    gap = (nanoseconds(1.5), nanoseconds(2.0))
    kept = [m for m in messages if not (m[0] == COLOR and gap[0] <= m[1] < gap[1])]
    report = inspect_bag(write_bag(tmp_path / "001", kept))
    assert report.dropped_frames == 5
    assert any(f"5 images of {COLOR}" in sentence for sentence in report.suspicions)


def test_one_late_image_is_no_gap(tmp_path: Path, messages: list[Message]) -> None:
    first = next(i for i, m in enumerate(messages) if m[0] == COLOR and m[1] > nanoseconds(1.0))
    report = inspect_bag(write_bag(tmp_path / "001", messages[:first] + messages[first + 1 :]))
    assert report.dropped_frames == 0


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [(0.0, 3.0, "ends 1.1 s before"), (1.2, 4.0, "begins 1.2 s after"), (0.0, 4.0, None)],
)
def test_a_topic_that_is_missing_at_an_end_is_suspicious(
    tmp_path: Path, messages: list[Message], first: float, last: float, words: str | None
) -> None:
    start, end = nanoseconds(first), nanoseconds(last)
    kept = [m for m in messages if m[0] != COLOR or start <= m[1] < end]
    report = inspect_bag(write_bag(tmp_path / "001", kept))
    assert report.dropped_frames == 0
    found = [sentence for sentence in report.suspicions if COLOR in sentence]
    assert [words in sentence for sentence in found] == ([True] if words else [])


def test_an_arm_that_moves_from_the_start_is_suspicious(tmp_path: Path) -> None:
    report = inspect_bag(write_bag(tmp_path / "001", Recording(seconds=2.0, still=0.0).messages()))
    assert report.usable
    assert not report.starts_still
    assert any("first image should show it still" in s for s in report.suspicions)


def test_an_empty_depth_image_is_suspicious(tmp_path: Path) -> None:
    class Blind(Recording):
        def depth_image(self, index: int) -> np.ndarray:
            depth = super().depth_image(index)
            depth[:, 3:] = 0
            return depth

    report = inspect_bag(write_bag(tmp_path / "001", Blind(seconds=2.0).messages()))
    assert report.depth_share == pytest.approx(3 / 24, abs=0.01)
    assert any("depth pixels" in sentence for sentence in report.suspicions)


def test_a_gripper_that_never_moves_is_suspicious_and_noise_is_no_switch(tmp_path: Path) -> None:
    class Noisy(Recording):
        def opening(self, times: np.ndarray) -> np.ndarray:
            return 0.05 + np.random.default_rng(0).normal(0, 5e-4, len(times))

    report = inspect_bag(write_bag(tmp_path / "001", Noisy(seconds=2.0, still=0.5).messages()))
    assert report.gripper_switches == 0
    assert any("gripper never" in sentence for sentence in report.suspicions)


def test_repeated_stamps_are_reported_and_read_once(
    tmp_path: Path, messages: list[Message]
) -> None:
    doubled = [m for m in messages for _ in range(2 if m[0] == EE_POSE else 1)]
    report = inspect_bag(write_bag(tmp_path / "001", doubled))
    assert report.usable
    assert any(f"of {EE_POSE} repeat or go back" in sentence for sentence in report.suspicions)


def test_a_bag_without_depth_is_reported_not_raised(
    tmp_path: Path, messages: list[Message]
) -> None:
    report = inspect_bag(write_bag(tmp_path / "001", [m for m in messages if m[0] != DEPTH]))
    assert not report.usable
    assert DEPTH in report.problem
    assert np.isnan(report.depth_share)


@pytest.mark.parametrize("topic", [CAMERA_INFO, COLOR])
def test_a_bag_that_learning_would_refuse_is_unusable(tmp_path: Path, topic: str) -> None:
    messages = Recording(seconds=1.0, still=0.3).messages()
    for name, _, message in messages:
        if name == topic == CAMERA_INFO:
            message.k = np.zeros(9)
        elif name == topic:
            message.encoding = "yuv422_yuy2"
    report = inspect_bag(write_bag(tmp_path / "001", messages))
    assert ("focal lengths" if topic == CAMERA_INFO else "encoding") in report.problem
