"""A part of an image, enlarged to a fixed size, that is drawn on at full sharpness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from kalm_core.report.overlay import Color, Picture
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array

WIDTH, HEIGHT = 480, 360
"""Size of a panel [px]."""

_MARGIN = 2.2  # the part shown is this much larger than what it is about
_LEAST = 0.3  # and at least this share of the image's width


@dataclass(frozen=True)
class Panel:
    """A window of an image.

    Attributes:
        frame: the image.
        left, top: the window's corner [px].
        scale: panel pixels per image pixel.
    """

    frame: RgbdFrame
    left: float
    top: float
    scale: float

    @staticmethod
    def around(frame: RgbdFrame, positions: Array) -> Panel:
        """Return the window around (N, 3) base-frame positions [m]; the whole without any."""
        k = frame.intrinsics
        pixels = frame.project(positions)
        pixels = pixels[np.isfinite(pixels).all(axis=1)]
        full = max(k.width, k.height * WIDTH / HEIGHT)
        if len(pixels) == 0:
            return Panel(frame, (k.width - full) / 2, (k.height - full * 0.75) / 2, WIDTH / full)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        middle, size = (low + high) / 2, (high - low) * _MARGIN
        width = float(np.clip(max(size[0], size[1] * WIDTH / HEIGHT), _LEAST * k.width, full))
        left = _inside(middle[0], width, k.width)
        top = _inside(middle[1], width * HEIGHT / WIDTH, k.height)
        return Panel(frame, left, top, WIDTH / width)

    def image(self, picture: Picture | None = None) -> Image.Image:
        """Return the window of the frame's colours, or of another picture of its size."""
        source = Image.fromarray(self.frame.color if picture is None else picture)
        right, bottom = self.left + WIDTH / self.scale, self.top + HEIGHT / self.scale
        window = (self.left, self.top, right, bottom)
        return source.transform(
            (WIDTH, HEIGHT),
            Image.Transform.EXTENT,
            window,
            Image.Resampling.BICUBIC,
            fillcolor=(30, 30, 30),
        )

    def places(self, positions: Array) -> Array:
        """Return (N, 2) where base-frame positions [m] lie on the panel [px]; NaN outside."""
        places = (self.frame.project(positions) + 0.5 - [self.left, self.top]) * self.scale
        outside = ((places < 0) | (places >= [WIDTH, HEIGHT])).any(axis=1, keepdims=True)
        return np.asarray(np.where(outside, np.nan, places))


def _inside(middle: float, length: float, limit: int) -> float:
    """Return where a window begins that shows as little as possible of what is no image."""
    if length >= limit:
        return (limit - length) / 2
    return float(np.clip(middle - length / 2, 0.0, limit - length))


def draw_dots(
    image: Image.Image,
    places: Array,
    colors: Sequence[Color],
    radius: float,
    labels: Sequence[str] = (),
) -> None:
    """Mark (N, 2) places of an image [px], each with its colour and label; NaN is left out."""
    draw = ImageDraw.Draw(image)
    for index, (u, v) in enumerate(places):
        if not np.isfinite([u, v]).all():
            continue
        color = colors[index]
        draw.ellipse((u - radius, v - radius, u + radius, v + radius), color, (0, 0, 0))
        if labels:
            draw.text((u + radius + 1, v - radius - 8), labels[index], color, stroke_width=1,
                      stroke_fill=(0, 0, 0))  # fmt: skip
