"""Oracle keypoints: the same eight places on the object in every scene; and displaced ones."""

from __future__ import annotations

import numpy as np

from kalm_core.keypoints import DetectedKeypoints
from kalm_sim.metaworld.world import World


def true_keypoints(world: World) -> DetectedKeypoints:
    """Return where the task's keypoints are now; all of them are found."""
    positions = np.stack([world.position(point) for point in world.task.keypoints])
    return DetectedKeypoints(
        positions, np.ones(len(positions), dtype=bool), np.ones(len(positions))
    )


def displaced(
    keypoints: DetectedKeypoints, count: int, rng: np.random.Generator, reach: float = 0.10
) -> DetectedKeypoints:
    """Return keypoints of which `count` lie elsewhere, by up to `reach` along each axis [m].

    They still count as found: nothing says which they are.
    """
    positions = keypoints.positions.copy()
    wrong = rng.permutation(len(positions))[:count]
    positions[wrong] += rng.uniform(-reach, reach, (count, 3))
    return DetectedKeypoints(positions, keypoints.found, keypoints.score)
