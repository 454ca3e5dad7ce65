"""Opening the top drawer of a cabinet."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from kalm_core.se3 import Array
from kalm_sim.furniture import add_cabinet, drawer_joint
from kalm_sim.tasks.base import Instances, PartBox, Room, Task, TaskObject, expect
from kalm_sim.tasks.cabinet import BOTTOM, TOP, CabinetParameters, draw_cabinet


class DrawerTask(Task):
    """Open the top drawer by its handle."""

    name = "drawer"
    sentence = "open the top drawer"
    skill = "open_top_drawer"
    object_name, part_name = "cabinet", "handle of the top drawer"
    measure, enough = "opening of the top drawer [m]", 0.10
    room = Room(on_top=True)
    joints = (drawer_joint(TOP), drawer_joint(BOTTOM))
    initial_state = (0.0, 0.0)

    def draw(self, rng: np.random.Generator, instances: Instances) -> TaskObject:
        """Draw a cabinet and where it stands."""
        return draw_cabinet(rng, instances)

    def build(self, world: ET.Element, contact: ET.Element, target: TaskObject) -> None:
        """Add the cabinet."""
        add_cabinet(world, contact, _cabinet(target))

    def look_at(self, target: TaskObject) -> Array:
        """Return the middle of the front."""
        return np.array([0.0, 0.0, target.height / 2])

    def look_points(self, target: TaskObject) -> Array:
        """Return the front's corners and the ends of the top handle."""
        cabinet = _cabinet(target)
        w, h, out = cabinet.width / 2, cabinet.height, cabinet.handle.standoff + 0.01
        reach = cabinet.handle.length / 2
        low, high = cabinet.drawer_span(TOP)
        z = (low + high) / 2
        corners = [(0.0, y, z_) for y in (-w, w) for z_ in (0.0, h)]
        return np.array(corners + [(-out, y, z) for y in (-reach, reach)])

    def boxes(self, target: TaskObject) -> tuple[PartBox, ...]:
        """Return the top handle with its posts, and the top drawer's block."""
        cabinet, handle = _cabinet(target), _cabinet(target).handle
        depth = handle.standoff + handle.thickness / 2
        low, high = cabinet.drawer_span(TOP)
        z = (low + high) / 2
        grip = np.array([depth / 2, handle.length / 2, handle.thickness / 2])
        block = np.array([cabinet.depth / 2, cabinet.width / 2, (high - low) / 2])
        return (
            PartBox(np.array([-depth / 2, 0.0, z]), grip),
            PartBox(np.array([cabinet.depth / 2, 0.0, z]), block),
        )

    def part_poses(self, target: TaskObject, state: tuple[float, ...]) -> tuple[Array, ...]:
        """Return T_base_handle of the top and the bottom drawer."""
        cabinet = _cabinet(target)
        return tuple(cabinet.T_base_handle(drawer, state[drawer]) for drawer in (TOP, BOTTOM))

    def is_part(self, body: str, material: str) -> bool:
        """Tell whether a geom is of the top drawer's handle."""
        return body == f"{drawer_joint(TOP)}_body" and material == "handle"


def _cabinet(target: TaskObject) -> CabinetParameters:
    return expect(target, CabinetParameters)  # type: ignore[no-any-return]
