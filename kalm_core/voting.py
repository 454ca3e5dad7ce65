"""Where an arrangement of keypoints is when each of them looks like many places: they vote.

Pairs of best matches (`constellation`) find a part whose points are distinct. On plain surfaces,
and from views far from the reference's, the right place is one of many that look alike. Each such
place says where the middle of the arrangement would be, for every turn about gravity; where most
say the same, there it is (the generalised Hough transform).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kalm_core.constellation import UprightFit, best_supported, score_peaks
from kalm_core.se3 import Array, make_pose, rotation_about_z

_TURNS = 36
_PLACES = 25  # of each keypoint that vote
_SHARP = 0.05  # a score lower than the keypoint's best by this votes by 1/e of its weight
_TRIED = 40
_LOOKS = 3


def find_by_votes(
    reference: Array,
    points: Array,
    tree: cKDTree,
    scores: NDArray[np.floating],
    *,
    tolerance: float,
    penalty: float,
) -> UprightFit | None:
    """Return the upright motion of the reference keypoints that the scores support most.

    Args:
        reference: (K, 3) keypoints [m] in the reference, at least 2.
        points: (N, 3) places in the scene.
        tree: over the places.
        scores: (N, K) similarity of each place to each keypoint.
        tolerance: how far from its expected place a keypoint may be [m].
        penalty: see `best_near`.

    Returns:
        None when there is no place.
    """
    if len(points) == 0:
        return None
    peaks = score_peaks(scores, tree, _PLACES, tolerance)
    middle = reference.mean(axis=0)
    keypoint = np.repeat(np.arange(len(peaks)), [len(item) for item in peaks])
    place = np.concatenate(peaks)
    score = np.asarray(scores)[place, keypoint]
    weight = np.exp((score - scores.max(axis=0)[keypoint]) / _SHARP)
    ranked: list[tuple[float, Array]] = []
    for angle in np.arange(_TURNS) * (2 * np.pi / _TURNS):
        turn = rotation_about_z(float(angle))
        offset = (reference - middle) @ turn[:3, :3].T
        for strength, center in _densest(points[place] - offset[keypoint], weight, tolerance):
            motion = make_pose(np.eye(3), center) @ turn @ make_pose(np.eye(3), -middle)
            ranked.append((strength, motion))
    ranked.sort(key=lambda item: -item[0])
    return best_supported(
        (motion for _, motion in ranked),
        reference,
        points,
        tree,
        scores,
        tolerance=tolerance,
        penalty=penalty,
        tried=_TRIED,
        wide_looks=1,  # the turns are coarse
        looks=_LOOKS,
    )


def _densest(votes: Array, weight: Array, cell: float, count: int = 3) -> list[tuple[float, Array]]:
    """Return the strongest places of (V, 3) votes [m], apart from each other: weight, mean (3,).

    A vote counts in the eight cells of doubled size around it, so no border parts a cluster; of the
    cells that share one cluster only the strongest is returned.
    """
    low = np.floor(votes / cell).astype(np.int64)
    shifts = np.stack(np.meshgrid(*[(0, 1)] * 3), axis=-1).reshape(-1, 3)
    cells = (low[None] + shifts[:, None]).reshape(-1, 3)
    _, label = np.unique(cells, axis=0, return_inverse=True)
    label = label.reshape(-1)
    total = np.bincount(label, np.tile(weight, len(shifts)))
    result: list[tuple[float, Array]] = []
    for best in np.argsort(-total):
        members = np.flatnonzero(label == best) % len(votes)
        mean = np.average(votes[members], axis=0, weights=weight[members])
        if all(np.linalg.norm(mean - other) > 2 * cell for _, other in result):
            result.append((float(total[best]), np.asarray(mean)))
        if len(result) == count:
            break
    return result
