"""Where the keypoints of a skill truly are in another scene: an oracle for ablations only.

A keypoint is tied to the part it lies on, in coordinates that grow with the part: a point at the
end of one bar is at the end of every bar. Nothing of the suite uses this; it peeks at the truth.
"""

from __future__ import annotations

import numpy as np

from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.se3 import Array, invert_pose, transform_points
from kalm_sim.scene import TOP, CabinetParameters, SceneParameters

_AROUND = 0.012
"""A point this near to the handle's box belongs to the handle [m]."""


def true_keypoints(
    reference: ReferenceKeypoints, reference_scene: SceneParameters, scene: SceneParameters
) -> DetectedKeypoints:
    """Carry reference keypoints over to a scene with closed drawers.

    Args:
        reference: the skill's keypoints, in the base frame of their reference image.
        reference_scene: the scene of that image.
        scene: where they are wanted.
    """
    old, new = reference_scene.cabinet, scene.cabinet
    points = transform_points(invert_pose(old.T_base_cabinet), reference.positions)
    moved = np.stack([_carry(point, old, new) for point in points])
    return DetectedKeypoints(
        transform_points(new.T_base_cabinet, moved),
        np.ones(len(points), dtype=np.bool_),
        np.ones(len(points)),
    )


def _carry(point: Array, old: CabinetParameters, new: CabinetParameters) -> Array:
    """Map one point from a cabinet's frame to the other's."""
    middle, half = _handle_box(old)
    on_handle = bool((np.abs(point - middle) <= half + _AROUND).all())
    box = _handle_box if on_handle else _drawer_box
    (middle, half), (new_middle, new_half) = box(old), box(new)
    return np.asarray(new_middle + (point - middle) / half * new_half)


def _handle_box(cabinet: CabinetParameters) -> tuple[Array, Array]:
    """Return middle and half size (3,) [m] of the top handle with its posts, cabinet frame."""
    handle = cabinet.handle
    depth = handle.standoff + handle.thickness / 2
    z = sum(cabinet.drawer_span(TOP)) / 2
    half = np.array([depth / 2, handle.length / 2, handle.thickness / 2])
    return np.array([-depth / 2, 0.0, z]), half


def _drawer_box(cabinet: CabinetParameters) -> tuple[Array, Array]:
    """Return middle and half size (3,) [m] of the top drawer's block, cabinet frame."""
    low, high = cabinet.drawer_span(TOP)
    half = np.array([cabinet.depth / 2, cabinet.width / 2, (high - low) / 2])
    return np.array([cabinet.depth / 2, 0.0, (low + high) / 2]), half
