"""Consistency of several keypoints: one upright rigid motion must explain where they all are.

Each keypoint alone may be drawn to a part that looks alike (the other handle). Two matches fix an
upright motion (a turn about gravity and a shift) from the reference to the new scene; the motion
that the most similarity supports wins, with tolerance for parts of another size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kalm_core.se3 import Array, make_pose, rotation_about_z, transform_points


@dataclass(frozen=True)
class UprightFit:
    """A hypothesis about where the reference part is in a new scene.

    Attributes:
        T_base_reference: (4, 4) upright motion from the reference's base frame to the scene's.
        support: mean over the keypoints of the best discounted score near the expected place.
        lead: by how much the best motion that puts them elsewhere has less; its whole support when
            there is none.
    """

    T_base_reference: Array
    support: float
    lead: float


def fit_upright(source: Array, target: Array, weights: Array | None = None) -> Array:
    """Return the (4, 4) turn about z and shift that best map (N, 3) source onto target points.

    Points that coincide when seen from above leave the turn undetermined; it is then zero.
    """
    w = np.ones(len(source)) if weights is None else weights
    w = w / w.sum()
    center_source, center_target = w @ source, w @ target
    a, b = (source - center_source)[:, :2], (target - center_target)[:, :2]
    cosine = (w * (a * b).sum(axis=1)).sum()
    sine = (w * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])).sum()
    turn = rotation_about_z(float(np.arctan2(sine, cosine)) if cosine or sine else 0.0)
    return turn @ make_pose(np.eye(3), -center_source) + _shift(center_target)


def stretched(
    source: Array, target: Array, weights: Array, everything: Array, rigid: float
) -> Array:
    """Return where an arrangement expects its points when it may stretch and shear.

    A part of another size keeps the order of its points but not their distances. The linear map
    from source to target is drawn to the identity, so that few or collinear matches change little.

    Args:
        source: (M, 3) where a rigid motion expects the points that have matches [m], M at least 1.
        target: (M, 3) their matches [m].
        weights: (M,) of the matches, positive.
        everything: (K, 3) where the rigid motion expects all points [m].
        rigid: extent, as root of the sum of squares, at which matches are believed by half [m].
    """
    w = weights / weights.mean()
    center_source, center_target = w @ source / w.sum(), w @ target / w.sum()
    a = source - center_source
    b = target - center_target - a
    weighted = (a * w[:, None]).T
    change = np.linalg.solve(weighted @ a + rigid**2 * np.eye(3), weighted @ b)
    offset = everything - center_source
    return np.asarray(center_target + offset + offset @ change)


def _shift(translation: Array) -> Array:
    only = np.zeros((4, 4))
    only[:3, 3] = translation
    return only


def score_peaks(
    scores: NDArray[np.floating], tree: cKDTree, count: int, apart: float
) -> list[NDArray[np.int64]]:
    """Return, per keypoint, indices of its best places, each `apart` [m] from the better ones.

    Args:
        scores: (N, K) of N places for K keypoints.
        tree: over the N places.
        count: places per keypoint.
        apart: least distance between them [m].
    """
    peaks = []
    for column in np.asarray(scores).T:
        left = column.copy()
        chosen: list[int] = []
        for _ in range(count):
            best = int(left.argmax())
            if left[best] == -np.inf:
                break
            chosen.append(best)
            left[tree.query_ball_point(tree.data[best], apart)] = -np.inf
        peaks.append(np.array(chosen, np.int64))
    return peaks


def propose_motions(
    reference: Array,
    points: Array,
    scores: NDArray[np.floating],
    peaks: list[NDArray[np.int64]],
    *,
    tolerance: float,
    size_change: float,
) -> list[Array]:
    """Return the upright motions that pairs of matches suggest, the best supported pairs first.

    Args:
        reference: (K, 3) keypoints [m] in the reference.
        points: (N, 3) places in the scene.
        scores: (N, K).
        peaks: from `score_peaks`.
        tolerance: by which a distance may differ [m].
        size_change: share by which a distance may differ on top.
    """
    ranked: list[tuple[float, Array]] = []
    for i in range(len(reference)):
        for j in range(i + 1, len(reference)):
            step = reference[j] - reference[i]
            flat = float(np.hypot(step[0], step[1]))
            if flat < 0.015:  # too near each other to fix a turn
                continue
            a = np.repeat(peaks[i], len(peaks[j]))
            b = np.tile(peaks[j], len(peaks[i]))
            found = points[b] - points[a]
            slack = tolerance + size_change * float(np.linalg.norm(step))
            fits = np.abs(np.hypot(found[:, 0], found[:, 1]) - flat) < slack
            fits &= np.abs(found[:, 2] - step[2]) < slack
            for first, second in zip(a[fits], b[fits], strict=True):
                pair = reference[[i, j]]
                motion = fit_upright(pair, points[[first, second]])
                ranked.append((float(scores[first, i] + scores[second, j]), motion))
    ranked.sort(key=lambda item: -item[0])
    return [motion for _, motion in ranked]


def best_near(
    expected: Array,
    points: Array,
    tree: cKDTree,
    scores: NDArray[np.floating],
    *,
    radius: float,
    penalty: float,
) -> tuple[NDArray[np.int64], Array]:
    """Return the best place near each expected one, and its discounted score.

    Args:
        expected: (K, 3) where the keypoints should be [m].
        points: (N, 3) places [m].
        tree: over the places.
        scores: (N, K).
        radius: how far from the expected place to look [m].
        penalty: taken from the score at `radius`; grows with the square of the distance.

    Returns:
        (K,) indices, -1 where nothing is near, and (K,) scores, -1 there.
    """
    chosen = np.full(len(expected), -1, np.int64)
    value = np.full(len(expected), -1.0)
    for k, near in enumerate(tree.query_ball_point(expected, radius)):
        if near:
            distance = np.linalg.norm(points[near] - expected[k], axis=1)
            discounted = scores[near, k] - penalty * (distance / radius) ** 2
            best = int(discounted.argmax())
            chosen[k], value[k] = near[best], discounted[best]
    return chosen, value


def find_upright(
    reference: Array,
    points: Array,
    tree: cKDTree,
    scores: NDArray[np.floating],
    *,
    tolerance: float,
    size_change: float,
    penalty: float,
    peaks_per_keypoint: int = 5,
    tried: int = 60,
) -> UprightFit | None:
    """Return the upright motion of the reference keypoints that the scores support most.

    Args:
        reference: (K, 3) keypoints [m] in the reference.
        points: (N, 3) places in the scene.
        tree: over the places.
        scores: (N, K) similarity of each place to each keypoint.
        tolerance: how far from its expected place a keypoint may be [m].
        size_change: see `propose_motions`.
        penalty: see `best_near`.
        peaks_per_keypoint: places of each keypoint that motions are made from.
        tried: motions that are examined.

    Returns:
        None when no pair of matches suggests a motion.
    """
    peaks = score_peaks(scores, tree, peaks_per_keypoint, tolerance)
    motions = propose_motions(
        reference, points, scores, peaks, tolerance=tolerance, size_change=size_change
    )
    return best_supported(
        motions,
        reference,
        points,
        tree,
        scores,
        tolerance=tolerance,
        penalty=penalty,
        tried=tried,
    )


def best_supported(
    motions: Iterable[Array],
    reference: Array,
    points: Array,
    tree: cKDTree,
    scores: NDArray[np.floating],
    *,
    tolerance: float,
    penalty: float,
    tried: int,
    wide_looks: int = 0,
    looks: int = 2,
) -> UprightFit | None:
    """Refine proposed upright motions with the matches near them, and return the best supported.

    Args:
        motions: (4, 4), the most promising first; one that puts all keypoints near where an earlier
            one does is passed over.
        reference: (K, 3) keypoints [m] in the reference.
        points: (N, 3) places in the scene.
        tree: over the places.
        scores: (N, K).
        tolerance: how far from its expected place a keypoint may be [m].
        penalty: see `best_near`.
        tried: motions that are examined.
        wide_looks: of coarse motions, so many first refinements look farther and do not count.
        looks: refinements that count; each but the first begins at what all matches together gave.

    Returns:
        None when there is no motion.
    """
    fits: list[tuple[float, Array, Array]] = []  # support, motion, middle of the keypoints
    seen: list[Array] = []
    for motion in motions:
        if len(seen) == tried:
            break
        expected = transform_points(motion, reference)
        if any(np.abs(expected - other).max() < tolerance / 2 for other in seen):
            continue
        seen.append(expected)
        refined = motion
        for look in range(wide_looks + looks):
            expected = transform_points(refined, reference)
            wide = look < wide_looks
            radius = 1.5 * tolerance if wide else tolerance
            chosen, value = best_near(
                expected, points, tree, scores, radius=radius, penalty=penalty
            )
            if not wide:
                support = float(np.maximum(value, 0.0).mean())
                fits.append((support, refined, expected.mean(axis=0)))
            use = chosen >= 0
            if use.sum() < 2:
                break
            weights = np.maximum(value[use], 1e-3) ** 4
            refined = fit_upright(reference[use], points[chosen[use]], weights)
    if not fits:
        return None
    support, motion, middle = max(fits, key=lambda item: item[0])
    elsewhere = [s for s, _, m in fits if np.linalg.norm(m - middle) > 2 * tolerance]
    return UprightFit(motion, support, support - max(elsewhere, default=0.0))
