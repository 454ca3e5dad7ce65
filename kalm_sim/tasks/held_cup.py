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


def cup_mesh(cup: CupParameters) -> Mesh:
    """Return the cup's shell in its frame."""
    return vessel(_outline(cup), cup.mouth, cup.mouth, CUP_WALL, 2.0)


def add_cup(world: ET.Element, cup: CupParameters) -> None:
    """Fix the cup to the hand and add its balls."""
    hand = find(world, f".//body[@name='{ROBOT}hand']")
    body = add(hand, "body", name=CUP, **pose_attributes(T_hand_ee @ cup.T_ee_cup))
    look = Look("held", "satin", color(cup.color))
    half = (cup.mouth, cup.mouth)
    add_walls(body, _outline(cup), half, look, wall=CUP_WALL, sectors=14)
    for index in (1, 2):
        joint = find(world, f".//joint[@name='{ROBOT}finger_joint{index}']")
        joint.set("range", numbers((cup.grasp_width / 2, 0.04)))
    for index in range(cup.balls):
        ball = add(world, "body", name=f"{BALL}{index}", pos=numbers((-0.5, 0.02 * index, 0.1)))
        add(ball, "freejoint", name=f"{BALL}{index}")
        add(
            ball,
            "geom",
            type="sphere",
            size=f"{cup.ball_radius:.6g}",
            mass=f"{BALL_MASS}",
            material="satin",
            rgba=color(cup.ball_color),
            friction="0.4 0.003 0.0001",
        )


def _outline(cup: CupParameters) -> list[tuple[float, float]]:
    steps = np.linspace(0.0, 1.0, 4)
    narrow = cup.bottom / cup.mouth
    return [(float(narrow + (1 - narrow) * s), float(s * cup.height)) for s in steps]


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
