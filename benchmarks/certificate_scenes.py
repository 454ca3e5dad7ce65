"""Scenes for the benchmarks of planning: solids on a table, or the drawer's cabinet, and points.

The planner is shown points on the whole surface of every solid, as if seen from everywhere: what a
camera does not see is a limit of the image, not of the certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from kalm_core.se3 import Array, make_pose, transform_points
from kalm_sim.posed_scene import ROBOT, PosedScene
from kalm_sim.scene import draw_scene

SPACING = 0.003
"""Points on a surface are no farther apart along it [m]."""
REACH = 1.0
"""Nothing farther from the base matters [m]."""
SHOWN = 1.35
"""Surfaces nearer to the base than this [m] are shown to the certificate; no link gets farther."""

Kind = Literal["box", "cylinder", "capsule"]
_KINDS: dict[int, Kind] = {
    int(mujoco.mjtGeom.mjGEOM_BOX): "box",
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): "cylinder",
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
}


@dataclass(frozen=True)
class Solid:
    """A solid that stands fast.

    Attributes:
        kind: what it is.
        size: (3,) as in MuJoCo: half sides of a box; radius and half length of the others [m].
        T_base_solid: (4, 4); a cylinder and a capsule lie along z.
    """

    kind: Kind
    size: Array
    T_base_solid: Array


@dataclass(frozen=True)
class World:
    """A scene and what is done in it.

    Attributes:
        solids: all of them, the table first.
        keypoints: (8, 3) where the fingers may touch [m].
        target: (3,) where the hand reaches [m].
    """

    solids: tuple[Solid, ...]
    keypoints: Array
    target: Array


TABLE = Solid("box", np.array([0.78, 0.72, 0.02]), make_pose(np.eye(3), (0.42, 0.0, -0.02)))


def draw_tabletop(rng: np.random.Generator, fewest: int = 3, most: int = 12) -> World:
    """Draw boxes, cylinders and rods on the table; one of them is reached for."""
    solids = [TABLE]
    while len(solids) <= rng.integers(fewest, most + 1):
        kind: Kind = "box" if rng.random() < 0.5 else "cylinder"
        size = rng.uniform([0.015, 0.015, 0.02], [0.07, 0.07, 0.16])
        if rng.random() < 0.1:  # a rod
            kind, size = "cylinder", rng.uniform([0.002, 0.1, 0.0], [0.008, 0.25, 0.0])
        height = size[2] if kind == "box" else size[1] if size[2] == 0.0 else size[2]
        size = size if kind == "box" else np.array([min(size[0], 0.05), height, 0.0])
        x, y = rng.uniform([0.25, -0.5], [0.8, 0.5])
        if np.hypot(x, y) > 0.3:
            turn = Rotation.from_euler("z", rng.uniform(-np.pi, np.pi)).as_matrix()
            solids.append(Solid(kind, size, make_pose(turn, (x, y, height + 0.0005))))
    aim = solids[1].T_base_solid[:3, 3] * [1.0, 1.0, 2.0]
    keypoints = aim + rng.uniform(-0.02, 0.02, (8, 3))
    return World(tuple(solids), keypoints, aim)


def draw_cabinet(seed: int) -> World:
    """Draw a scene of the drawer with its clutter, the drawers closed; the top one is pulled."""
    scene = draw_scene(seed)
    posed = PosedScene(scene)
    posed.pose(np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.9, 0.785]))
    model, data = posed.model, posed.data
    solids = []
    for k in range(model.ngeom):
        name = model.body(model.geom_bodyid[k]).name
        kind = _KINDS.get(int(model.geom_type[k]))
        if name.startswith(ROBOT) or kind is None or not model.geom_contype[k]:
            continue
        T = make_pose(data.geom_xmat[k].reshape(3, 3), data.geom_xpos[k].copy())
        size = np.array(model.geom_size[k])
        away = np.linalg.norm(T[:3, 3]) - np.linalg.norm(size)
        if away < REACH and T[2, 3] + size.max() > 0.0:
            solids.append(Solid(kind, size, T))
    bar = data.geom("top_handle_bar")
    aim, along = bar.xpos.copy(), bar.xmat.reshape(3, 3)
    long = 1 if model.geom("top_handle_bar").type[0] == mujoco.mjtGeom.mjGEOM_BOX else 2
    keypoints = aim + np.linspace(-0.04, 0.04, 8)[:, None] * along[:, long]
    return World(tuple(solids), keypoints, aim)


def surface_points(solids: tuple[Solid, ...]) -> Array:
    """Return (N, 3) points [m] of all surfaces within reach, at most `SPACING` apart.

    What is below the top of the table is left out: only through the table does the arm get there.
    """
    parts = [_placed(s.kind, tuple(s.size), s.T_base_solid.tobytes()) for s in solids]
    return np.concatenate(parts)


@lru_cache(maxsize=128)
def _placed(kind: Kind, size: tuple[float, float, float], pose: bytes) -> Array:
    points = transform_points(np.frombuffer(pose).reshape(4, 4), _surface(kind, size))
    points = points[points[:, 2] > -0.001]
    return np.asarray(points[np.linalg.norm(points, axis=1) < SHOWN])


def _surface(kind: Kind, size: tuple[float, float, float]) -> Array:
    a, b, _ = size
    if kind == "box":
        faces = []
        for axis, other in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
            u, v = (_line(-size[k], size[k]) for k in other)
            grid = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
            for sign in (-1.0, 1.0):
                face = np.full((len(grid), 3), sign * size[axis])
                face[:, other] = grid
                faces.append(face)
        return np.concatenate(faces)
    rings = [_ring(a, z) for z in _line(-b, b)]
    for sign in (-1.0, 1.0):
        if kind == "cylinder":
            rings += [_ring(r, sign * b) for r in _line(0.0, a)]
        else:
            for angle in _line(0.0, a * np.pi / 2) / a:
                rings.append(_ring(a * np.cos(angle), sign * (b + a * np.sin(angle))))
    return np.concatenate(rings)


def _line(low: float, high: float) -> Array:
    return np.linspace(low, high, max(2, int(np.ceil((high - low) / SPACING)) + 1))


def _ring(radius: float, z: float) -> Array:
    angle = np.linspace(0.0, 2 * np.pi, max(4, int(np.ceil(2 * np.pi * radius / SPACING)) + 1))
    ring = [radius * np.cos(angle), radius * np.sin(angle), np.full(len(angle), z)]
    return np.stack(ring, axis=1)[:-1]
