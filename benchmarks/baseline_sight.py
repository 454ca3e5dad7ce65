"""What the paper's baselines see of a scene: a small picture, some points of it, the keypoints."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array

SIDE = 96
"""Width and height of the small picture [px]."""

POINTS = 192
"""Points of a scene."""

_LOW, _HIGH = np.array([-0.40, 0.50, 0.012]), np.array([0.40, 0.97, 0.40])
"""Where points are taken from, base frame [m]: above the table, in front of the wall behind it."""

_DRAWN = 4000  # points among which the farthest are looked for


@dataclass(frozen=True)
class Sights:
    """What a camera showed in N views.

    Attributes:
        image: (N, 96, 96, 3) uint8, the picture's middle square.
        camera: (N, 12) T_base_cam without its last row, position in metres.
        points: (N, 192, 3) of the scene, base frame [m]; far apart, repeated where there are few.
        colors: (N, 192, 3) uint8.
        places: (N, 192, 2) where the points are in `image`, -1 to 1, x to the right and y down.
        keypoints: (N, K, 3) base frame [m].
        pixels: (N, K, 2) where the keypoints are in `image`, as `places`.
    """

    image: NDArray[np.uint8]
    camera: Array
    points: Array
    colors: NDArray[np.uint8]
    places: Array
    keypoints: Array
    pixels: Array

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> Sights:
        return Sights(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @staticmethod
    def joined(parts: list[Sights]) -> Sights:
        """Return the views of several in one."""
        names = [f.name for f in fields(Sights)]
        return Sights(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def sight(frame: RgbdFrame, keypoints: Array, rng: np.random.Generator) -> Sights:
    """Return what a frame shows, as one view.

    Args:
        frame: as rendered.
        keypoints: (K, 3) where they are, base frame [m].
        rng: which points are drawn.
    """
    height, width = frame.depth.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(frame.color[top : top + side, left : left + side])
    small = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX))
    points, pixels = _points(frame, rng)
    middle = np.array([left, top]) + (side - 1) / 2
    colors = frame.color[pixels[:, 1], pixels[:, 0]]
    return Sights(
        small[None],
        frame.T_base_cam[:3].reshape(1, 12),
        points[None],
        colors[None],
        ((pixels - middle) / (side / 2))[None],
        keypoints[None],
        ((frame.project(keypoints) - middle) / (side / 2))[None],
    )


def farthest(points: Array, count: int) -> NDArray[np.int64]:
    """Return the indices of `count` of (N, 3) points far from each other; the first is always one.

    With fewer points than asked for they repeat.
    """
    chosen = np.zeros(count, dtype=np.int64)
    distance = np.full(len(points), np.inf)
    for i in range(1, count):
        distance = np.minimum(distance, np.sum((points - points[chosen[i - 1]]) ** 2, axis=1))
        chosen[i] = distance.argmax()
    return chosen


def _points(frame: RgbdFrame, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
    """Return (192, 3) points [m] of the workspace and their (192, 2) pixels (u, v)."""
    cloud = frame.points_base().astype(np.float64)
    inside = ((cloud > _LOW) & (cloud < _HIGH)).all(axis=-1)
    if not inside.any():  # all of it is hidden: what there is
        inside = np.isfinite(cloud).all(axis=-1)
    v, u = np.nonzero(inside)
    drawn = rng.permutation(len(u))[:_DRAWN]
    points, pixels = cloud[v[drawn], u[drawn]], np.stack([u[drawn], v[drawn]], axis=1)
    chosen = farthest(points, POINTS)
    return points[chosen], pixels[chosen]
