from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from stand_ins import INTRINSICS, StandIn

from kalm_core.errors import CancelledError, NoImageError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.progress import Progress
from kalm_core.se3 import invert_pose
from kalm_ros.frame_buffer import FrameBuffer, FrameSettings


@pytest.fixture
def world(graph):
    stand_in = StandIn(graph)
    buffer = FrameBuffer(graph.make("listener"), FrameSettings(timeout=3.0), HandEyeSettings())
    yield stand_in, buffer
    stand_in.close()


def test_a_frame_is_recent_and_holds_what_was_published(world):
    stand_in, buffer = world
    asked = time.time_ns()
    frame = buffer.fresh(Progress())
    assert frame.stamp >= asked - 0.5e9
    assert frame.intrinsics == INTRINSICS
    np.testing.assert_allclose(frame.depth, stand_in.published[frame.stamp], atol=0.0006)
    T_base_ee = frame.T_base_cam @ invert_pose(HandEyeSettings().T_ee_cam)
    np.testing.assert_allclose(T_base_ee[:3, 3], (0.4, 0.0, 0.5), atol=1e-9)


def test_an_image_from_before_the_request_is_taken_only_up_to_its_age(world, graph):
    stand_in, _ = world
    strict = FrameBuffer(graph.make("strict"), FrameSettings(max_age=0.0), HandEyeSettings())
    asked = time.time_ns()
    assert strict.fresh(Progress()).stamp >= asked
    # of a camera that stopped, the newest images are there when they are asked for
    relaxed = FrameBuffer(graph.make("relaxed"), FrameSettings(max_age=1.0), HandEyeSettings())
    time.sleep(0.5)
    stand_in.silent = {"color", "depth"}
    time.sleep(0.2)
    asked = time.time_ns()
    assert asked - 1e9 <= relaxed.fresh(Progress()).stamp < asked


@pytest.mark.parametrize(
    ("silent", "topic"),
    [
        ("color", "/camera/camera/color/image_raw"),
        ("depth", "/camera/camera/aligned_depth_to_color/image_raw"),
        ("info", "/camera/camera/color/camera_info"),
        ("pose", "/kalm/ee_pose"),
    ],
)
def test_a_topic_that_is_silent_is_named(graph, silent, topic):
    stand_in = StandIn(graph, silent={silent})
    buffer = FrameBuffer(graph.make("listener"), FrameSettings(timeout=1.5), HandEyeSettings())
    time.sleep(0.3)
    with pytest.raises(NoImageError, match=f"nothing arrived on {topic}"):
        buffer.fresh(Progress())
    stand_in.close()


def test_a_topic_that_fell_silent_is_named_with_its_age(world):
    stand_in, buffer = world
    buffer.fresh(Progress())
    stand_in.silent = {"depth"}
    time.sleep(0.8)
    with pytest.raises(NoImageError, match=r"aligned_depth.*s old"):
        buffer.fresh(Progress())


def test_a_moving_arm_is_refused_until_it_rests(world, graph):
    stand_in, buffer = world
    patient = FrameBuffer(graph.make("patient"), FrameSettings(timeout=20.0), HandEyeSettings())
    stand_in.speed = 0.2
    time.sleep(0.3)
    with pytest.raises(NoImageError, match="not still"):
        buffer.fresh(Progress())
    threading.Timer(0.5, lambda: setattr(stand_in, "speed", 0.0)).start()
    frame = patient.fresh(Progress())
    time.sleep(0.1)
    T_base_ee = frame.T_base_cam @ invert_pose(HandEyeSettings().T_ee_cam)
    assert T_base_ee[0, 3] == pytest.approx(stand_in._x, abs=0.002)


def test_depth_of_another_time_is_refused(world):
    stand_in, buffer = world
    stand_in.depth_delay = 0.025
    time.sleep(0.5)
    with pytest.raises(NoImageError, match="apart"):
        buffer.fresh(Progress())


def test_a_camera_whose_clock_is_ahead_is_named(world):
    stand_in, buffer = world
    stand_in.camera_ahead = 0.05
    time.sleep(0.5)
    assert buffer.fresh(Progress()).stamp  # the arm is known to be still for longer
    stand_in.camera_ahead = 0.3
    time.sleep(1.0)  # until images of before are too old
    with pytest.raises(NoImageError, match=r"after the newest pose.*one clock"):
        buffer.fresh(Progress())


def test_an_arm_that_moved_is_not_still_to_a_camera_whose_clock_is_ahead(world):
    stand_in, buffer = world
    stand_in.camera_ahead = 0.3
    stand_in.speed = 0.2
    time.sleep(1.0)
    stand_in.speed = 0.0  # the last images of the motion are stamped after its end
    with pytest.raises(NoImageError, match="one clock"):
        buffer.fresh(Progress())


@pytest.mark.parametrize("ahead", [0.0, 0.08])
def test_no_image_of_the_motion_is_taken_where_the_clocks_hardly_disagree(world, ahead):
    stand_in, buffer = world
    stand_in.camera_ahead = ahead
    stand_in.speed = 0.2
    time.sleep(1.0)
    stand_in.speed = 0.0
    stopped = time.time_ns()
    frame = buffer.fresh(Progress())  # the image of the end and the next ones are in the window
    assert frame.stamp - ahead * 1e9 >= stopped + 0.1e9


def test_poses_that_stop_are_named(world):
    stand_in, buffer = world
    threading.Timer(1.0, stand_in.silent.add, ("pose",)).start()
    stand_in.speed = 0.2  # nothing is usable before
    with pytest.raises(NoImageError, match=r"newest pose of the tool came .* before"):
        buffer.fresh(Progress())


def test_waiting_can_be_stopped(world):
    stand_in, buffer = world
    stand_in.silent = {"color"}
    time.sleep(0.2)
    start = time.monotonic()
    with pytest.raises(CancelledError):
        buffer.fresh(Progress(should_stop=lambda: time.monotonic() - start > 0.3))
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize(("name", "value"), [("height", float("nan")), ("frame", "world")])
def test_a_pose_that_is_none_or_in_another_frame_is_not_used_and_ends_nothing(world, name, value):
    stand_in, buffer = world
    usual = getattr(stand_in, name)
    setattr(stand_in, name, value)
    time.sleep(1.2)  # until no good one is kept
    with pytest.raises(NoImageError):
        buffer.fresh(Progress())
    setattr(stand_in, name, usual)
    assert buffer.fresh(Progress()).stamp > 0
