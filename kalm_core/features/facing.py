"""Which way the surfaces around a point face: a horizontal direction that turns with the scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, uniform_filter
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array

_VOXEL = 0.015  # [m]
_BINS = 48  # of azimuth


def smooth_points(frame: RgbdFrame, window: int = 5) -> NDArray[np.float32]:
    """Return (H, W, 3) base-frame points [m] averaged over pixels of nearly the same depth."""
    depth = frame.depth
    valid = (depth > 0).astype(np.float32)
    mean = uniform_filter(depth, window)
    share = uniform_filter(valid, window)
    with np.errstate(invalid="ignore", divide="ignore"):
        smooth = mean / share
    near = (depth > 0) & (np.abs(smooth - depth) < 0.008)
    filtered = RgbdFrame(
        frame.color,
        np.where(near, smooth, depth).astype(np.float32),
        frame.intrinsics,
        frame.T_base_cam,
        frame.stamp,
    )
    return filtered.points_base()


def normals_from_points(points: NDArray[np.float32], reach: int = 4) -> NDArray[np.float32]:
    """Return (H, W, 3) unit normals towards the camera by differences over `reach` pixels.

    Args:
        points: (H, W, 3) [m], organised; NaN where missing.
        reach: half the span of the differences [px].

    Returns:
        Normals in the frame of the points; NaN where a neighbour is missing or across a step.
    """
    du = np.full_like(points, np.nan)
    dv = np.full_like(points, np.nan)
    du[:, reach:-reach] = points[:, 2 * reach :] - points[:, : -2 * reach]
    dv[reach:-reach] = points[2 * reach :] - points[: -2 * reach]
    normal = np.cross(dv, du)
    with np.errstate(invalid="ignore", divide="ignore"):
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        step = (np.linalg.norm(du, axis=-1) > 0.04) | (np.linalg.norm(dv, axis=-1) > 0.04)
    normal[step] = np.nan
    return normal.astype(np.float32)


def facing_directions(
    frame: RgbdFrame, points_base: Array, radius: float, camera_vote: float = 0.0
) -> tuple[Array, NDArray[np.float32]]:
    """Return the horizontal direction that most of the steep surface around each point faces.

    The azimuths of the normals within `radius` vote, and the strongest direction wins, so that
    a corner takes one of its two faces and not the diagonal between them. The camera votes too:
    what is round faces all ways alike, and would turn with the noise.

    Args:
        frame: the image.
        points_base: (N, 3) query points [m] in the base frame.
        radius: of the neighbourhood [m].
        camera_vote: weight of the direction towards the camera, as a share of the neighbourhood.

    Returns:
        (N, 2) unit vectors (x, y) in the base frame, and (N,) the share of the neighbourhood's
        surface that faces there; both zero where no surface is near.
    """
    points = smooth_points(frame)
    normals = normals_from_points(points)
    flat, normal = points[::2, ::2].reshape(-1, 3), normals[::2, ::2].reshape(-1, 3)
    good = np.isfinite(normal).all(axis=1) & np.isfinite(flat).all(axis=1)
    directions = np.zeros((len(points_base), 2))
    share = np.zeros(len(points_base), np.float32)
    if not good.any():
        return directions, share
    flat, normal = flat[good], normal[good]
    cells, label = _cells(flat)
    count = np.bincount(label)
    mean = np.stack([np.bincount(label, normal[:, k]) for k in range(3)], axis=1) / count[:, None]
    horizontal = np.hypot(mean[:, 0], mean[:, 1])
    azimuth = np.arctan2(mean[:, 1], mean[:, 0])
    votes = _soft_votes(azimuth, horizontal**2)
    centers = (cells + 0.5) * _VOXEL
    tree = cKDTree(centers)
    pairs = cKDTree(points_base).sparse_distance_matrix(tree, radius, output_type="ndarray")
    lengths = np.bincount(pairs["i"], minlength=len(points_base))
    shape = (len(points_base), len(cells))
    near = coo_matrix((np.ones(len(pairs)), (pairs["i"], pairs["j"])), shape)
    near.has_canonical_format = True  # no pair comes twice: nothing to sort and add up
    surface = near.tocsr() @ votes
    total = surface + camera_vote * lengths[:, None] * _camera_lobe(frame, points_base)
    best = total.argmax(axis=1)
    window = (best[:, None] + np.arange(-3, 4)[None]) % _BINS
    vector = _resultant(np.take_along_axis(total, window, axis=1), window)
    size = np.linalg.norm(vector, axis=1)
    directions = np.where(size[:, None] > 1e-6, vector / np.maximum(size, 1e-9)[:, None], 0.0)
    there = np.linalg.norm(_resultant(np.take_along_axis(surface, window, axis=1), window), axis=1)
    return directions, (there / np.maximum(lengths, 1)).astype(np.float32)


def _cells(points: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (M, 3) voxels that hold points (N, 3), and (N,) the row of each point's voxel."""
    cells = np.floor(points / _VOXEL).astype(np.int64)
    # one number for each voxel: sorting numbers is ten times faster than sorting rows
    key = ((cells - cells.min(axis=0)) << np.array([0, 20, 40])).sum(axis=1)
    _, first, label = np.unique(key, return_index=True, return_inverse=True)
    return cells[first], label


def _camera_lobe(frame: RgbdFrame, points_base: Array) -> Array:
    """Return (N, bins) weights that add up to 1 around the direction towards the camera."""
    towards = frame.T_base_cam[:2, 3] - points_base[:, :2]
    angle = np.arctan2(towards[:, 1], towards[:, 0])
    centers = (np.arange(_BINS) + 0.5) * (2 * np.pi / _BINS)
    lobe = np.maximum(np.cos(centers - angle[:, None]), 0.0) ** 2
    return np.asarray(lobe / lobe.sum(axis=1, keepdims=True))


def _resultant(strength: Array, bins: NDArray[np.int64]) -> Array:
    """Return (N, 2) the sum of votes as vectors."""
    angle = (bins + 0.5) * (2 * np.pi / _BINS)
    return np.stack([(strength * np.cos(angle)).sum(1), (strength * np.sin(angle)).sum(1)], 1)


def _soft_votes(azimuth: Array, weight: Array) -> Array:
    """Spread each azimuth [rad] over its two nearest bins; rows are voters."""
    position = (azimuth % (2 * np.pi)) / (2 * np.pi) * _BINS - 0.5
    low = np.floor(position).astype(int)
    part = position - low
    votes = np.zeros((len(azimuth), _BINS))
    rows = np.arange(len(azimuth))
    votes[rows, low % _BINS] += weight * (1 - part)
    votes[rows, (low + 1) % _BINS] += weight * part
    return votes


def fill_small_holes(depth: NDArray[np.float32], reach: int = 3) -> NDArray[np.float32]:
    """Return depth whose missing pixels within `reach` of a measured one take the nearest value."""
    missing = depth <= 0
    if not missing.any() or missing.all():
        return depth
    distance, nearest = distance_transform_edt(missing, return_indices=True)
    filled = depth[nearest[0], nearest[1]]
    return np.where(distance <= reach, filled, depth).astype(np.float32)
