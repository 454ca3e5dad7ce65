"""Table, cabinet and clutter as MJCF bodies and geoms."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from kalm_sim.clutter import ClutterItem
from kalm_sim.mjcf_element import add, find, numbers
from kalm_sim.tasks.cabinet import BOTTOM, TOP, CabinetParameters
from kalm_sim.textures import cabinet_materials

DRAWER_NAMES = {TOP: "top", BOTTOM: "bottom"}
PANEL = 0.014
FRONT_PANEL = 0.016
REVEAL = 0.006

GRIP = {
    # the grip of a rubber pad on a handle; `priority` makes the handle's values count
    "friction": "1.4 0.02 0.0005",
    "condim": "4",
    "priority": "2",
    "solref": "0.004 1",
    "solimp": "0.95 0.99 0.001",
}


def drawer_joint(drawer: int) -> str:
    """Return the name of the slide joint of a drawer."""
    return f"{DRAWER_NAMES[drawer]}_drawer"


def add_table(world: ET.Element, material: str) -> None:
    """Put the robot on a table top at z = 0 of a material, and the floor where a floor is."""
    ground = find(world, "geom[@name='ground']")
    ground.set("pos", "0 0 -0.76")
    ground.set("material", "floor")
    box(world, (0.42, 0, -0.02), (0.78, 0.72, 0.02), material, name="table")
    for x in (-0.3, 1.14):
        for y in (-0.66, 0.66):
            box(world, (x, y, -0.4), (0.03, 0.03, 0.36), "metal")
    box(world, (2.4, 0, 0.6), (0.02, 4.0, 1.4), "wall")
    box(world, (0, 2.0, 0.6), (4.0, 0.02, 1.4), "wall")


def box(
    parent: ET.Element,
    center: Iterable[float],
    half: Iterable[float],
    material: str,
    **attributes: str,
) -> None:
    """Add a box by its centre and half sizes [m] in the parent's frame."""
    add(
        parent,
        "geom",
        type="box",
        pos=numbers(center),
        size=numbers(half),
        material=material,
        **attributes,
    )


def add_cabinet(world: ET.Element, contact: ET.Element, cabinet: CabinetParameters) -> None:
    """Add the cabinet, which stands fast, and its two drawers on slides."""
    body = add(
        world,
        "body",
        name="cabinet",
        pos=numbers((cabinet.x, cabinet.y, 0)),
        euler=numbers((0, 0, cabinet.yaw)),
    )
    _add_carcass(body, cabinet)
    for drawer in (TOP, BOTTOM):
        name = _add_drawer(body, drawer, cabinet)
        add(contact, "exclude", body1="cabinet", body2=name)
    names = [f"{DRAWER_NAMES[drawer]}_drawer_body" for drawer in (TOP, BOTTOM)]
    add(contact, "exclude", body1=names[0], body2=names[1])


def _add_carcass(body: ET.Element, cabinet: CabinetParameters) -> None:
    start = FRONT_PANEL + 0.002
    middle, half = (start + cabinet.depth) / 2, (cabinet.depth - start) / 2
    material, _ = cabinet_materials(cabinet)
    w, h, t = cabinet.width / 2, cabinet.height, PANEL / 2
    divider = sum(cabinet.drawer_span(TOP)[:1] + cabinet.drawer_span(BOTTOM)[1:]) / 2
    for y in (-w + t, w - t):
        box(body, (middle, y, h / 2), (half, t, h / 2), material)
    box(body, (middle, 0, h - t), (half, w - 2 * t, t), material)
    box(body, (middle, 0, t), (half, w - 2 * t, t), material)
    box(body, (middle, 0, divider), (half, w - 2 * t, t), material)
    box(body, (cabinet.depth - t, 0, h / 2), (t, w - 2 * t, h / 2 - 2 * t), material)


def _add_drawer(body: ET.Element, drawer: int, cabinet: CabinetParameters) -> str:
    low, high = cabinet.drawer_span(drawer)
    joint = drawer_joint(drawer)
    name = f"{joint}_body"
    slide = add(body, "body", name=name, pos=numbers((0, 0, (low + high) / 2)))
    add(
        slide,
        "joint",
        name=joint,
        type="slide",
        axis="-1 0 0",
        range=numbers((0.0, min(0.2, cabinet.depth - 0.06))),
        limited="true",
        damping="5",
        frictionloss=f"{cabinet.friction:.6g}",
    )
    half_height, half_width = (high - low) / 2, cabinet.width / 2 - REVEAL
    box(
        slide,
        (FRONT_PANEL / 2, 0, 0),
        (FRONT_PANEL / 2, half_width, half_height),
        cabinet_materials(cabinet)[1],
        density="600",
    )
    # the open box behind the front
    end = cabinet.depth - 0.03
    middle, half = (FRONT_PANEL + end) / 2, (end - FRONT_PANEL) / 2
    inner = cabinet.width / 2 - PANEL - 0.006
    bottom, wall = -half_height + 0.016, half_height * 0.65
    box(slide, (middle, 0, bottom), (half, inner, 0.003), "inside", density="600")
    for y in (-inner + 0.005, inner - 0.005):
        box(slide, (middle, y, bottom + wall), (half, 0.005, wall), "inside", density="600")
    box(slide, (end - 0.005, 0, bottom + wall), (0.005, inner, wall), "inside", density="600")
    _add_handle(slide, drawer, cabinet)
    return name


def _add_handle(slide: ET.Element, drawer: int, cabinet: CabinetParameters) -> None:
    handle = cabinet.handle
    out, radius, reach = -handle.standoff, handle.thickness / 2, handle.length / 2
    grip = {**GRIP, "material": "handle", "density": "1200"}
    bar_name = f"{DRAWER_NAMES[drawer]}_handle_bar"
    if handle.shape == "square_bar":
        size = numbers((radius, reach, radius))
        add(slide, "geom", type="box", pos=numbers((out, 0, 0)), size=size, name=bar_name, **grip)
        for y in (-reach + radius, reach - radius):
            half = (radius * 0.8, radius * 0.8, radius * 0.8)
            box(slide, (out / 2, y, 0), (-out / 2, *half[1:]), "handle", density="1200")
        return
    flat = reach if handle.shape == "round_bar" else reach * 0.62
    rod(slide, (out, -flat, 0), (out, flat, 0), radius, name=bar_name, **grip)
    foot = reach - 2 * radius if handle.shape == "round_bar" else reach
    joint = foot if handle.shape == "round_bar" else flat
    for side in (-1, 1):
        rod(slide, (out, side * joint, 0), (0.0, side * foot, 0), radius * 0.85, **grip)


def rod(
    parent: ET.Element,
    start: Iterable[float],
    end: Iterable[float],
    radius: float,
    kind: str = "capsule",
    **attributes: str,
) -> None:
    """Add a capsule or cylinder between two points [m] in the parent's frame."""
    add(
        parent,
        "geom",
        type=kind,
        fromto=numbers((*start, *end)),
        size=f"{radius:.6g}",
        **attributes,
    )


def add_clutter(world: ET.Element, index: int, item: ClutterItem) -> None:
    """Add one item that stands fast."""
    body = add(
        world,
        "body",
        name=f"clutter_{index}",
        pos=numbers((item.x, item.y, item.z)),
        euler=numbers((0, 0, item.yaw)),
    )
    material = f"clutter_{index}"
    radius, height = item.width / 2, item.height
    if item.kind == "box":
        half = (item.width / 2, item.depth / 2, height / 2)
        box(body, (0, 0, height / 2), half, material)
        return
    rod(body, (0, 0, 0), (0, 0, height), radius, "cylinder", material=material)
    if item.kind == "cylinder":  # a lid
        lid = height + 0.012
        rod(body, (0, 0, height), (0, 0, lid), radius * 0.8, "cylinder", material="lid")
        return
    inside = height + 0.0006
    rod(body, (0, 0, height), (0, 0, inside), radius * 0.88, "cylinder", material="dark")
    corners = [(radius, 0, 0.78), (radius + 0.024, 0, 0.7), (radius + 0.024, 0, 0.34)]
    points = [(x, y, z * height) for x, y, z in corners] + [(radius, 0, 0.24 * height)]
    for start, end in itertools.pairwise(points):
        rod(body, start, end, 0.006, material=material)
