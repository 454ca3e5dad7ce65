"""How the laboratory's operator makes room before the arm goes back to its ready posture."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from kalm_core.fr3_limits import HAND_OPENING
from kalm_core.planning.robot_model import RobotModel
from kalm_core.se3 import Array
from kalm_sim.scene import SceneParameters
from kalm_sim.viewpoints import READY

OPEN = HAND_OPENING
"""Opening of the fingers when nothing is held [m]."""


def cleared(scene: SceneParameters) -> SceneParameters:
    """Return the scene with nothing on the table.

    A skill ends wherever it ends, often with the arm twisted around the object. A person would put
    the object away and then send the arm home; so does the operator.
    """
    return replace(
        scene, empty=True, clutter=(), held=None, replacement=None, cover=None, twin=None
    )


_LOWEST = 0.06
"""Height of the tool above the table that a way keeps; a turned hand is 5 cm wide there [m]."""

_LIFT = 0.25
"""How far the hand is lifted where the straight way is too low [m]."""


def way_over_the_table(robot: RobotModel, start: Array, target: Array) -> list[Array]:
    """Return the (7,) postures [rad] to pass on straight ways in joint space, the target last.

    The straight way between two postures can lead through the table; a person would lift the hand
    first, or go by the ready posture.
    """
    up, above = (_lifted(robot, q) for q in (start, target))
    ways = [
        [target],
        [up, target],
        [up, above, target],
        [READY, target],
        [up, READY, target],
        [up, READY, above, target],
    ]
    for way in ways:
        if all(q is not None for q in way):
            legs = pairwise([start, *way])
            if min(_lowest(robot, a, b) for a, b in legs) >= _LOWEST:
                return way  # type: ignore[return-value]
    return [target]


def _lifted(robot: RobotModel, joints: Array) -> Array | None:
    pose = robot.forward(joints).copy()
    pose[2, 3] += _LIFT
    return robot.inverse(pose, joints, seeds=4)


def _lowest(robot: RobotModel, a: Array, b: Array) -> float:
    """Return the least height of the tool on a straight way in joint space, its ends apart."""
    share = np.linspace(0.1, 0.9, 9)[:, None]
    return float(robot.tool_poses(a + share * (b - a))[:, 2, 3].min())
