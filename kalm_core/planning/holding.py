"""What the fingers hold, as far as their commands and their present opening tell."""

from __future__ import annotations

from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory

_CLOSED = 0.01  # [m], narrower commands mean "closed"; how far, what is held decides


def finger_openings(trajectory: EndEffectorTrajectory, gripper: float) -> Array:
    """Return how far the fingers are apart at every pose, for checks of collisions.

    Fingers that are told to be closed from the start stay as wide as what they hold until they
    open. What they grasp on the way is not known before: from there on it is the command.

    Args:
        trajectory: what the fingers are told.
        gripper: how far they are open now [m].

    Returns:
        (N,) openings [m], nowhere below the command.
    """
    openings = trajectory.gripper.copy()
    opened = openings >= _CLOSED
    held = int(opened.argmax()) if opened.any() else len(openings)
    openings[:held] = openings[:held].clip(min=gripper)
    return openings


def holds_at_the_end(trajectory: EndEffectorTrajectory) -> bool:
    """Tell whether the fingers end clearly closer together than they ever were apart before."""
    return bool(trajectory.gripper[-1] < trajectory.gripper.max() - _CLOSED)


def holds_from_the_start(trajectory: EndEffectorTrajectory, gripper: float) -> bool:
    """Tell whether the fingers, `gripper` [m] open now, hold what the trajectory works with.

    Its command is to keep them closed until the end of the approach at least, yet they are open.
    """
    return bool(trajectory.gripper[0] < _CLOSED < gripper)
