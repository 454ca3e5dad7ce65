"""What the policy learns of the demonstrations: their executions, outliers left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kalm_core.demonstration import Demonstration
from kalm_core.errors import DemonstrationError, KalmError, KeypointsNotFoundError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.base import Example
from kalm_core.policy.evaluation import grasp_index
from kalm_core.se3 import Array, invert_pose
from kalm_core.segmentation import SegmentationSettings, execution_part


def make_examples(
    demonstrations: Sequence[Demonstration],
    detected: Sequence[DetectedKeypoints],
    segmentation: SegmentationSettings,
    stray: float,
    leave_out: Callable[[str, KalmError], None],
) -> list[Example]:
    """Cut the execution out of every demonstration that shows the keypoints where it works.

    Args:
        demonstrations: of one skill.
        detected: the skill's keypoints in the first image of each.
        segmentation: where an execution begins.
        stray: farthest that a grasp may lie from where most grasp, relative to the keypoints [m].
        leave_out: told the name of a demonstration that cannot teach, and why.

    Returns:
        Examples of the others; none when no demonstration shows the keypoints.
    """
    try:
        arrangement = Arrangement.from_demonstrations(detected)
    except KeypointsNotFoundError as error:
        for demonstration in demonstrations:
            leave_out(demonstration.name, error)
        return []
    examples: list[Example] = []
    grasps: list[Array] = []
    for demonstration, keypoints in zip(demonstrations, detected, strict=True):
        try:
            T_base_object, fitting = arrangement.locate(keypoints)
            part = execution_part(demonstration, fitting, segmentation)
        except (KeypointsNotFoundError, DemonstrationError) as error:
            leave_out(demonstration.name, error)
            continue
        examples.append(Example(demonstration.name, fitting, part))
        grasp = part.T_base_ee[grasp_index(part)]
        grasps.append((invert_pose(T_base_object) @ grasp)[:3, 3])
    if not examples:
        return []
    away = np.linalg.norm(grasps - np.median(grasps, axis=0), axis=1)
    for example, distance in zip(examples, away, strict=True):
        if distance > stray:
            astray = DemonstrationError(
                f"relative to the keypoints it works {distance:.3f} m from where most do, "
                f"expected {stray} m or less: they were found on another part, or the hand "
                "came from another side"
            )
            leave_out(example.name, astray)
    return [e for e, distance in zip(examples, away, strict=True) if distance <= stray]
