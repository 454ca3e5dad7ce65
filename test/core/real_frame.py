"""One real RGB-D frame: a cabinet with two drawers, clutter, a real sensor's noise and holes.

It is no part of the project. `KALM_REAL_FRAME` names it; else it is looked for beside the checkout.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from kalm_core.proposal.region import Region
from kalm_core.rgbd import Intrinsics, RgbdFrame

_NAME = "real_drawer_frame.npz"
_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / _NAME
FILE = Path(os.environ.get("KALM_REAL_FRAME", _BESIDE))

needs_real_frame = pytest.mark.skipif(
    not FILE.is_file(), reason=f"{_NAME} is not here; KALM_REAL_FRAME may name it"
)

TOP_HANDLE = (668, 276)
"""Pixel (u, v) in the middle of the upper drawer's handle."""


@cache
def real_frame() -> RgbdFrame:
    """The frame, 1280 by 720."""
    with np.load(FILE) as data:
        color, depth, k = data["rgb_im"], data["dep_im"], data["intrinsic"]
        T_base_cam = np.asarray(data["extrinsic"], np.float64)
    height, width = depth.shape
    intrinsics = Intrinsics(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    return RgbdFrame(color.astype(np.uint8), depth.astype(np.float32), intrinsics, T_base_cam)


def halved(frame: RgbdFrame) -> RgbdFrame:
    """Every other pixel of every other row."""
    k = frame.intrinsics
    half = Intrinsics(k.width // 2, k.height // 2, k.fx / 2, k.fy / 2, k.cx / 2, k.cy / 2)
    color, depth = frame.color[::2, ::2].copy(), frame.depth[::2, ::2].copy()
    return RgbdFrame(color, depth, half, frame.T_base_cam)


def handle_outline() -> np.ndarray:
    """(720, 1280) bool, the upper handle as a person outlined it."""
    image = Image.new("1", (1280, 720))
    ImageDraw.Draw(image).polygon([(567, 240), (768, 289), (768, 310), (567, 261)], fill=1)
    return np.asarray(image).astype(bool)


def region_around(frame: RgbdFrame, pixel: tuple[int, int], radius: float) -> Region:
    """The region within `radius` [m] of what is seen at a pixel."""
    points = frame.points_base()
    center = points[pixel[1], pixel[0]].astype(np.float64)
    near = np.linalg.norm(points - center, axis=-1) < radius
    return Region(0, near, center, radius, 1.0)
