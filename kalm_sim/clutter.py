"""Things that lie about; they do not move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kalm_sim.drawing import Color, draw_color, uniform
from kalm_sim.tasks.base import Room, TaskObject

MOST_CLUTTER = 6
CLUTTER_KINDS = ("box", "cylinder", "mug")


@dataclass(frozen=True)
class ClutterItem:
    """Something that lies about; it does not move.

    Attributes:
        kind: "box", "cylinder" or "mug".
        x, y, z: middle of its foot in the base frame [m].
        yaw: about z [rad].
        width, depth, height: outer size [m]; a cylinder's diameter is its width.
        color: RGB in [0, 1].
    """

    kind: str
    x: float
    y: float
    z: float
    yaw: float
    width: float
    depth: float
    height: float
    color: Color

    @property
    def radius(self) -> float:
        """Radius [m] of a circle around its foot."""
        return float(np.hypot(self.width, self.depth) / 2)


def draw_clutter(
    rng: np.random.Generator, target: TaskObject, room: Room, empty: bool
) -> tuple[ClutterItem, ...]:
    """Place items beside an object and, with room there, on it, clear of its front and each other.

    Args:
        rng: source of the items.
        target: the object.
        room: where they may lie.
        empty: the object is left out; what would lie on it lies in its place.
    """
    wanted = int(rng.integers(3, MOST_CLUTTER + 1))
    items: list[ClutterItem] = []
    for _ in range(400):
        if len(items) == wanted:
            break
        item = _draw_item(rng, target, room, empty)
        apart = all(
            np.hypot(item.x - other.x, item.y - other.y) > item.radius + other.radius + 0.01
            for other in items
        )
        if apart:
            items.append(item)
    return tuple(items)


def _draw_item(
    rng: np.random.Generator, target: TaskObject, room: Room, empty: bool
) -> ClutterItem:
    kind = str(rng.choice(CLUTTER_KINDS))
    on_top = rng.random() < 0.4 and room.on_top
    if kind == "box":
        width, depth = uniform(rng, 0.04, 0.11), uniform(rng, 0.04, 0.09)
        height = uniform(rng, 0.03, 0.18)
    elif kind == "cylinder":
        width = depth = uniform(rng, 0.04, 0.08)
        height = uniform(rng, 0.06, 0.20)
    else:
        width = depth = uniform(rng, 0.07, 0.09)
        height = uniform(rng, 0.08, 0.11)
    if on_top:
        height = min(height, 0.12)
    reach = float(np.hypot(width, depth) / 2) + (0.03 if kind == "mug" else 0.0)
    if on_top:  # the hand's upper corner passes over the front edge
        x = uniform(rng, 0.10 + reach, max(0.101 + reach, target.depth - reach))
        y = uniform(rng, -1.0, 1.0) * max(target.width / 2 - reach, 0.0)
    else:
        x = uniform(rng, room.along[0] + reach, room.along[1])
        side = 1.0 if rng.random() < 0.5 else -1.0
        y = side * (target.width / 2 + reach + uniform(rng, *room.beside))
    position = target.T_base_object @ np.array([x, y, 0.0, 1.0])
    return ClutterItem(
        kind=kind,
        x=float(position[0]),
        y=float(position[1]),
        z=target.height if on_top and not empty else 0.0,
        yaw=uniform(rng, -np.pi, np.pi),
        width=width,
        depth=depth,
        height=height,
        color=draw_color(rng, (0.0, 1.0), (0.2, 0.85), (0.3, 0.95)),
    )
