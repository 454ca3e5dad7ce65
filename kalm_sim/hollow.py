"""A hollow thing: a smooth shell to look at and a ring of hidden boxes to touch.

MuJoCo touches a mesh by its convex hull, which would close a bowl.
"""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np

from kalm_core.se3 import make_pose
from kalm_sim.camera import pose_attributes
from kalm_sim.mjcf_element import add, numbers

HIDDEN = "3"
"""Group of geoms that are touched and not seen."""


@dataclass(frozen=True)
class Look:
    """How a shell looks.

    Attributes:
        mesh: name of the mesh.
        material: name of the material.
        rgba: colour as MJCF writes it.
    """

    mesh: str
    material: str
    rgba: str


def add_walls(
    body: ET.Element,
    outline: list[tuple[float, float]],
    half: tuple[float, float],
    look: Look,
    exponent: float = 2.0,
    *,
    wall: float,
    sectors: int,
) -> None:
    """Add a vessel to a body, its foot at the body's origin, open towards z.

    Args:
        body: where to.
        outline: (scale, z [m]) from the outer edge of the foot to the rim.
        half: half axes along x and y at scale 1 [m].
        look: of the shell.
        exponent: of the cross-section's superellipse.
        wall: thickness of the hidden walls [m]; the shell has its own.
        sectors: boxes around.
    """
    add(
        body,
        "geom",
        type="mesh",
        mesh=look.mesh,
        material=look.material,
        rgba=look.rgba,
        contype="0",
        conaffinity="0",
        mass="0",
    )
    hidden = {"group": HIDDEN, "mass": "0.001", "friction": "0.5 0.005 0.0001"}
    foot = outline[0][0]
    add(
        body,
        "geom",
        type="box",
        pos=numbers((0, 0, wall / 2)),
        size=numbers((foot * half[0], foot * half[1], wall / 2)),
        **hidden,
    )
    angle = np.linspace(0.0, 2 * np.pi, sectors + 1) + np.pi / sectors
    c, s = np.cos(angle), np.sin(angle)
    ring = np.stack(
        [
            half[0] * np.sign(c) * np.abs(c) ** (2 / exponent),
            half[1] * np.sign(s) * np.abs(s) ** (2 / exponent),
        ],
        axis=1,
    )
    levels = outline[:: max(1, len(outline) // 3)]
    if levels[-1] != outline[-1]:
        levels = [*levels, outline[-1]]
    for (low, z_low), (high, z_high) in itertools.pairwise(levels):
        if z_high - z_low < 1e-4:
            continue
        for i in range(sectors):
            corners = np.array(
                [
                    (*(low * ring[i]), z_low),
                    (*(low * ring[i + 1]), z_low),
                    (*(high * ring[i]), z_high),
                    (*(high * ring[i + 1]), z_high),
                ]
            )
            _add_panel(body, corners, wall, hidden)


def _add_panel(
    body: ET.Element,
    corners: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    wall: float,
    hidden: dict[str, str],
) -> None:
    """Add a box inside four corners: lower pair, upper pair."""
    along = (corners[1] - corners[0] + corners[3] - corners[2]) / 2
    up = (corners[2] - corners[0] + corners[3] - corners[1]) / 2
    width = max(np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[2]))
    x = along / np.linalg.norm(along)
    up = up - (up @ x) * x
    height = float(np.linalg.norm(up))
    y = up / height
    out = np.cross(x, y)  # counter-clockwise around z: outwards
    pose = make_pose(np.stack([x, y, out], axis=1), corners.mean(axis=0) - out * wall / 2)
    size = numbers((float(width) / 2 + 0.001, height / 2 + 0.001, wall / 2))
    add(body, "geom", type="box", size=size, **pose_attributes(pose), **hidden)
