"""The pod coffee machine with a lever on its head: its parameters and how they are drawn.

Its frame has its origin on the table, in the middle below the front of the head; x points into the
machine, y to its left, z up. The lever's hinge is on the head; lifting it opens the pod holder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from kalm_core.se3 import Array, make_pose
from kalm_sim.drawing import Color, Range, draw_color, luminance, uniform
from kalm_sim.tasks.base import Instances, TaskObject

LeverShape = Literal["u_bar", "tee", "bow", "paddle"]
Style = Literal["block", "round", "tower", "slab"]
LEVER = "lever"
"""Name of the body that is lifted."""

LEVER_RANGE = (0.0, np.radians(75.0))
"""Angle of the lever from lying to upright [rad]."""


@dataclass(frozen=True)
class LeverParameters:
    """A lever: arms from a hinge on the head to a grip across, in front of the head.

    Attributes:
        shape: two arms and a bar, one arm and a bar, two arms that bend together, or a flat one.
        length: of the grip, along y [m].
        thickness: of the grip [m].
        standoff: from the head's front to the axis of the grip [m].
        hinge_x: from the head's front to the hinge [m].
        rise: of the hinge above the head [m].
        drop: of the grip below the hinge while the lever lies [m].
        color: RGB in [0, 1].
        metallic: whether it shines.
        friction: of the hinge [Nm].
    """

    shape: LeverShape
    length: float
    thickness: float
    standoff: float
    hinge_x: float
    rise: float
    drop: float
    color: Color
    metallic: bool
    friction: float


@dataclass(frozen=True)
class CoffeeMachineParameters(TaskObject):
    """The machine; `height` is that of the top of its head.

    Attributes:
        style: which family of bodies.
        exponent: of the cross-sections, 2 for round ones.
        head_height, head_depth: of the overhanging head [m].
        column_x: where the column behind the cup begins [m].
        tank_height: of the water tank's top above the head; below it if negative [m].
        body_color, head_color: RGB in [0, 1].
        finish: material of the body.
        lever: what is lifted.
    """

    style: Style
    exponent: float
    head_height: float
    head_depth: float
    column_x: float
    tank_height: float
    body_color: Color
    head_color: Color
    finish: str
    lever: LeverParameters

    @property
    def hinge(self) -> Array:
        """The (3,) middle of the hinge in the machine's frame [m]."""
        return np.array([self.lever.hinge_x, 0.0, self.height + self.lever.rise])

    @property
    def grip(self) -> Array:
        """The (3,) middle of the grip of a lying lever, in the hinge's frame [m]."""
        lever = self.lever
        return np.array([-(lever.hinge_x + lever.standoff), 0.0, -lever.drop])

    def T_base_hinge(self, angle: float = 0.0) -> Array:
        """Return the (4, 4) pose of the lever: origin in the hinge, turned by `angle` [rad]."""
        turn = Rotation.from_euler("y", angle).as_matrix()
        return self.T_base_object @ make_pose(turn, self.hinge)

    def T_base_grip(self, angle: float = 0.0) -> Array:
        """Return the (4, 4) pose of the grip: its middle, y along it, turned with the lever."""
        return self.T_base_hinge(angle) @ make_pose(np.eye(3), self.grip)


@dataclass(frozen=True)
class CoffeeMachineRanges:
    """What distinguishes one set of machines from another.

    Attributes:
        styles, levers: families of bodies and of levers.
        width: of the body [m].
        hue: of coloured bodies [turns].
        grey: brightness of grey bodies.
    """

    styles: tuple[Style, ...]
    levers: tuple[LeverShape, ...]
    width: Range
    hue: Range
    grey: Range


RANGES: dict[Instances, CoffeeMachineRanges] = {
    "all": CoffeeMachineRanges(
        ("block", "round", "tower", "slab"),
        ("u_bar", "tee", "bow", "paddle"),
        (0.13, 0.20),
        (0.0, 1.0),
        (0.08, 0.95),
    ),
    "train": CoffeeMachineRanges(
        ("block", "round"), ("u_bar", "tee"), (0.13, 0.165), (0.0, 0.5), (0.08, 0.4)
    ),
    "unseen": CoffeeMachineRanges(
        ("tower", "slab"), ("bow", "paddle"), (0.165, 0.20), (0.5, 1.0), (0.4, 0.95)
    ),
}
"""Instances for demonstrations and unseen ones share no body, lever, width or colour family."""

EXPONENTS: dict[Style, Range] = {
    "block": (7.0, 10.0),
    "round": (3.0, 4.0),
    "tower": (2.0, 2.3),
    "slab": (12.0, 16.0),
}


def draw_coffee_machine(rng: np.random.Generator, instances: Instances) -> CoffeeMachineParameters:
    """Draw a machine and where it stands."""
    ranges = RANGES[instances]
    style = ranges.styles[int(rng.integers(len(ranges.styles)))]
    if rng.random() < 0.4:
        body = draw_color(rng, (0.0, 1.0), (0.0, 0.06), ranges.grey)
    else:
        body = draw_color(rng, ranges.hue, (0.45, 0.9), (0.35, 0.85))
    head = body if rng.random() < 0.5 else draw_color(rng, (0.0, 1.0), (0.0, 0.08), ranges.grey)
    width = uniform(rng, *ranges.width)
    depth = uniform(rng, 0.22, 0.28)
    return CoffeeMachineParameters(
        x=uniform(rng, 0.63, 0.73),
        y=uniform(rng, -0.12, 0.12),
        yaw=uniform(rng, np.radians(-22), np.radians(22)),
        width=width,
        height=uniform(rng, 0.23, 0.29),
        depth=depth,
        style=style,
        exponent=uniform(rng, *EXPONENTS[style]),
        head_height=uniform(rng, 0.075, 0.10),
        head_depth=uniform(rng, 0.15, 0.18),
        column_x=uniform(rng, 0.09, 0.12),
        tank_height=uniform(rng, -0.04, 0.0),
        body_color=body,
        head_color=head,
        finish=str(rng.choice(("matte", "satin", "gloss"))),
        lever=_draw_lever(rng, ranges.levers, head),
    )


def _draw_lever(
    rng: np.random.Generator, shapes: tuple[LeverShape, ...], head: Color
) -> LeverParameters:
    metallic = bool(rng.random() < 0.6)
    while True:  # a lever that cannot be told from its head would be no lever to a person
        if metallic:
            color = draw_color(rng, (0.08, 0.15), (0.0, 0.12), (0.12, 0.9))
        else:
            color = draw_color(rng, (0.0, 1.0), (0.0, 0.9), (0.05, 0.95))
        if abs(luminance(color) - luminance(head)) > 0.2:
            break
    return LeverParameters(
        shape=shapes[int(rng.integers(len(shapes)))],
        length=uniform(rng, 0.07, 0.10),
        thickness=uniform(rng, 0.011, 0.016),
        standoff=uniform(rng, 0.040, 0.050),
        hinge_x=uniform(rng, 0.065, 0.09),
        rise=uniform(rng, 0.014, 0.020),
        drop=uniform(rng, 0.0, 0.015),
        color=color,
        metallic=metallic,
        friction=uniform(rng, 0.10, 0.20),
    )
