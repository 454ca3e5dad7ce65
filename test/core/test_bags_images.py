from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded import HEIGHT, WIDTH, Recording, camera_info, image, write_bag

from kalm_core.bags import inspect_bag, read_demonstration
from kalm_core.bags.images import decode_color, decode_depth, decode_intrinsics, distortion_pixels
from kalm_core.errors import DemonstrationError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
MM = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, np.full((5, 7), 9, np.uint8)])),
        ("bgra8", np.dstack([RGB[..., ::-1], np.full((5, 7), 9, np.uint8)])),
    ],
)
def test_colour_is_rgb_whatever_the_encoding_and_padding(
    encoding: str, pixels: np.ndarray, padding: int
) -> None:
    message = image(0, encoding, pixels, padding, False)
    assert np.array_equal(decode_color(message, "here"), RGB)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("big", [False, True])
def test_depth_keeps_every_millimetre(padding: int, big: bool) -> None:
    message = image(0, "16UC1", MM.astype(">u2" if big else "<u2")[..., None], padding, big)
    depth = decode_depth(message, "here")
    assert depth.dtype == np.float32
    assert np.array_equal(np.rint(depth * 1000).astype(np.uint16), MM)


@pytest.mark.parametrize("big", [False, True])
def test_float_depth_is_metres_and_nothing_measured_is_zero(big: bool) -> None:
    metres = np.array([[0.5, np.nan, np.inf], [-1.0, 0.0, 2.25]], np.float32)
    message = image(0, "32FC1", metres.astype(">f4" if big else "<f4")[..., None], 0, big)
    expected = np.array([[0.5, 0, 0], [0, 0, 2.25]], np.float32)
    assert np.array_equal(decode_depth(message, "here"), expected)


def test_an_image_with_too_few_bytes_is_refused() -> None:
    message = image(0, "rgb8", RGB, 0, False)
    message.data = message.data[:-1]
    with pytest.raises(DemonstrationError, match=r"here has an image of 7x5"):
        decode_color(message, "here")


def test_a_camera_without_focal_length_is_refused() -> None:
    info = camera_info(0)
    assert decode_intrinsics(info, "here").fx == 20.0
    info.k = np.zeros(9)
    with pytest.raises(DemonstrationError, match="positive focal lengths"):
        decode_intrinsics(info, "here")


def test_distortion_is_measured_at_the_corners() -> None:
    assert distortion_pixels(camera_info(0)) == 0.0
    k1 = 0.1
    x, y = (WIDTH - 1) / 2 / 20.0, (HEIGHT - 1) / 2 / 21.0
    r2 = x * x + y * y
    expected = np.hypot(20.0 * x * k1 * r2, 21.0 * y * k1 * r2)
    assert distortion_pixels(camera_info(0, (k1, 0, 0, 0, 0))) == pytest.approx(expected)
    fisheye = camera_info(0, (0.1, 0, 0, 0))
    fisheye.distortion_model = "equidistant"
    assert distortion_pixels(fisheye) == float("inf")


@pytest.mark.parametrize("encoding", ["bgr8", "rgba8"])
def test_a_bag_in_another_encoding_is_the_same_demonstration(tmp_path: Path, encoding: str) -> None:
    plain = Recording(seconds=1.0, still=0.3)
    other = Recording(seconds=1.0, still=0.3, color_encoding=encoding, padding=3, bigendian=True)
    a = read_demonstration(write_bag(tmp_path / "a", plain.messages()), np.eye(4))
    b = read_demonstration(write_bag(tmp_path / "b", other.messages()), np.eye(4))
    for x, y in zip(a.frames, b.frames, strict=True):
        assert np.array_equal(x.color, y.color)
        assert np.array_equal(x.depth, y.depth)


def test_a_visible_distortion_is_a_warning_and_a_large_one_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = Recording(seconds=1.0, still=0.3, distortion=(0.5, 0.0, 0.0, 0.0, 0.0))
    with caplog.at_level(logging.WARNING):
        read_demonstration(write_bag(tmp_path / "001", recording.messages()), np.eye(4))
    assert "not rectified" in caplog.text
    bag = write_bag(tmp_path / "002", replace(recording, distortion=(0.9, 0, 0, 0, 0)).messages())
    with pytest.raises(DemonstrationError, match="rectify the images"):
        read_demonstration(bag, np.eye(4))
    assert "not rectified" in inspect_bag(bag).problem
