"""Image messages to arrays, and intrinsics with a word about distortion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import DemonstrationError
from kalm_core.rgbd import Intrinsics

NEGLIGIBLE_DISTORTION = 1.0
"""Lens distortion at the image's corners that nobody needs to hear of [px]."""

LARGEST_DISTORTION = 5.0
"""A lens that moves the image's corners by more than this is no pinhole camera [px]."""

RECTIFY = (
    "rectify the images (image_proc) and publish them where the camera's own are expected "
    "(docs/robot.md)"
)

_COLOR_CHANNELS = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "rgba8": (0, 1, 2), "bgra8": (2, 1, 0)}
_DEPTH_TYPES = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}


def decode_color(message: Any, where: str) -> NDArray[np.uint8]:
    """Return a sensor_msgs/Image as (H, W, 3) uint8 RGB.

    Args:
        message: with height, width, encoding, step and data; rgb8, bgr8, rgba8 or bgra8.
        where: bag and topic, for the error.

    Raises:
        DemonstrationError: another encoding, or fewer bytes than height and step promise.
    """
    order = _COLOR_CHANNELS.get(message.encoding)
    if order is None:
        raise DemonstrationError(
            f"{where} has encoding {message.encoding!r}, expected {', '.join(_COLOR_CHANNELS)}",
            "let the camera publish its uncompressed colour image",
        )
    channels = 4 if "a" in message.encoding else 3
    rows = _rows(message, channels, where)
    image = rows.reshape(message.height, message.width, channels)[..., list(order)]
    return np.ascontiguousarray(image)


def decode_depth(message: Any, where: str) -> NDArray[np.float32]:
    """Return a depth image as (H, W) float32 [m]; 0 is "no measurement", NaN and inf become 0.

    Args:
        message: sensor_msgs/Image, 16UC1 in millimetres or 32FC1 in metres.
        where: bag and topic, for the error.

    Raises:
        DemonstrationError: another encoding, or fewer bytes than height and step promise.
    """
    if message.encoding not in _DEPTH_TYPES:
        raise DemonstrationError(
            f"{where} has encoding {message.encoding!r}, expected 16UC1 (mm) or 32FC1 (m)",
            "record the depth image that is aligned to colour",
        )
    kind = np.dtype(_DEPTH_TYPES[message.encoding])
    rows = _rows(message, kind.itemsize, where)
    depth = rows.view(kind.newbyteorder(">" if message.is_bigendian else "<")).astype(np.float32)
    if kind == np.uint16:
        depth /= np.float32(1000.0)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0.0))


def _rows(message: Any, pixel_bytes: int, where: str) -> NDArray[np.uint8]:
    """Return (H, W * pixel_bytes) bytes without the padding at the end of each row."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.asarray(message.data, dtype=np.uint8)
    if height < 1 or width < 1 or step < width * pixel_bytes or data.size < height * step:
        raise DemonstrationError(
            f"{where} has an image of {width}x{height} with step {step} and {data.size} bytes; "
            f"expected a step of at least {width * pixel_bytes} and {height} rows"
        )
    rows = data[: height * step].reshape(height, step)[:, : width * pixel_bytes]
    return np.ascontiguousarray(rows)


def decode_intrinsics(message: Any, where: str) -> Intrinsics:
    """Return the pinhole part of a sensor_msgs/CameraInfo.

    Raises:
        DemonstrationError: focal lengths are missing or the size is empty.
    """
    k = np.asarray(message.k, dtype=np.float64)
    if k.shape != (9,) or not np.isfinite(k).all() or k[0] <= 0 or k[4] <= 0:
        raise DemonstrationError(
            f"{where} has the camera matrix {k.tolist()}, expected positive focal lengths",
            "calibrate the camera or record the driver's own camera_info",
        )
    return Intrinsics(int(message.width), int(message.height), k[0], k[4], k[2], k[5])


def distortion_pixels(message: Any) -> float:
    """Return by how much the lens moves the image's corners [px]; 0 for a pinhole.

    The suite treats colour as a pinhole image: what this returns is an error nobody corrects.
    Models plumb_bob and rational_polynomial (REP 104); others count 0 only without coefficients.
    """
    d = np.asarray(message.d, dtype=np.float64)
    if d.size == 0 or not d.any():
        return 0.0
    if message.distortion_model not in {"plumb_bob", "rational_polynomial"}:
        return float("inf")
    k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(d[:8], (0, max(0, 8 - d.size)))
    fx, cx, fy, cy = message.k[0], message.k[2], message.k[4], message.k[5]
    x = (np.array([0, message.width - 1, 0, message.width - 1]) - cx) / fx
    y = (np.array([0, 0, message.height - 1, message.height - 1]) - cy) / fy
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    dx = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) - x
    dy = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y - y
    return float(np.hypot(fx * dx, fy * dy).max())


def distortion_sentence(message: Any) -> str:
    """Return what to know about the lens's distortion as one sentence; "" when negligible."""
    pixels = distortion_pixels(message)
    if pixels <= NEGLIGIBLE_DISTORTION:
        return ""
    if not np.isfinite(pixels):
        return (
            f"the lens has a {message.distortion_model} distortion of unknown size and colour is "
            "not rectified"
        )
    return f"the lens moves the image's corners by {pixels:.1f} px and colour is not rectified"
