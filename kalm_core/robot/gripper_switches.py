"""Where along a path the hand has to open or close."""

from __future__ import annotations

from typing import NamedTuple

from kalm_core.se3 import Array

GRIPPER_SWITCH = 0.01
"""Smallest change of the commanded opening for which the arm waits and the hand moves [m]. Planner
and arm have to agree on it: how wide the fingers are on the way follows from it."""

_STEADY = 0.001  # [m] per pose; a smaller change no longer belongs to a switch


class GripperSwitch(NamedTuple):
    """The hand moves while the arm waits.

    Attributes:
        pose: index of the pose at which the arm waits.
        opening: opening to reach [m].
        closing: the fingers come together, which is a grasp.
    """

    pose: int
    opening: float
    closing: bool


def opening_before(first: float, width: float) -> float:
    """Return how wide the fingers are on the way to a path [m]: they open for it, never close.

    Args:
        first: commanded opening at the first pose [m].
        width: the opening now [m].
    """
    return first if first - width > GRIPPER_SWITCH else width


def gripper_switches(openings: Array, width: float) -> list[GripperSwitch]:
    """Find the changes of the opening that are meant, not noise.

    A change over several poses (a recorded closing takes its time) is one switch, made at the last
    pose before it, to the opening at its end.

    Args:
        openings: (N,) commanded opening at every pose [m].
        width: the opening now [m]; NaN means that of the first pose.
    """
    switches: list[GripperSwitch] = []
    command = float(openings[0])
    if abs(width - command) > GRIPPER_SWITCH:  # False for NaN
        # Before the first pose the hand only takes its opening; a grasp would close it altogether.
        switches.append(GripperSwitch(0, command, closing=command < _STEADY))
    i = 1
    while i < len(openings):
        change = float(openings[i]) - command
        if abs(change) > GRIPPER_SWITCH:
            sign = 1.0 if change > 0 else -1.0
            first, last = i, i
            while first > 0 and sign * (openings[first] - openings[first - 1]) > _STEADY:
                first -= 1
            while (
                last + 1 < len(openings) and sign * (openings[last + 1] - openings[last]) > _STEADY
            ):
                last += 1
            pose = max(first, switches[-1].pose if switches else 0)
            command = float(openings[last])
            switches.append(GripperSwitch(pose, command, closing=sign < 0))
            i = last
        i += 1
    return switches
