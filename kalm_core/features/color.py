"""The `color` feature: which colours the surface has at a point and around it.

Shares of colours in a ball around the point, and in the shells around that, each cut into what is
above, beside and below: gravity is known, so these stay the same from wherever the camera looks.
Distances are metric, so the camera's distance changes nothing either. Hue counts as far as a colour
has one; else grey counts, in three coarse steps, for light and shade change it.

It tells parts of one and the same object apart where shape does not. It says nothing across
instances of different colours, and is no part of the default score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from kalm_core.features.extractor import Features, Pixels, unit_rows
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.settings import Settings

_HUES = 8
_GREYS = np.array([0.05, 0.4, 0.85])  # values of black, grey and white surfaces in common light
_DARKEST = 0.12  # below this value a hue is noise
_LAYERS = 3  # of a shell: below, beside, above


class ColorSettings(Settings):
    """Settings of the `color` feature."""

    radii: tuple[float, ...] = Field(
        (0.015, 0.04, 0.09), description="of the ball and, ascending, of the shells around it [m]"
    )
    voxel: float = Field(0.008, ge=0.002, le=0.05, description="grid that thins the cloud [m]")
    max_range: float = Field(1.5, ge=0.2, le=5.0, description="farthest depth that is used [m]")

    @field_validator("radii")
    @classmethod
    def _ascend(cls, radii: tuple[float, ...]) -> tuple[float, ...]:
        if not radii or radii[0] <= 0 or radii[-1] > 0.5 or (np.diff(radii) <= 0).any():
            raise ValueError(f"{radii} is not a list of ascending radii of 0 to 0.5 m")
        return radii


class ColorFeature:
    """Shares of colours around a point; see the module."""

    def __init__(self, settings: ColorSettings | None = None) -> None:
        self.settings = settings or ColorSettings()

    @property
    def name(self) -> str:
        """`color`."""
        return "color"

    @property
    def dimension(self) -> int:
        """Length of a feature."""
        return (1 + _LAYERS * (len(self.settings.radii) - 1)) * (_HUES + len(_GREYS))

    def extract(self, frame: RgbdFrame, pixels: Pixels) -> Features:
        """Return (N, C) unit rows at (N, 2) pixels; zero without depth or beyond the range."""
        s = self.settings
        points = frame.points_base()
        use = np.isfinite(points).all(axis=-1) & (frame.depth < s.max_range)
        wanted = points[pixels[:, 1], pixels[:, 0]].astype(np.float64)
        valid = np.flatnonzero(use[pixels[:, 1], pixels[:, 0]])
        result = np.zeros((len(pixels), self.dimension), np.float32)
        if len(valid) == 0:
            return result
        cells, colors = _thinned(points[use].astype(np.float64), frame.color[use], s.voxel)
        tree = cKDTree(cells)
        for part in np.array_split(valid, max(1, len(valid) // 2000)):
            result[part] = self._shares(wanted[part], tree, cells, colors)
        return unit_rows(result)

    def _shares(self, points: Array, tree: cKDTree, cells: Array, colors: Array) -> Array:
        """Return (N, C): per neighbourhood the mean of its cells' colours, zero where it has none.

        Args:
            points: (N, 3) [m].
            tree: over the cells.
            cells: (M, 3) [m].
            colors: (M, B) shares of the colours of each cell.
        """
        radii = np.array(self.settings.radii)
        lists = tree.query_ball_point(points, radii[-1])
        lengths = np.array([len(item) for item in lists])
        column = np.concatenate([np.asarray(item, np.int64) for item in lists])
        row = np.repeat(np.arange(len(points)), lengths)
        offset = cells[column] - points[row]
        distance = np.linalg.norm(offset, axis=1)
        shell = np.searchsorted(radii, distance, side="left")
        layer = np.digitize(offset[:, 2] / np.maximum(distance, 1e-9), (-0.5, 0.5))
        place = np.where(shell == 0, 0, 1 + _LAYERS * (shell - 1) + layer)
        parts = []
        for index in range(1 + _LAYERS * (len(radii) - 1)):
            here = place == index
            near = csr_matrix(
                (np.ones(int(here.sum())), (row[here], column[here])), (len(points), len(cells))
            )
            count = np.asarray(near.sum(axis=1)).reshape(-1, 1)
            parts.append((near @ colors) / np.maximum(count, 1.0))
        return np.concatenate(parts, axis=1)


def _thinned(points: Array, color: NDArray[np.uint8], voxel: float) -> tuple[Array, Array]:
    """Return the (M, 3) middles of the occupied cells of a grid and (M, B) their colours."""
    cells, label = np.unique(np.floor(points / voxel).astype(np.int64), axis=0, return_inverse=True)
    label = label.reshape(-1)
    count = np.bincount(label)
    shares = color_shares(color)
    mean = [np.bincount(label, column) / count for column in shares.T]
    return np.asarray((cells + 0.5) * voxel, np.float64), np.stack(mean, axis=1)


def color_shares(color: NDArray[np.uint8]) -> Array:
    """Return (N, B) how much each of (N, 3) RGB colours is of each hue and each grey.

    Rows add up to 1. Neighbouring hues and greys share what lies between them.
    """
    rgb = color.astype(np.float64) / 255.0
    value, low = rgb.max(axis=1), rgb.min(axis=1)
    chroma = value - low
    colored = np.clip(1.5 * chroma / np.maximum(value, _DARKEST), 0.0, 1.0)
    shares = np.zeros((len(rgb), _HUES + len(_GREYS)))
    rows = np.arange(len(rgb))
    hue = _hue(rgb, value, np.maximum(chroma, 1e-9)) * _HUES
    first = np.floor(hue).astype(int)
    shares[rows, first % _HUES] += colored * (1 - (hue - first))
    shares[rows, (first + 1) % _HUES] += colored * (hue - first)
    step = np.clip(np.interp(value, _GREYS, np.arange(len(_GREYS))), 0, len(_GREYS) - 1)
    first = np.minimum(step.astype(int), len(_GREYS) - 2)
    shares[rows, _HUES + first] += (1 - colored) * (1 - (step - first))
    shares[rows, _HUES + first + 1] += (1 - colored) * (step - first)
    return shares


def _hue(rgb: Array, value: Array, chroma: Array) -> Array:
    """Return (N,) hues in [0, 1)."""
    red, green, blue = rgb.T
    sector = np.select(
        [value == red, value == green],
        [((green - blue) / chroma) % 6.0, (blue - red) / chroma + 2.0],
        (red - green) / chroma + 4.0,
    )
    return np.asarray((sector / 6.0) % 1.0)
