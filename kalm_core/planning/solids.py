"""Convex solids around the arm's links, each a little larger than what it holds.

A hull fills a link's hollows; a link that is bent, as the long one before the wrist, gets two
solids, else a folded arm that touches nothing would be refused.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

from kalm_core.errors import ConfigError
from kalm_core.se3 import Array

GROWTH = 0.0025
"""Solids are this much larger than the arm [m]: half of the longest way between two checks."""

_PLANES = 64  # that bound a solid, at most
_APART = np.cos(np.radians(8.0))  # normals nearer to each other bound the same side

_SAVED = 0.15  # a link is cut in two when that takes this share of its hull away
_CUTS = np.linspace(0.2, 0.8, 9)  # where along a direction a cut is tried
_DIRECTIONS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [0, 1, -1], [1, 0, 1],
                        [1, 0, -1], [1, 1, 0], [1, -1, 0]])  # fmt: skip


@lru_cache(maxsize=4)
def link_solids(urdf: str, meshes: Path) -> dict[str, list[bytes]]:
    """Return link -> solids around all its collision and visual shapes, in the link's frame.

    The maker's collision meshes alone are smaller than the arm: up to 5 mm at the flange.

    Args:
        urdf: text of the arm's URDF.
        meshes: folder that its file names start from.

    Returns:
        One or two convex meshes a link, as binary STL.

    Raises:
        ConfigError: a mesh cannot be read, or is flat.
    """
    collision, visual = _triangles(urdf, meshes)
    solids = {}
    for name in {**collision, **visual}:
        shapes = [kind[name] for kind in (collision, visual) if name in kind]
        try:
            pieces = _pieces(shapes[0], np.concatenate(shapes))
            solids[name] = [_stl(_grown(points)) for points in pieces]
        except QhullError as error:
            raise ConfigError(
                f"the shapes of {name} in the arm's URDF enclose no volume", "correct its meshes"
            ) from error
    return solids


def corners(shape: Any) -> Array:
    """Return the corners (N, 3) [m] of a box or a mesh of coal.

    Raises:
        ConfigError: it is something else.
    """
    if hasattr(shape, "halfSide"):
        signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3), axis=-1).reshape(-1, 3)
        return np.asarray(signs * np.asarray(shape.halfSide))
    for name in ("vertices", "points"):  # of a mesh, of a convex solid
        if hasattr(shape, name):
            return np.array(getattr(shape, name)(), dtype=np.float64)
    raise ConfigError(
        f"the arm's URDF has a shape of the kind {type(shape).__name__}", "use boxes and meshes"
    )


def _triangles(urdf: str, meshes: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return link -> triangles (T, 3, 3) [m] of its collision shapes, and of its visual ones."""
    import pinocchio as pin

    model = pin.buildModelFromXML(urdf)
    found: list[dict[str, Array]] = []
    for kind in (pin.COLLISION, pin.VISUAL):
        try:
            shapes = pin.buildGeomFromUrdfString(model, urdf, kind, package_dirs=[str(meshes)])
        except Exception as error:  # of assimp, by way of pinocchio
            raise ConfigError(
                f"the meshes of the arm's URDF cannot be read: {error}", "correct their file names"
            ) from error
        parts: dict[str, list[Array]] = {}
        for shape in shapes.geometryObjects:
            frame = model.frames[shape.parentFrame]
            placement = frame.placement.inverse() * shape.placement
            ends = corners(shape.geometry) @ placement.rotation.T + placement.translation
            parts.setdefault(frame.name, []).append(ends[_facets(shape.geometry, ends)])
        found.append({name: np.concatenate(lists) for name, lists in parts.items()})
    return found[0], found[1]


def _facets(shape: Any, ends: Array) -> Any:
    """Return (T, 3) indices of the corners of each triangle of a shape."""
    if not hasattr(shape, "tri_indices"):
        return ConvexHull(ends).simplices
    triangles = [shape.tri_indices(k) for k in range(shape.num_tris)]
    return np.array([(t[0], t[1], t[2]) for t in triangles])


def _pieces(coarse: Array, triangles: Array) -> list[Array]:
    """Return the points of the one or two solids that shall hold (T, 3, 3) triangles.

    Where to cut is chosen on `coarse` (C, 3, 3), few triangles of about the same shape.
    """
    whole = ConvexHull(coarse.reshape(-1, 3)).volume
    smallest, chosen = (1 - _SAVED) * whole, None
    for direction in _DIRECTIONS / np.linalg.norm(_DIRECTIONS, axis=1, keepdims=True):
        along = coarse @ direction
        for offset in along.min() + _CUTS * (along.max() - along.min()):
            plane = (direction, float(offset))
            try:
                volume = sum(ConvexHull(half).volume for half in _halves(coarse, *plane))
            except QhullError:  # a half is flat
                continue
            if volume < smallest:
                smallest, chosen = volume, plane
    return [triangles.reshape(-1, 3)] if chosen is None else _halves(triangles, *chosen)


def _halves(triangles: Array, direction: Array, offset: float) -> list[Array]:
    """Return the corners (N, 3) of what lies on either side of a plane, cut edges included."""
    start = triangles.reshape(-1, 3)
    end = np.roll(triangles, -1, axis=1).reshape(-1, 3)
    here, there = start @ direction - offset, end @ direction - offset
    crosses = here * there < 0
    share = (here[crosses] / (here[crosses] - there[crosses]))[:, None]
    cut = start[crosses] + share * (end[crosses] - start[crosses])
    return [np.concatenate([start[side], cut]) for side in (here <= 0, here >= 0)]


def _grown(points: Array) -> Array:
    """Return the triangles (T, 3, 3) of a polytope around points (N, 3) [m].

    Its planes are parallel to the largest faces of the points' hull and `GROWTH` outside of it, so
    that it holds a ball of that radius around every point.
    """
    hull = ConvexHull(points)
    a, b, c = (hull.points[hull.simplices[:, k]] for k in range(3))
    size = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen: list[Array] = []
    for k in np.argsort(-size, kind="stable"):
        normal = hull.equations[k, :3]
        if not chosen or (np.stack(chosen) @ normal).max() < _APART:
            chosen.append(normal)
        if len(chosen) == _PLANES:
            break
    normals = np.stack(chosen)
    offset = (hull.points[hull.vertices] @ normals.T).max(axis=0) + GROWTH
    inside = hull.points[hull.vertices].mean(axis=0)
    grown = HalfspaceIntersection(np.column_stack([normals, -offset]), inside).intersections
    solid = ConvexHull(grown)
    triangles = solid.points[solid.simplices]
    outward = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    inverted = np.einsum("ij,ij->i", outward, solid.equations[:, :3]) < 0
    triangles[inverted] = triangles[inverted][:, ::-1]
    return np.asarray(triangles)


def _stl(triangles: Array) -> bytes:
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    facets = np.zeros(len(triangles), record)
    facets["corners"] = triangles
    return bytes(80) + len(triangles).to_bytes(4, "little") + facets.tobytes()
