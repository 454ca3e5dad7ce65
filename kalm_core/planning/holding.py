"""What the fingers hold, as far as their commands and their present opening tell."""

from __future__ import annotations

import numpy as np

from kalm_core.robot.gripper_switches import gripper_switches, opening_before
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory

_CLOSED = 0.01  # [m], narrower commands mean "closed"; how far, what is held decides


def finger_openings(trajectory: EndEffectorTrajectory, gripper: float) -> Array:
    """Return how far the fingers are apart at every pose, for checks of collisions.

    They are at every pose as wide as told, as the arm has them (which moves them all at once where
    they are told to change little by little, and not at all for little), and where they are told to
    be closed from the start, as what they hold, until they open. What they grasp on the way is not
    known before: from there on it is the command.

    Args:
        trajectory: what the fingers are told.
        gripper: how far they are open now [m].

    Returns:
        (N,) openings [m], nowhere below the command, the wider one where the hand moves.
    """
    openings = trajectory.gripper.copy()
    opened = openings >= _CLOSED
    held = int(opened.argmax()) if opened.any() else len(openings)
    openings[:held] = openings[:held].clip(min=gripper)
    return np.maximum(openings, _as_moved(trajectory.gripper, gripper))


def _as_moved(told: Array, gripper: float) -> Array:
    """Return the wider of the openings before and after the hand's movement at every pose."""
    width = opening_before(float(told[0]), gripper)
    openings = np.full(len(told), width)
    for switch in gripper_switches(told, width):
        openings[switch.pose + 1 :] = switch.opening
        openings[switch.pose] = max(openings[switch.pose], switch.opening)
    return openings


def holds_at_the_end(trajectory: EndEffectorTrajectory) -> bool:
    """Tell whether the fingers end clearly closer together than they ever were apart before."""
    return bool(trajectory.gripper[-1] < trajectory.gripper.max() - _CLOSED)


def holds_from_the_start(trajectory: EndEffectorTrajectory, gripper: float) -> bool:
    """Tell whether the fingers, `gripper` [m] open now, hold what the trajectory works with.

    Its command is to keep them closed until the end of the approach at least, yet they are open.
    """
    return bool(trajectory.gripper[0] < _CLOSED < gripper)
