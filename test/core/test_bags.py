from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from recorded import Recording, nanoseconds, write_bag, write_foreign_bag
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from kalm_core.bags import BagWriter, read_demonstration
from kalm_core.bags.topics import ARM_JOINTS, RECORDED_TOPICS, record_command
from kalm_core.demonstration import Demonstration
from kalm_core.se3 import invert_pose, make_pose

T_EE_CAM = make_pose([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [0.07, 0.0, -0.06])


def same(a: Demonstration, b: Demonstration) -> bool:
    arrays = all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("stamps", "joints", "T_base_ee", "gripper")
    )
    frames = len(a.frames) == len(b.frames) and all(
        x.stamp == y.stamp
        and x.intrinsics == y.intrinsics
        and np.array_equal(x.color, y.color)
        and np.array_equal(x.depth, y.depth)
        and np.array_equal(x.T_base_cam, y.T_base_cam)
        for x, y in zip(a.frames, b.frames, strict=True)
    )
    return arrays and frames


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "001", Recording().messages())


def test_what_is_written_is_read_back(bag: Path) -> None:
    recording = Recording()
    demo = read_demonstration(bag, T_EE_CAM)
    times = recording.joint_times
    assert demo.name == "001"
    assert demo.source == bag
    assert np.allclose(demo.stamps, times, atol=1e-9)
    assert np.allclose(demo.joints, recording.joints(times))
    assert np.array_equal(demo.gripper, recording.opening(times))
    on_a_pose = slice(0, None, 2)
    assert np.allclose(demo.T_base_ee[on_a_pose], recording.poses(times)[on_a_pose], atol=1e-9)
    assert np.allclose(demo.T_base_ee, recording.poses(times), atol=1e-4)


def test_images_come_back_bit_for_bit_with_the_camera_where_it_was(bag: Path) -> None:
    recording = Recording()
    demo = read_demonstration(bag, T_EE_CAM)
    assert len(demo.frames) == 9
    for frame in demo.frames:
        time = (frame.stamp - nanoseconds(0)) * 1e-9
        index = round((time - 0.05) / 0.1)
        assert np.array_equal(frame.color, recording.color_image(index))
        assert np.array_equal(np.rint(frame.depth * 1000), recording.depth_image(index))
        T_base_ee = frame.T_base_cam @ invert_pose(T_EE_CAM)
        assert np.allclose(T_base_ee, recording.poses(np.array([time]))[0], atol=1e-4)


def test_the_first_frame_is_taken_while_the_arm_is_still_and_the_last_at_the_end(bag: Path) -> None:
    frames = read_demonstration(bag, T_EE_CAM).frames
    assert frames[0].stamp == nanoseconds(0.05)
    assert frames[-1].stamp == nanoseconds(3.95)
    assert np.diff([frame.stamp for frame in frames]).min() > 0.3e9


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
def test_every_storage_gives_the_same_demonstration(
    bag: Path, tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    other = write_foreign_bag(tmp_path / "001", Recording().messages(), storage, compression)
    assert same(read_demonstration(bag, T_EE_CAM), read_demonstration(other, T_EE_CAM))


def test_the_checksum_is_that_of_the_data_file_and_reading_changes_nothing(bag: Path) -> None:
    data = (bag / "001.mcap").read_bytes()
    demo = read_demonstration(bag, T_EE_CAM)
    assert demo.sha256 == hashlib.sha256(data).hexdigest()
    assert sorted(file.name for file in bag.iterdir()) == ["001.mcap", "metadata.yaml"]
    assert (bag / "001.mcap").read_bytes() == data


def test_the_table_and_the_command_name_the_same_topics() -> None:
    assert all(topic.name in record_command().split() for topic in RECORDED_TOPICS)
    assert len(ARM_JOINTS) == 7


def test_an_unfinished_recording_does_not_carry_the_final_name(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "001")
    assert not (tmp_path / "001").exists()
    writer.discard()
    assert list(tmp_path.iterdir()) == []
