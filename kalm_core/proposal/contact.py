"""Where the gripper works: the moment of contact in a demonstration, and the scene beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kalm_core.demonstration import Demonstration
from kalm_core.se3 import Array, invert_pose, transform_points

_HAND_REACH = (0.10, 0.12)  # half size of hand and camera mount across the fingers [m]
_HELD_WIDTH = (0.005, 0.07)  # a constant opening between these is a hand that holds something [m]
_BY_ITSELF = 0.3  # the tool works itself where it is slow and this close
_HELD_REACH = 0.10  # how far what is held works from the tool, as a cup over a bowl; to twice [m]
_ALIKE = 0.8  # moments with this share of the greatest weight may all be the work


@dataclass(frozen=True)
class Contact:
    """Where a demonstration's tool touched the scene of its first image.

    Attributes:
        sample: index of the motion sample.
        position: (3,) tool position [m] in the base frame; with something held, the middle of the
            scene that it works on.
        distance: from there to the nearest scene point of the first image [m].
    """

    sample: int
    position: Array
    distance: float


def scene_points(demonstration: Demonstration) -> NDArray[np.float32]:
    """Return the (H, W, 3) base-frame points [m] of the first image; NaN where the hand is seen."""
    points = demonstration.initial.points_base()
    T_ee_base = invert_pose(demonstration.T_base_ee[0])
    local = transform_points(T_ee_base, points)
    with np.errstate(invalid="ignore"):
        robot = (
            (np.abs(local[..., 0]) < _HAND_REACH[0])
            & (np.abs(local[..., 1]) < _HAND_REACH[1])
            & (local[..., 2] < 0.01)
        )
    return np.where(robot[..., None], np.nan, points).astype(np.float32)


def find_contact(
    demonstration: Demonstration, width: float = 0.03, rest: float = 0.0
) -> Contact | None:
    """Return where the fingers close on the scene; without closing, where they stay at it.

    Each motion sample is weighted by how close the tool is to the scene (Gaussian of `width` [m])
    and by how much the gripper closes around that time; when it never closes, by how slowly the
    tool moves. A gripper that holds something all the time and does not come that close works
    through it: its reach is longer, and where it rested before it moved is not where it works.

    Args:
        demonstration: the recording.
        width: of the closeness weight [m].
        rest: within this distance of where the tool begins and ends its slowness counts less, for
            there it rests [m]. Where it works without closing, the part moves along; what it rests
            at in the end is not where the part was.

    Returns:
        None when the tool never comes near what the first image shows.
    """
    points = scene_points(demonstration).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)][::3].astype(np.float64)
    if len(points) == 0:
        return None
    tool = demonstration.T_base_ee[:, :3, 3]
    scene = cKDTree(points)
    distance = scene.query(tool)[0]
    activity = _activity(demonstration, rest)
    weight = np.exp(-((distance / width) ** 2)) * activity
    best = int(weight.argmax())
    if weight[best] < _BY_ITSELF and holds_something(demonstration):
        # how far what is held reaches is not known: within its reach, nearer says nothing
        way = np.linalg.norm(tool - tool[0], axis=1)
        weight = np.where(distance < 2 * _HELD_REACH, activity * way, 0.0)
        if weight.max() == 0.0:
            return None
        there = np.flatnonzero(weight > _ALIKE * weight.max())
        best = int(there[distance[there].argmin()])
        near = scene.query_ball_point(tool[best], distance[best] + _HELD_REACH / 2)
        return Contact(best, np.asarray(points[near].mean(axis=0)), float(distance[best]))
    if weight[best] < 1e-3:
        return None
    return Contact(best, np.asarray(tool[best]), float(distance[best]))


def _activity(demonstration: Demonstration, rest: float) -> NDArray[np.float64]:
    """Return (T,) in [0, 1]: how much the gripper closes, or how slowly the tool moves."""
    opening, time = demonstration.gripper, demonstration.stamps
    closing = np.maximum(-np.gradient(opening, time), 0.0)
    if opening.max() - opening.min() > 0.005 and closing.max() > 0:
        # The fingers touch at the end of the closing, hence the later half of the window.
        activity = np.array(
            [closing[(time > t - 0.5) & (time <= t + 0.1)].max(initial=0.0) for t in time]
        )
        return np.asarray(activity / activity.max())
    tool = demonstration.T_base_ee[:, :3, 3]
    speed = np.linalg.norm(np.gradient(tool, time, axis=0), axis=1)
    slow = 1.0 / (1.0 + speed / 0.02)
    if rest > 0:
        way = np.minimum(*(np.linalg.norm(tool - end, axis=1) for end in (tool[0], tool[-1])))
        slow *= np.minimum(way / rest, 1.0)
    return np.asarray(slow)


def held_width(demonstrations: Sequence[Demonstration]) -> float:
    """Return the median width of what most demonstrations hold all the time [m]; 0 for nothing."""
    held = [float(np.median(d.gripper)) for d in demonstrations if holds_something(d)]
    return float(np.median(held)) if 2 * len(held) > len(demonstrations) else 0.0


def holds_something(demonstration: Demonstration) -> bool:
    """Tell whether the fingers hold something, say a cup, from beginning to end."""
    opening = demonstration.gripper
    constant = float(opening.max() - opening.min()) <= 0.005
    return constant and _HELD_WIDTH[0] < float(np.median(opening)) < _HELD_WIDTH[1]
