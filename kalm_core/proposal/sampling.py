"""Farthest point sampling: candidates spread over a mask (section II-C)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kalm_core.se3 import Array


def farthest_points(points: Array, count: int) -> NDArray[np.int64]:
    """Return indices of points that are spread as far apart as greedy choice makes them.

    The first is the point farthest from the middle, so that the result depends on the points
    alone and turns with them.

    Args:
        points: (N, 3) finite points [m].
        count: how many; fewer come back when there are fewer points.

    Returns:
        (min(count, N),) distinct indices in the order chosen.
    """
    points = np.asarray(points, dtype=np.float64)
    count = min(count, len(points))
    if count <= 0:
        return np.zeros(0, np.int64)
    chosen = np.zeros(count, np.int64)
    chosen[0] = np.linalg.norm(points - points.mean(axis=0), axis=1).argmax()
    nearest = np.linalg.norm(points - points[chosen[0]], axis=1)
    for k in range(1, count):
        chosen[k] = nearest.argmax()
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[k]], axis=1))
        nearest[chosen[: k + 1]] = -1.0
    return chosen
