"""Masks drawn for the second and third question: blue with its number, red when rejected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation

BLUE, RED = (30, 80, 255), (255, 30, 30)


def draw_mask(
    pixels: NDArray[np.uint8], mask: NDArray[np.bool_], number: int = 0, rejected: bool = False
) -> NDArray[np.uint8]:
    """Return the (H, W, 3) picture with a mask in colour, its outline and its number.

    Args:
        pixels: the image.
        mask: (H, W).
        number: written beside the mask; 0 writes none.
        rejected: red in place of blue.
    """
    color = RED if rejected else BLUE
    mixed = pixels.astype(np.float32)
    mixed[mask] = 0.5 * mixed[mask] + 0.5 * np.array(color, np.float32)
    mixed[binary_dilation(mask) & ~mask] = color
    image = Image.fromarray(mixed.round().astype(np.uint8))
    if number:
        height, width = mask.shape
        size = max(14, height // 20)
        rows, columns = np.nonzero(mask)
        # Beside the mask, so that the number does not cover a small one.
        x = int(np.clip(columns.max(initial=0) + 6, 0, width - size * len(str(number))))
        y = int(np.clip(rows.min(initial=0) - size - 6, 0, height - size))
        font = ImageFont.load_default(size=size)
        ImageDraw.Draw(image).text(
            (x, y), str(number), (255, 255, 255), font, stroke_width=3, stroke_fill=color
        )
    return np.asarray(image)
