"""Pouring from a held cup into a bowl: its model and the share of balls that are in the bowl."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from kalm_core.se3 import Array
from kalm_sim.hollow import Look, add_walls
from kalm_sim.mesh import Mesh, vessel
from kalm_sim.mjcf_element import add, color, numbers
from kalm_sim.tasks.base import Instances, PartBox, Room, Task, TaskObject, ViewRange, expect
from kalm_sim.tasks.bowl import (
    WALL,
    BowlParameters,
    CupParameters,
    draw_bowl,
    draw_cup,
    share_inside,
)
from kalm_sim.tasks.held_cup import ball_positions

BODY = "bowl"


class PourTask(Task):
    """Pour the balls from the cup in the hand into the bowl."""

    name = "pour"
    sentence = "pour into the bowl"
    skill = "pour_into_bowl"
    object_name, part_name = "bowl", "bowl"
    measure, enough = "share of balls in the bowl", 0.8
    room = Room(on_top=False, beside=(0.12, 0.26), along=(-0.05, 0.28))
    # the hand that looks holds the cup upright, within a few degrees; the cup is below in the image
    view = ViewRange((0.36, 0.52), (28.0, 48.0), 30.0, 70.0)

    def draw(self, rng: np.random.Generator, instances: Instances) -> TaskObject:
        """Draw a bowl and where it stands."""
        return draw_bowl(rng, instances)

    def draw_held(self, rng: np.random.Generator, instances: Instances) -> CupParameters:
        """Draw the cup with its balls."""
        return draw_cup(rng)

    def meshes(self, target: TaskObject) -> dict[str, Mesh]:
        """Return the bowl."""
        bowl = _bowl(target)
        surface = vessel(bowl.outline, bowl.depth / 2, bowl.width / 2, WALL, bowl.exponent)
        return {"shape_0": surface}

    def build(self, world: ET.Element, contact: ET.Element, target: TaskObject) -> None:
        """Add the bowl, which stands fast."""
        bowl = _bowl(target)
        body = add(
            world,
            "body",
            name=BODY,
            pos=numbers((bowl.x, bowl.y, 0)),
            euler=numbers((0, 0, bowl.yaw)),
        )
        look = Look("shape_0", bowl.finish, color(bowl.color))
        half = (bowl.depth / 2, bowl.width / 2)
        add_walls(body, bowl.outline, half, look, bowl.exponent, wall=WALL, sectors=20)

    def look_at(self, target: TaskObject) -> Array:
        """Return the middle of the bowl."""
        return np.array([0.0, 0.0, target.height / 2])

    def look_points(self, target: TaskObject) -> Array:
        """Return the corners of the bowl's box."""
        x, y, z = target.depth / 2, target.width / 2, target.height
        return np.array([(a, b, c) for a in (-x, x) for b in (-y, y) for c in (0.0, z)])

    def boxes(self, target: TaskObject) -> tuple[PartBox, ...]:
        """Return the bowl; it is one part."""
        half = np.array([target.depth, target.width, target.height]) / 2
        return (PartBox(np.array([0.0, 0.0, target.height / 2]), half),)

    def part_poses(self, target: TaskObject, state: tuple[float, ...]) -> tuple[Array, ...]:
        """Return the pose of the bowl's foot."""
        return (target.T_base_object,)

    def is_part(self, body: str, material: str) -> bool:
        """Tell whether a geom is of the bowl."""
        return body == BODY

    def read_state(
        self, model: Any, data: Any, target: TaskObject, prefix: str = ""
    ) -> tuple[float, ...]:
        """Return the share of balls that lie in the bowl."""
        return (share_inside(_bowl(target), ball_positions(model, data)),)


def _bowl(target: TaskObject) -> BowlParameters:
    return expect(target, BowlParameters)  # type: ignore[no-any-return]
