"""Where the keypoints of a skill truly are in another scene: an oracle for evaluation only.

A keypoint is tied to the part it lies on, in coordinates that grow with the part: a point at the
end of one bar is at the end of every bar. Nothing of the suite uses this; it peeks at the truth.
A round bowl has no such points by itself: its are tied to the side that faces the robot.
"""

from __future__ import annotations

import numpy as np

from kalm_core.errors import GoalError
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.se3 import Array, invert_pose, transform_points
from kalm_sim.scene import SceneParameters
from kalm_sim.tasks.base import PartBox
from kalm_sim.tasks.registry import TASKS

_AROUND = 0.012
"""A point this near to the box of a part belongs to the part [m]."""


def true_keypoints(
    reference: ReferenceKeypoints, reference_scene: SceneParameters, scene: SceneParameters
) -> DetectedKeypoints:
    """Carry reference keypoints over to a scene of the same task, as it is at the beginning.

    Args:
        reference: the skill's keypoints, in the base frame of their reference image.
        reference_scene: the scene of that image.
        scene: where they are wanted.

    Raises:
        GoalError: the scenes are of different tasks.
    """
    points = carry_points(reference.positions, reference_scene, scene)
    return DetectedKeypoints(points, np.ones(len(points), dtype=np.bool_), np.ones(len(points)))


def carry_points(points_base: Array, old_scene: SceneParameters, scene: SceneParameters) -> Array:
    """Return where (N, 3) points of one scene's object are on another's, base frame [m].

    Raises:
        GoalError: the scenes are of different tasks.
    """
    if old_scene.task != scene.task:
        raise GoalError(
            f"a point of the task {old_scene.task!r} has no place in {scene.task!r}",
            "compare scenes of one task",
        )
    task, old, new = TASKS[scene.task], old_scene.target, scene.target
    points = transform_points(invert_pose(old.T_base_object), points_base)
    old_boxes, new_boxes = task.boxes(old), task.boxes(new)
    moved = np.stack([_carry(point, old_boxes, new_boxes) for point in points])
    return np.asarray(transform_points(new.T_base_object, moved))


def _carry(point: Array, old: tuple[PartBox, ...], new: tuple[PartBox, ...]) -> Array:
    """Map one point from an object's frame to the other's, by the smallest part that holds it."""
    held = [bool((np.abs(point - box.middle) <= box.half + _AROUND).all()) for box in old]
    index = held.index(True) if any(held) else len(old) - 1
    a, b = old[index], new[index]
    return np.asarray(b.middle + (point - a.middle) / a.half * b.half)
