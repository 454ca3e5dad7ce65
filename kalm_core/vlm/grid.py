"""The labelled grid on an image: cells are numbered from 1, row by row from the upper left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont


@dataclass(frozen=True)
class Grid:
    """A grid of equal cells.

    Attributes:
        columns, rows: number of cells across and down (11 by 5 in the authors' code).
    """

    columns: int = 11
    rows: int = 5

    def __len__(self) -> int:
        return self.columns * self.rows

    def labels(self, height: int, width: int) -> NDArray[np.int64]:
        """Return (H, W) the number of the cell that each pixel is in."""
        row = np.arange(height) * self.rows // height
        column = np.arange(width) * self.columns // width
        return np.asarray(1 + row[:, None] * self.columns + column[None, :])

    def mask(self, cells: Iterable[int], height: int, width: int) -> NDArray[np.bool_]:
        """Return (H, W) which pixels are in one of the cells."""
        return np.isin(self.labels(height, width), list(cells))

    def draw(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the (H, W, 3) picture with thin lines and each cell's number in its corner."""
        height, width = pixels.shape[:2]
        image = Image.fromarray(pixels.copy())
        draw = ImageDraw.Draw(image)
        lefts = [-(-k * width // self.columns) for k in range(self.columns)]
        tops = [-(-k * height // self.rows) for k in range(self.rows)]
        for x in lefts[1:]:
            draw.line((x, 0, x, height - 1), fill=(255, 255, 255))
        for y in tops[1:]:
            draw.line((0, y, width - 1, y), fill=(255, 255, 255))
        font = ImageFont.load_default(size=max(10, height // 34))
        for index in range(len(self)):
            place = (lefts[index % self.columns] + 3, tops[index // self.columns] + 1)
            text = str(index + 1)
            draw.text(place, text, (255, 255, 0), font, stroke_width=2, stroke_fill=(0, 0, 0))
        return np.asarray(image)
