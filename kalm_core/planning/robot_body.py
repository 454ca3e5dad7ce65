"""The arm's solid shape, for every collision checker: its links' hulls and the wrist camera."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy.spatial import ConvexHull, HalfspaceIntersection
from scipy.spatial.transform import Rotation

from kalm_core.errors import ConfigError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.se3 import Array
from kalm_core.settings import Settings

CAMERA_LINK = "wrist_camera"

GROWTH = 0.0025
"""Solids are this much larger than the arm [m]: half of the longest way between two checks."""

_PLANES = 64  # that bound a solid, at most
_APART = np.cos(np.radians(8.0))  # normals nearer to each other bound the same side


class CameraBodySettings(Settings):
    """The camera in the hand as a box, so that it does not hit what the hand passes."""

    size: tuple[float, float, float] = Field(
        (0.092, 0.028, 0.028),
        description="extent along the optical frame's x, y, z; all 0: no camera [m]",
    )
    center: tuple[float, float, float] = Field(
        (0.0, 0.0, -0.012), description="centre of the box in the optical frame [m]"
    )


def body_urdf(
    urdf: Path, tool_frame: str, camera: CameraBodySettings, hand_eye: HandEyeSettings
) -> str:
    """Return the URDF's text with the camera's box fixed to the tool frame."""
    root = ET.parse(urdf).getroot()
    if min(camera.size) <= 0:
        return ET.tostring(root, encoding="unicode")
    T: Array = hand_eye.T_ee_cam
    link = ET.SubElement(root, "link", name=CAMERA_LINK)
    collision = ET.SubElement(link, "collision", name=f"{CAMERA_LINK}_collision")
    ET.SubElement(collision, "origin", xyz=_text(camera.center), rpy="0 0 0")
    geometry = ET.SubElement(collision, "geometry")
    ET.SubElement(geometry, "box", size=_text(camera.size))
    joint = ET.SubElement(root, "joint", name=f"{CAMERA_LINK}_joint", type="fixed")
    ET.SubElement(joint, "parent", link=tool_frame)
    ET.SubElement(joint, "child", link=CAMERA_LINK)
    # URDF's roll, pitch, yaw turn about the fixed axes
    rpy = Rotation.from_matrix(T[:3, :3]).as_euler("xyz")
    ET.SubElement(joint, "origin", xyz=_text(T[:3, 3]), rpy=_text(rpy))
    return ET.tostring(root, encoding="unicode")


def _text(values: Array | tuple[float, ...]) -> str:
    return " ".join(repr(float(v)) for v in np.asarray(values))


def grown_urdf(urdf: str, meshes: Path, folder: Path) -> str:
    """Return a URDF's text with one solid a link, larger than the link by `GROWTH`.

    A solid holds the hull of all collision and visual shapes of its link. The maker's collision
    meshes alone are smaller than the arm: up to 5 mm at the flange. Visual shapes are left out of
    the text.

    Args:
        urdf: text, as of `body_urdf`.
        meshes: folder that its file names start from.
        folder: where the meshes of the solids are written; the text's file names start there.

    Raises:
        ConfigError: a mesh cannot be read.
    """
    root = ET.fromstring(urdf)
    solids = _solids(urdf, meshes)
    for link in root.iter("link"):
        for shape in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(shape)
        name = link.attrib["name"]
        if name not in solids:
            continue
        (folder / f"{name}.stl").write_bytes(solids[name])
        collision = ET.SubElement(link, "collision", name=f"{name}_collision")
        ET.SubElement(ET.SubElement(collision, "geometry"), "mesh", filename=f"{name}.stl")
        checking = ET.SubElement(link, "collision_checking")
        ET.SubElement(checking, "convex", name=f"{name}_collision")
    return ET.tostring(root, encoding="unicode")


@lru_cache(maxsize=4)
def _solids(urdf: str, meshes: Path) -> dict[str, bytes]:
    """Return link -> solid as binary STL, in the link's frame."""
    import pinocchio as pin

    model = pin.buildModelFromXML(urdf)
    points: dict[str, list[Array]] = {}
    for kind in (pin.COLLISION, pin.VISUAL):
        try:
            shapes = pin.buildGeomFromUrdfString(model, urdf, kind, package_dirs=[str(meshes)])
        except Exception as error:  # of assimp, by way of pinocchio
            raise ConfigError(
                f"the meshes of the arm's URDF cannot be read: {error}", "correct their file names"
            ) from error
        for shape in shapes.geometryObjects:
            frame = model.frames[shape.parentFrame]
            placement = frame.placement.inverse() * shape.placement
            ends = corners(shape.geometry) @ placement.rotation.T + placement.translation
            points.setdefault(frame.name, []).append(ends)
    return {name: _stl(_grown(np.concatenate(parts))) for name, parts in points.items()}


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
