"""The cup in the hand and its balls as a MuJoCo model.

The cup is fixed to the hand: the simulator does not test whether fingers can hold a cup. So that
the fingers stop at its wall, their joints are limited to its width.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from kalm_core.se3 import Array, make_pose, transform_points
from kalm_sim.camera import T_hand_ee, pose_attributes
from kalm_sim.hollow import Look, add_walls
from kalm_sim.mesh import Mesh, vessel
from kalm_sim.mjcf_element import add, color, find, numbers
from kalm_sim.tasks.bowl import CupParameters

ROBOT = "robot0_"
CUP, BALL = f"{ROBOT}cup", "ball_"
CUP_WALL = 0.0025
BALL_MASS = 0.003
"""Of one ball [kg]."""
HOLD_FORCE = 20.0
"""With which the hand closes on a cup that it is given [N]."""

CONTACT = {
    # stiff: with MuJoCo's default a falling ball would pass through the bowl's wall; priority makes
    # the ball's values count; without friction, for with it the solver takes ten times as long
    "condim": "1",
    "priority": "1",
    "solref": "0.004 1",
}
BALL_DAMPING = 0.02
"""A drag in place of friction: balls do not gather speed and come to rest [N s/m]."""


def cup_mesh(cup: CupParameters) -> Mesh:
    """Return the cup's shell in its frame."""
    return vessel(_outline(cup), cup.mouth, cup.mouth, CUP_WALL, 2.0)


def add_cup(world: ET.Element, cup: CupParameters) -> None:
    """Fix the cup to the hand and add its balls."""
    hand = find(world, f".//body[@name='{ROBOT}hand']")
    body = add(hand, "body", name=CUP, **pose_attributes(T_hand_ee @ cup.T_ee_cup))
    look = Look("held", "satin", color(cup.color))
    half = (cup.mouth, cup.mouth)
    add_walls(body, _outline(cup), half, look, wall=CUP_WALL, sectors=12)
    for index in (1, 2):
        joint = find(world, f".//joint[@name='{ROBOT}finger_joint{index}']")
        joint.set("range", numbers((cup.grasp_width / 2, 0.04)))
        joint.set("solreflimit", "0.004 1")  # as hard as a wall
        joint.set("solimplimit", "0.99 0.999 0.0001")
    for index in range(cup.balls):
        ball = add(world, "body", name=f"{BALL}{index}", pos=numbers((-0.5, 0.02 * index, 0.1)))
        add(ball, "joint", type="free", name=f"{BALL}{index}", damping=f"{BALL_DAMPING}")
        add(
            ball,
            "geom",
            type="sphere",
            size=f"{cup.ball_radius:.6g}",
            mass=f"{BALL_MASS}",
            material="satin",
            rgba=color(cup.ball_color),
            **CONTACT,
        )


def _outline(cup: CupParameters) -> list[tuple[float, float]]:
    return [(cup.bottom / cup.mouth, 0.0), (1.0, cup.height)]


def place_balls(model: Any, data: Any, cup: CupParameters, poured: Array | None = None) -> None:
    """Put the balls into the cup, at rest, wherever the hand is; needs the kinematics computed.

    Args:
        model: of MuJoCo.
        data: of MuJoCo, changed in place.
        cup: of the scene.
        poured: (K, 3) places of the first K balls in the base frame [m]; None puts all in the cup.
    """
    hand = model.body(f"{ROBOT}hand").id
    T_base_hand = make_pose(data.xmat[hand].reshape(3, 3), data.xpos[hand])
    places = transform_points(T_base_hand @ T_hand_ee @ cup.T_ee_cup, cup.ball_places())
    if poured is not None:
        places[: len(poured)] = poured
    for index, place in enumerate(places):
        joint = data.joint(f"{BALL}{index}")
        joint.qpos[:] = [*place, 1.0, 0.0, 0.0, 0.0]
        joint.qvel[:] = 0.0


def ball_positions(model: Any, data: Any) -> Array:
    """Return the (N, 3) places of all balls in the base frame [m]."""
    names = [model.body(i).name for i in range(model.nbody)]
    return np.array([data.body(n).xpos for n in names if n.startswith(BALL)]).reshape(-1, 3)
