"""The cabinet with two drawers: its parameters and how they are drawn.

The cabinet's frame has its origin on the table, in the middle below the front face; x points into
the cabinet, y to its left, z up. Seen from the base, `yaw` = 0 faces the robot squarely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kalm_core.se3 import Array, make_pose
from kalm_sim.drawing import Color, Range, draw_color, luminance, uniform
from kalm_sim.tasks.base import Instances, TaskObject

HandleShape = Literal["square_bar", "round_bar", "bow"]
HANDLE_SHAPES: tuple[HandleShape, ...] = ("square_bar", "round_bar", "bow")
TOP, BOTTOM = 0, 1
"""Index of a drawer wherever there is one value per drawer."""

FRONT_DISTANCE = (0.68, 0.80)
"""How far the front face is from the base [m]; nearer, the arm cannot pull by 15 cm."""


@dataclass(frozen=True)
class CabinetRanges:
    """What distinguishes one set of cabinets from another.

    Attributes:
        shapes: of handles.
        width: outer [m].
        hue: of painted bodies [turns].
        wood: brightness of wooden bodies.
    """

    shapes: tuple[HandleShape, ...] = HANDLE_SHAPES
    width: Range = (0.28, 0.38)
    hue: Range = (0.0, 1.0)
    wood: Range = (0.4, 0.85)


RANGES: dict[Instances, CabinetRanges] = {
    "all": CabinetRanges(),
    "train": CabinetRanges(("square_bar", "bow"), (0.28, 0.33), (0.0, 0.5), (0.62, 0.85)),
    "unseen": CabinetRanges(("round_bar",), (0.33, 0.38), (0.5, 1.0), (0.4, 0.62)),
}
"""Instances for demonstrations and unseen ones share no handle shape, width or body colour."""


@dataclass(frozen=True)
class HandleParameters:
    """A horizontal handle, centred on its drawer.

    Attributes:
        shape: bar with two posts (square or round), or a bow of three segments.
        length: along the bar [m].
        thickness: of the bar [m].
        standoff: from the drawer's front surface to the axis of the bar [m].
        color: RGB in [0, 1].
        metallic: whether it shines.
    """

    shape: HandleShape
    length: float
    thickness: float
    standoff: float
    color: Color
    metallic: bool


@dataclass(frozen=True)
class CabinetParameters(TaskObject):
    """The cabinet: where it stands and how it is made.

    Attributes:
        top_share: height of the top drawer as a share of both.
        body_color, front_color: RGB in [0, 1].
        wooden: whether the body shows a grain.
        handle: the same on both drawers.
        friction: of each drawer in its slide [N].
    """

    top_share: float
    body_color: Color
    front_color: Color
    wooden: bool
    handle: HandleParameters
    friction: float

    @property
    def T_base_cabinet(self) -> Array:
        """The (4, 4) pose of the cabinet's frame in the base frame."""
        return self.T_base_object

    def drawer_span(self, drawer: int) -> tuple[float, float]:
        """Return the lowest and highest z [m] of a drawer's front."""
        edge, gap = 0.006, 0.006
        middle = edge + (self.height - 2 * edge) * (1.0 - self.top_share)
        if drawer == TOP:
            return middle + gap / 2, self.height - edge
        return edge, middle - gap / 2

    def T_base_handle(self, drawer: int, opening: float = 0.0) -> Array:
        """Return the (4, 4) pose of a handle: middle of its bar, axes those of the cabinet.

        Args:
            drawer: `TOP` or `BOTTOM`.
            opening: how far the drawer is out [m].
        """
        low, high = self.drawer_span(drawer)
        out = -(self.handle.standoff + opening)
        return self.T_base_cabinet @ make_pose(np.eye(3), (out, 0.0, (low + high) / 2))


def draw_cabinet(rng: np.random.Generator, instances: Instances = "all") -> CabinetParameters:
    """Draw a cabinet and where it stands."""
    ranges = RANGES[instances]
    wooden = bool(rng.random() < 0.5)
    if wooden:
        body = draw_color(rng, (0.06, 0.11), (0.3, 0.65), ranges.wood)
    else:
        body = draw_color(rng, ranges.hue, (0.0, 0.45), (0.3, 0.95))
    same = rng.random() < 0.5
    front = body if same else draw_color(rng, (0.0, 1.0), (0.0, 0.5), (0.35, 0.95))
    return CabinetParameters(
        x=uniform(rng, *FRONT_DISTANCE),
        y=uniform(rng, -0.12, 0.12),
        yaw=uniform(rng, np.radians(-25), np.radians(25)),
        width=uniform(rng, *ranges.width),
        height=uniform(rng, 0.24, 0.32),
        depth=uniform(rng, 0.24, 0.30),
        top_share=uniform(rng, 0.42, 0.52),
        body_color=body,
        front_color=front,
        wooden=wooden,
        handle=_draw_handle(rng, front, ranges.shapes),
        friction=uniform(rng, 2.0, 4.0),
    )


def _draw_handle(
    rng: np.random.Generator, front: Color, shapes: tuple[HandleShape, ...]
) -> HandleParameters:
    metallic = bool(rng.random() < 0.6)
    while True:  # a handle that cannot be told from its drawer would be no handle to a person
        if metallic:
            color = draw_color(rng, (0.08, 0.15), (0.0, 0.35), (0.12, 0.9))
        else:
            color = draw_color(rng, (0.0, 1.0), (0.3, 0.9), (0.15, 0.9))
        if abs(luminance(color) - luminance(front)) > 0.2:
            break
    return HandleParameters(
        shape=shapes[int(rng.integers(len(shapes)))],
        length=uniform(rng, 0.08, 0.14),
        thickness=uniform(rng, 0.010, 0.018),
        standoff=uniform(rng, 0.040, 0.050),
        color=color,
        metallic=metallic,
    )
