"""Drawing on images: keypoints with their numbers, masks, captions, contact sheets."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kalm_core.keypoints import DetectedKeypoints
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]


def keypoint_color(index: int, count: int) -> Color:
    """Return the RGB colour of a keypoint; the same index looks the same in every picture."""
    red, green, blue = colorsys.hsv_to_rgb(index / max(count, 1), 0.9, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_points(
    frame: RgbdFrame, positions: Array, colors: Sequence[Color], labels: Sequence[str], radius: int
) -> Picture:
    """Return the colour image with (K, 3) base-frame positions [m] marked; NaN is left out."""
    image = Image.fromarray(frame.color.copy())
    draw = ImageDraw.Draw(image)
    for (u, v), color, label in zip(frame.project(positions), colors, labels, strict=True):
        if not np.isfinite([u, v]).all():
            continue
        box = (u - radius, v - radius, u + radius, v + radius)
        draw.ellipse(box, fill=color, outline=(0, 0, 0))
        if label:
            draw.text((u + radius + 1, v - radius - 8), label, fill=color, stroke_width=1,
                      stroke_fill=(0, 0, 0))  # fmt: skip
    return np.asarray(image)


def draw_keypoints(frame: RgbdFrame, detected: DetectedKeypoints) -> Picture:
    """Return the colour image with the found keypoints and, in a corner, how many there are."""
    count = len(detected)
    colors = [keypoint_color(k, count) for k in range(count)]
    labels = [str(k + 1) for k in range(count)]
    picture = draw_points(frame, detected.positions, colors, labels, 5)
    return with_caption(picture, f"{int(detected.found.sum())} of {count} keypoints")


def tint(picture: Picture, mask: NDArray[np.bool_], color: Color, strength: float) -> Picture:
    """Return the picture with the masked pixels mixed with a colour by `strength` in [0, 1]."""
    mixed = picture.astype(np.float32)
    mixed[mask] = (1 - strength) * mixed[mask] + strength * np.array(color, np.float32)
    return mixed.round().astype(np.uint8)


def with_caption(picture: Picture, text: str) -> Picture:
    """Return the picture with a line of text in its upper left corner."""
    image = Image.fromarray(picture.copy())
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((6, 5), text)
    draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill=(0, 0, 0))
    draw.text((6, 5), text, fill=(255, 255, 255))
    return np.asarray(image)


def contact_sheet(pictures: Sequence[Picture], columns: int, width: int) -> Picture:
    """Return the pictures side by side, each `width` pixels wide, on a dark ground.

    Args:
        pictures: (H, W, 3) uint8 each, all of one shape.
        columns: pictures in a row.
        width: of each picture on the sheet [px].
    """
    scaled = [
        Image.fromarray(picture).resize((width, round(width * picture.shape[0] / picture.shape[1])))
        for picture in pictures
    ]
    gap, height = 4, scaled[0].height
    columns = min(columns, len(scaled))
    rows = -(-len(scaled) // columns)
    sheet = Image.new(
        "RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), (30, 30, 30)
    )
    for index, image in enumerate(scaled):
        row, column = divmod(index, columns)
        sheet.paste(image, (gap + column * (width + gap), gap + row * (height + gap)))
    return np.asarray(sheet)
