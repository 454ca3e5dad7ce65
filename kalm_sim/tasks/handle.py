"""Lifting the handle of a coffee machine: its model and how far the lever is up."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import numpy as np

from kalm_core.se3 import Array
from kalm_sim.furniture import GRIP, box, rod
from kalm_sim.mesh import Mesh, block
from kalm_sim.mjcf_element import add, color, numbers
from kalm_sim.tasks.base import Instances, PartBox, Room, Task, TaskObject, ViewRange, expect
from kalm_sim.tasks.coffee_machine import (
    LEVER,
    LEVER_RANGE,
    CoffeeMachineParameters,
    draw_coffee_machine,
)

BODY, HINGE = "coffee_machine", "lever_hinge"
ENOUGH = float(np.radians(45.0))
"""A lever at this angle counts as lifted [rad]."""
_DARK, _STEEL = "0.07 0.07 0.08 1", "0.62 0.63 0.65 1"


class HandleTask(Task):
    """Lift the lever of the coffee machine."""

    name = "handle"
    sentence = "lift the handle of the coffee machine"
    skill = "lift_handle"
    object_name, part_name = "coffee machine", "handle"
    measure, enough = "angle of the handle [rad]", ENOUGH
    room = Room(on_top=False, beside=(0.08, 0.22), along=(0.04, 0.38))
    view = ViewRange(distance=(0.36, 0.56), elevation=(8.0, 45.0))
    joints = (HINGE,)

    def draw(self, rng: np.random.Generator, instances: Instances) -> TaskObject:
        """Draw a machine and where it stands."""
        return draw_coffee_machine(rng, instances)

    def meshes(self, target: TaskObject) -> dict[str, Mesh]:
        """Return column, head and foot."""
        m = _machine(target)
        column_x = max(m.column_x, 0.0)
        return {
            "shape_0": block(
                (m.depth - column_x) / 2,
                m.width / 2 * (1.0 if m.style != "tower" else 0.94),
                m.height + m.tank_height,
                m.exponent,
                0.010,
            ),
            "shape_1": block(m.head_depth / 2, _head_half(m), m.head_height, m.exponent, 0.012),
            "shape_2": block(
                m.depth / 2 - 0.01, m.width / 2 * 0.96, 0.028, min(m.exponent, 6.0), 0.006
            ),
        }

    def build(self, world: ET.Element, contact: ET.Element, target: TaskObject) -> None:
        """Add the machine, which stands fast, and its lever on a hinge."""
        m = _machine(target)
        body = add(
            world,
            "body",
            name=BODY,
            pos=numbers((m.x, m.y, 0)),
            euler=numbers((0, 0, m.yaw)),
        )
        self._add_body(body, m)
        lever = add(body, "body", name=LEVER, pos=numbers(m.hinge))
        add(
            lever,
            "joint",
            name=HINGE,
            type="hinge",
            axis="0 1 0",
            range=numbers(LEVER_RANGE),
            limited="true",
            damping="0.02",
            frictionloss=f"{m.lever.friction:.6g}",
            armature="0.0005",
        )
        _add_lever(lever, m)
        add(contact, "exclude", body1=BODY, body2=LEVER)

    def _add_body(self, body: ET.Element, m: CoffeeMachineParameters) -> None:
        shell = {"material": m.finish, "rgba": color(m.body_color)}
        head = {"material": m.finish, "rgba": color(m.head_color)}
        column_x, top = max(m.column_x, 0.0), m.height - m.head_height
        places = (
            ("shape_0", ((m.depth + column_x) / 2, 0, 0), shell),
            ("shape_1", (m.head_depth / 2, 0, top), head),
            ("shape_2", (m.depth / 2, 0, 0), shell),
        )
        for mesh, position, look in places:
            add(body, "geom", type="mesh", mesh=mesh, pos=numbers(position), **look)
        tray_x = column_x / 2 + 0.012
        rod(body, (tray_x, 0, 0.026), (tray_x, 0, 0.0295), 0.036, "cylinder", rgba=_DARK)
        rod(body, (tray_x, 0, 0.0295), (tray_x, 0, 0.0300), 0.031, "cylinder", rgba=_STEEL)
        rod(body, (tray_x, 0, top - 0.018), (tray_x, 0, top + 0.01), 0.014, "cylinder", rgba=_DARK)
        for y in (-0.007, 0.007):
            rod(body, (tray_x, y, top - 0.03), (tray_x, y, top), 0.0045, "cylinder", rgba=_STEEL)
        w = _head_half(m)
        for k, y in enumerate((-0.45 * w, 0.0, 0.45 * w)):  # buttons
            z, lit = top + 0.022, "0.9 0.92 0.95 1" if k == 1 else _STEEL
            rod(body, (0.004, y, z), (-0.0015, y, z), 0.0055, "cylinder", rgba=lit)
        hinge, reach = m.hinge, min(m.lever.length / 2, w * 0.8)
        for y in (-reach, reach):  # the bearing
            half = (0.009, 0.005, m.lever.rise / 2 + 0.004)
            middle = (hinge[0], y * 0.55, m.height + m.lever.rise / 2 - 0.002)
            box(body, middle, half, "satin", rgba=_DARK)

    def look_at(self, target: TaskObject) -> Array:
        """Return a point in the upper half of the machine's front."""
        m = _machine(target)
        return np.array([0.02, 0.0, m.height - 0.05])

    def look_points(self, target: TaskObject) -> Array:
        """Return the corners of the head and of the lever."""
        m = _machine(target)
        lever, w = m.lever, m.width / 2
        grip = [
            (-lever.standoff - 0.01, y, m.height) for y in (-lever.length / 2, lever.length / 2)
        ]
        top, low = m.height + lever.rise, m.height - m.head_height
        return np.array(
            [*grip, *((x, y, z) for x in (0, 0.1) for y in (-w, w) for z in (low, top))]
        )

    def boxes(self, target: TaskObject) -> tuple[PartBox, ...]:
        """Return the lever, the head, and the whole machine."""
        m = _machine(target)
        lever, top = m.lever, m.height - m.head_height
        low = np.array([-lever.standoff - lever.thickness / 2, 0.0, m.height + lever.rise])
        low -= [0.0, lever.length / 2, lever.drop + lever.thickness / 2]
        high = m.hinge + np.array([lever.thickness, lever.length, lever.thickness]) / 2
        return (
            PartBox((low + high) / 2, (high - low) / 2),
            PartBox(
                np.array([m.head_depth / 2, 0.0, top + m.head_height / 2]),
                np.array([m.head_depth / 2, _head_half(m), m.head_height / 2]),
            ),
            PartBox(
                np.array([m.depth / 2, 0.0, m.height / 2]),
                np.array([m.depth, m.width, m.height]) / 2,
            ),
        )

    def part_poses(self, target: TaskObject, state: tuple[float, ...]) -> tuple[Array, ...]:
        """Return T_base_grip at the lever's angle."""
        return (_machine(target).T_base_grip(state[0]),)

    def is_part(self, body: str, material: str) -> bool:
        """Tell whether a geom is of the lever."""
        return body == LEVER


def _machine(target: TaskObject) -> CoffeeMachineParameters:
    return expect(target, CoffeeMachineParameters)  # type: ignore[no-any-return]


def _head_half(m: CoffeeMachineParameters) -> float:
    return m.width / 2 * (0.92 if m.style in {"tower", "block"} else 1.0)


def _add_lever(body: ET.Element, m: CoffeeMachineParameters) -> None:
    """Add the lever in the frame of its hinge."""
    lever, grip = m.lever, m.grip
    look = {
        **GRIP,
        "material": "chrome" if lever.metallic else "satin",
        "rgba": color(lever.color),
        "density": "900",
    }
    half, radius = lever.length / 2, lever.thickness / 2
    knee = np.array([grip[0] + 0.6 * lever.standoff, 0.0, 0.0])  # past the edge of the head
    rod(body, (0, -half * 0.5, 0), (0, half * 0.5, 0), 0.006, "cylinder", **look)
    if lever.shape == "paddle":
        middle, reach = knee / 2, abs(knee[0]) / 2
        box(body, middle, (reach, 0.015, 0.004), look["material"], **_without_material(look))
        rod(body, knee, grip, 0.0045, **look)
        across = np.array([0.0, half, 0.0])
        rod(body, grip - across, grip + across, radius, "cylinder", name="lever_grip", **look)
        return
    sides = {"u_bar": (1.0, 1.0), "bow": (0.55, 1.0), "tee": (0.0, 0.0)}[lever.shape]
    arm = radius * (0.95 if lever.shape == "tee" else 0.7)
    for side in (-1, 1) if lever.shape != "tee" else (0,):
        start = np.array([0.0, side * sides[0] * half, 0.0])
        shift = np.array([0.0, side * sides[1] * half, 0.0])
        for a, b in itertools.pairwise((start, knee + shift, grip + shift)):
            rod(body, a, b, arm, **look)
    if lever.shape == "u_bar":
        rod(body, (0, -half, 0), (0, half, 0), 0.006, "cylinder", **look)
    across = np.array([0.0, half, 0.0])
    rod(body, grip - across, grip + across, radius, name="lever_grip", **look)


def _without_material(look: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in look.items() if key != "material"}
