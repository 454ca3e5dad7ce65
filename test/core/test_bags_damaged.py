from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded import (
    Message,
    Recording,
    camera_info,
    image,
    nanoseconds,
    pose_stamped,
    serialize,
    write_bag,
    write_foreign_bag,
)
from typer.testing import CliRunner

from kalm_core.bags import BagWriter, find_leftovers, inspect_bag, read_demonstration, rescue
from kalm_core.bags.folder import find_bags
from kalm_core.bags.settings import BagSettings
from kalm_core.bags.topics import (
    CAMERA_INFO,
    COLOR,
    DEPTH,
    EE_POSE,
    JOINT_STATES,
    RECORDED_TOPICS,
)
from kalm_core.cli import app
from kalm_core.errors import DemonstrationError

EYE = np.eye(4)


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return Recording(seconds=2.0, still=0.5).messages()


def without(messages: list[Message], topic: str) -> list[Message]:
    return [item for item in messages if item[0] != topic]


def arm_alone(message: Any) -> Any:
    """The joint state that robot_node sends when the hand does not answer."""
    return replace(message, name=message.name[:7], position=message.position[:7])


def refusal(bag: Path, settings: BagSettings | None = None) -> DemonstrationError:
    with pytest.raises(DemonstrationError) as caught:
        read_demonstration(bag, EYE, settings)
    return caught.value


def test_a_cut_mcap_names_the_file_at_every_offset(tmp_path: Path, messages: list[Message]) -> None:
    whole = write_bag(tmp_path / "whole", messages)
    size = (whole / "whole.mcap").stat().st_size
    for keep in (0, 4, 8, 40, size // 4, size // 2, size - 500, size - 40, size - 8, size - 1):
        cut = tmp_path / f"cut{keep}"
        shutil.copytree(whole, cut)
        os.truncate(cut / "whole.mcap", keep)
        error = refusal(cut)
        assert "whole.mcap" in error.problem
        assert "cut short" in error.problem
        assert "copy it again" in error.remedy
        assert (cut / "whole.mcap").stat().st_size == keep
        with pytest.raises(DemonstrationError):
            inspect_bag(cut)


def test_a_cut_sqlite_file_is_refused_at_every_offset(
    tmp_path: Path, messages: list[Message]
) -> None:
    whole = write_foreign_bag(tmp_path / "whole", messages)
    size = (whole / "whole.db3").stat().st_size
    for keep in (0, 50, 4096, size // 4, size // 2, size * 3 // 4, size - 4096, size - 1):
        cut = tmp_path / f"cut{keep}"
        shutil.copytree(whole, cut)
        os.truncate(cut / "whole.db3", keep)
        assert "cut" in refusal(cut).problem


def test_a_bag_with_fewer_messages_than_promised_is_cut_short(
    tmp_path: Path, messages: list[Message]
) -> None:
    bag = write_bag(tmp_path / "001", messages)
    text = (bag / "metadata.yaml").read_text()
    assert "message_count: 200" in text
    (bag / "metadata.yaml").write_text(text.replace("message_count: 200", "message_count: 201"))
    error = refusal(bag)
    assert "promises 201" in error.problem
    assert JOINT_STATES in error.problem


@pytest.mark.parametrize("topic", [COLOR, DEPTH, CAMERA_INFO, JOINT_STATES, EE_POSE])
def test_a_missing_topic_is_named_with_how_to_record_it(
    tmp_path: Path, messages: list[Message], topic: str
) -> None:
    never_there = write_foreign_bag(tmp_path / "a", without(messages, topic))
    assert f"{topic} (" in refusal(never_there).problem
    assert "is not in the bag" in refusal(never_there).problem
    silent = write_bag(tmp_path / "b", without(messages, topic))
    assert "has no messages" in refusal(silent).problem
    assert "ros2 bag record" in refusal(silent).remedy
    report = inspect_bag(silent)
    assert not report.usable
    assert topic in report.problem


def test_paths_without_a_bag_say_so(tmp_path: Path, messages: list[Message]) -> None:
    assert "there is no bag" in refusal(tmp_path / "nowhere").problem
    (tmp_path / "empty").mkdir()
    assert "not a rosbag2" in refusal(tmp_path / "empty").problem
    bag = write_bag(tmp_path / "001", messages)
    (bag / "metadata.yaml").unlink()
    error = refusal(bag)
    assert "metadata.yaml is missing" in error.problem
    assert "ros2 bag reindex" in error.remedy
    (bag / "metadata.yaml").write_text("]: not yaml")
    assert "cannot be read" in refusal(bag).problem


def test_a_bag_without_messages_is_refused(tmp_path: Path) -> None:
    assert "is empty" in refusal(write_foreign_bag(tmp_path / "001", [])).problem


def test_a_wrong_type_is_named(tmp_path: Path, messages: list[Message]) -> None:
    pose = pose_stamped(nanoseconds(0), EYE).pose
    other = [*without(messages, EE_POSE), (EE_POSE, nanoseconds(0), pose)]
    types = {EE_POSE: "geometry_msgs/msg/Pose"}
    bag = write_foreign_bag(tmp_path / "001", other, types=types)
    assert f"{EE_POSE} has type geometry_msgs/msg/Pose" in refusal(bag).problem


def test_a_wrong_frame_encoding_or_size_is_named(tmp_path: Path, messages: list[Message]) -> None:
    stamp = nanoseconds(0.01)
    wrong_frame = [*messages, (EE_POSE, stamp, pose_stamped(stamp, EYE, frame="world"))]
    assert "'fr3_link0, world'" in refusal(write_bag(tmp_path / "a", wrong_frame)).problem

    def with_depth(name: str, encoding: str, shape: tuple[int, int, int]) -> Path:
        dtype = np.uint8 if encoding == "mono8" else np.uint16
        stamps = [item[1] for item in messages if item[0] == DEPTH]
        depth = [(DEPTH, s, image(s, encoding, np.ones(shape, dtype), 0, False)) for s in stamps]
        return write_bag(tmp_path / name, without(messages, DEPTH) + depth)

    assert "encoding 'mono8'" in refusal(with_depth("b", "mono8", (16, 24, 1))).problem
    assert "align_depth" in refusal(with_depth("c", "16UC1", (8, 12, 1))).remedy


def test_an_arm_that_does_not_move_teaches_nothing(tmp_path: Path) -> None:
    class Still(Recording):
        def opening(self, times: object) -> object:
            return np.full(np.shape(times), 0.08)

    bag = write_bag(tmp_path / "001", Still(seconds=1.5, reach=0.0).messages())
    assert "shows no motion" in refusal(bag).problem
    assert not inspect_bag(bag).usable


@pytest.mark.parametrize(("start", "end"), [(-1.0, 0.5), (0.8, 1.2), (1.6, 9.0)])
def test_an_opening_that_is_not_known_for_long_is_refused(
    tmp_path: Path, messages: list[Message], start: float, end: float
) -> None:
    def without_hand(until: float) -> list[Message]:
        return [
            (topic, stamp, arm_alone(message))
            if topic == JOINT_STATES and nanoseconds(start) < stamp < nanoseconds(until)
            else (topic, stamp, message)
            for topic, stamp, message in messages
        ]

    error = refusal(write_bag(tmp_path / "lost", without_hand(end)))
    assert f"did not answer while the arm did, from {max(start, 0.0):.1f} s" in error.problem
    short = start + 0.25 if start > 0 else 0.25
    read_demonstration(write_bag(tmp_path / "short", without_hand(short)), EYE)
    stalled = [
        (topic, stamp, message)
        for topic, stamp, message in messages
        if topic != JOINT_STATES or not nanoseconds(start) < stamp < nanoseconds(end)
    ]
    read_demonstration(write_bag(tmp_path / "stalled", stalled), EYE)


def test_a_clock_that_jumps_back_is_refused_but_a_late_message_is_not(
    tmp_path: Path, messages: list[Message]
) -> None:
    first = next(item for item in messages if item[0] == JOINT_STATES)

    def with_late_joint(name: str, seconds: float) -> Path:
        late = (JOINT_STATES, nanoseconds(seconds), first[2])
        return write_bag(tmp_path / name, sorted([*messages, late], key=lambda item: item[1]))

    reference = read_demonstration(write_bag(tmp_path / "whole", messages), EYE)
    tolerated = read_demonstration(with_late_joint("late", 0.055), EYE)
    assert np.array_equal(tolerated.stamps, reference.stamps)
    assert np.array_equal(tolerated.joints, reference.joints)
    assert "jumps back by 0.9" in refusal(with_late_joint("jump", 0.995)).problem


def test_camera_and_arm_on_different_clocks_are_told_apart(tmp_path: Path) -> None:
    shifted = Recording(seconds=2.0, still=0.5, camera_clock=100.0)
    received = [
        (topic, stamp - 100 * 10**9 if topic in (COLOR, DEPTH, CAMERA_INFO) else stamp, message)
        for topic, stamp, message in shifted.messages()
    ]
    bag = write_bag(tmp_path / "001", received)
    assert "one clock" in refusal(bag).remedy
    assert any("100.00 s ahead of the arm's" in s for s in inspect_bag(bag).suspicions)


def test_nothing_of_a_failed_recording_stays(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), BagWriter(tmp_path / "001"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DemonstrationError, match="no message arrived"), BagWriter(tmp_path / "002"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_writer_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    data = serialize(camera_info(nanoseconds(0)))
    with BagWriter(tmp_path / "001") as writer:
        with pytest.raises(DemonstrationError, match="not among the recorded topics"):
            writer.write("/other", 0, data)
        with pytest.raises(DemonstrationError, match="was not finished"):
            BagWriter(tmp_path / "001")
        writer.write(CAMERA_INFO, nanoseconds(0), data)
        assert writer.messages == 1
    with pytest.raises(DemonstrationError, match="not being recorded"):
        writer.write(CAMERA_INFO, nanoseconds(0), data)
    with pytest.raises(DemonstrationError, match="exists already"):
        BagWriter(tmp_path / "001")


RECORDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recorded import Recording, serialize
from kalm_core.bags import BagWriter
messages = Recording(seconds=2.0, still=0.5).messages()
writer = BagWriter(Path(sys.argv[1]) / "killed")
for _ in range(20):
    for topic, stamp, message in messages:
        writer.write(topic, stamp, serialize(message))
if sys.argv[3] == "finish":
    writer.finish()
print("ready", flush=True)
time.sleep(60)
"""


def killed_recorder(folder: Path, how: str) -> None:
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(folder), here, how], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    if how == "leave":
        assert find_leftovers(folder)[0].active
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_finished_bag_survives_kill_9(tmp_path: Path) -> None:
    killed_recorder(tmp_path, "finish")
    assert [item.name for item in tmp_path.iterdir()] == ["killed"]
    assert inspect_bag(tmp_path / "killed").topics[0].messages == 400
    assert find_leftovers(tmp_path) == []


def test_what_a_killed_recorder_leaves_is_found_and_rescued(tmp_path: Path) -> None:
    killed_recorder(tmp_path, "leave")
    (leftover,) = find_leftovers(tmp_path)
    assert leftover.path.name == "killed.recording"
    assert not leftover.active
    assert "--rescue" in leftover.sentence
    before = leftover.files[0].read_bytes()
    bag, lost = rescue(leftover)
    assert bag == tmp_path / "killed_rescued"
    assert lost < 1 << 20
    assert leftover.files[0].read_bytes() == before
    assert {topic.name for topic in inspect_bag(bag).topics} == {t.name for t in RECORDED_TOPICS}
    assert sorted(item.name for item in tmp_path.iterdir()) == ["killed.recording", bag.name]
    again = CliRunner().invoke(app, ["demonstrations", str(tmp_path), "--rescue"])
    assert again.exit_code == 0
    assert "was rescued before, as killed_rescued" in again.stdout


def test_what_a_writer_leaves_is_no_bag_and_is_rescued_whole(tmp_path: Path) -> None:
    messages = Recording(seconds=2.0, still=0.5).messages()
    with BagWriter(tmp_path / "001") as writer:
        for topic, stamp, message in messages:
            writer.write(topic, stamp, serialize(message))
        writer.leave()
    assert [item.name for item in tmp_path.iterdir()] == ["001.recording"]
    assert find_bags(tmp_path) == find_bags(tmp_path / "001.recording") == []
    (leftover,) = find_leftovers(tmp_path)
    assert not leftover.active
    bag, lost = rescue(leftover)
    assert lost == 0
    assert sum(topic.messages for topic in inspect_bag(bag).topics) == len(messages)


def test_a_cut_bag_is_rescued_up_to_the_cut(tmp_path: Path) -> None:
    recording = Recording(seconds=30.0)
    whole = write_bag(tmp_path / "001", recording.messages())
    data = whole / "001.mcap"
    size = data.stat().st_size
    os.truncate(data, size - 200_000)
    (leftover,) = find_leftovers(tmp_path)
    bag, lost = rescue(leftover)
    assert 0 < lost < size
    demo = read_demonstration(bag, EYE)
    kept = len(demo.joints)
    assert 500 < kept < 3000
    assert np.allclose(demo.joints, recording.joints(recording.joint_times)[:kept])
