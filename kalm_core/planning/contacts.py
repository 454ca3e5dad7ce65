"""Which link touches what and where: for error texts, and as a second opinion in the tests.

Uses pinocchio and coal directly, independently of the planner's own checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull

from kalm_core.planning.obstacles import Obstacles
from kalm_core.planning.robot_body import CAMERA_LINK
from kalm_core.planning.solids import corners
from kalm_core.se3 import Array

FINGERS = ("fr3_leftfinger", "fr3_rightfinger")
_ARM_JOINTS = 7
_VOXELS, _TOUCHABLE, _FLOOR = "voxels", "touchable", "floor"


@dataclass(frozen=True)
class Contact:
    """Where the arm touches itself or something.

    Attributes:
        link: the link that touches.
        other: the other link, "obstacle" or "the floor".
        point: (3,) where, in the base frame [m].
        depth: how deep [m]; 0 where the checker does not say.
    """

    link: str
    other: str
    point: Array
    depth: float

    def __str__(self) -> str:
        """Say it in plain words."""
        if self.other not in ("obstacle", "the floor"):
            return f"link {self.link} touches link {self.other}"
        x, y, z = self.point
        return f"link {self.link}, {self.other} at ({x:.2f}, {y:.2f}, {z:.2f})"


class ContactFinder:
    """Collision geometry of arm and obstacles in pinocchio.

    Attributes:
        allowed: pairs of links whose contact means nothing.
    """

    def __init__(self, urdf_text: str, meshes: Path) -> None:
        import pinocchio as pin

        self._pin: Any = pin
        self._model: Any = pin.buildModelFromXML(urdf_text)
        self._geometry: Any = pin.buildGeomFromUrdfString(
            self._model, urdf_text, pin.COLLISION, package_dirs=[str(meshes)]
        )
        frames = [f.name for f in self._model.frames]
        self.allowed = [FINGERS]  # closed fingers touch
        if CAMERA_LINK in frames:
            self.allowed += [(CAMERA_LINK, finger) for finger in FINGERS]
        self._robot = list(range(len(self._geometry.geometryObjects)))
        self._links = [frames[o.parentFrame] for o in self._geometry.geometryObjects]
        self._self_pairs = [
            (i, j) for i in self._robot for j in self._robot if i < j and self._matters(i, j)
        ]
        self._planes = [_planes(o.geometry) for o in self._geometry.geometryObjects]
        self._obstacle_ids: list[int] = []
        self._obstacles: tuple[Obstacles, Obstacles] | None = None
        self._rebuild()

    def _matters(self, i: int, j: int) -> bool:
        a, b = (self._geometry.geometryObjects[k].parentJoint for k in (i, j))
        if a == b or self._model.parents[a] == b or self._model.parents[b] == a:
            return False
        pair = {self._links[i], self._links[j]}
        return all(pair != set(names) for names in self.allowed)

    def set_obstacles(self, obstacles: Obstacles, touchable: Obstacles) -> None:
        """Replace all obstacles, and those that only the fingers may touch."""
        import coal

        wanted = (obstacles, touchable)
        if self._obstacles is not None and all(
            a is b for a, b in zip(wanted, self._obstacles, strict=True)
        ):
            return
        self._obstacles = wanted
        for name in (_VOXELS, _TOUCHABLE, _FLOOR):
            if self._geometry.existGeometryName(name):
                self._geometry.removeGeometryObject(name)
        shapes: list[tuple[str, Any, Any]] = []
        for name, voxels in ((_VOXELS, obstacles), (_TOUCHABLE, touchable)):
            if len(voxels):
                tree = coal.makeOctree(voxels.centers, voxels.voxel_size)
                shapes.append((name, tree, self._pin.SE3.Identity()))
        if obstacles.floor is not None:
            below = self._pin.SE3(np.eye(3), np.array([0.0, 0.0, obstacles.floor - 0.5]))
            shapes.append((_FLOOR, coal.Box(6.0, 6.0, 1.0), below))
        self._obstacle_ids = [
            self._geometry.addGeometryObject(self._pin.GeometryObject(name, 0, 0, placement, shape))
            for name, shape, placement in shapes
        ]
        self._rebuild()

    def _rebuild(self) -> None:
        self._geometry.removeAllCollisionPairs()
        objects = self._geometry.geometryObjects
        movable = [i for i in self._robot if objects[i].parentJoint > 0]
        pairs = self._self_pairs + [
            (i, k)
            for k in self._obstacle_ids
            for i in movable
            if not (objects[k].name == _TOUCHABLE and self._links[i] in FINGERS)
        ]
        for i, j in pairs:
            self._geometry.addCollisionPair(self._pin.CollisionPair(i, j))
        self._data: Any = self._model.createData()
        self._geometry_data: Any = self._geometry.createData()
        for request in self._geometry_data.collisionRequests:
            request.enable_contact = True

    def first_contact(self, q: Array, gripper: float) -> Contact | None:
        """Return the first contact at joints q (7,) [rad] and finger opening [m]; None if free."""
        full = np.concatenate([q, [gripper / 2, gripper / 2]])
        touched = self._pin.computeCollisions(
            self._model, self._data, self._geometry, self._geometry_data, full, True
        )
        if not touched:
            return None
        index = self._geometry_data.activeCollisionPairs
        for k, pair in enumerate(self._geometry.collisionPairs):
            result = self._geometry_data.collisionResults[k]
            if not (index[k] and result.isCollision()):
                continue
            found = result.getContact(0)
            other = (
                self._links[pair.second]
                if pair.second < len(self._links)
                else _WORDS[self._geometry.geometryObjects[pair.second].name]
            )
            return Contact(
                self._links[pair.first],
                other,
                np.array(found.pos, dtype=np.float64),
                _finite(abs(float(found.penetration_depth))),
            )
        raise AssertionError("pinocchio reports a contact and names no pair")

    def touches(self, q: Array, gripper: float) -> bool:
        """Tell whether the arm at joints q (7,) touches itself, the floor, or comes near a point.

        It is exact where the check of the voxels is not: a solid is near a point if the point lies
        in the solid with all of its sides moved outwards by the obstacles' clearance.
        """
        full = np.concatenate([q, [gripper / 2, gripper / 2]])
        self._pin.updateGeometryPlacements(
            self._model, self._data, self._geometry, self._geometry_data, full
        )
        for k, pair in enumerate(self._geometry.collisionPairs):
            name = self._geometry.geometryObjects[pair.second].name
            if name in (_VOXELS, _TOUCHABLE):
                continue
            if self._pin.computeCollision(self._geometry, self._geometry_data, k):
                return True
        assert self._obstacles is not None
        return any(
            self._near(i, seen)
            for seen, touchable in zip(self._obstacles, (False, True), strict=True)
            for i in self._robot
            if len(seen)
            and self._geometry.geometryObjects[i].parentJoint > 0
            and not (touchable and self._links[i] in FINGERS)
        )

    def _near(self, solid: int, seen: Obstacles) -> bool:
        assert seen.points is not None
        distance = seen.clearance
        placement = self._geometry_data.oMg[solid]
        planes, low, high = self._planes[solid]
        middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2 + 2 * distance
        within = seen.point_tree.query_ball_point(placement.act(middle), radius)
        local = (seen.points[within] - placement.translation) @ placement.rotation
        local = local[((local > low - distance) & (local < high + distance)).all(axis=1)]
        outside = (local @ planes[:, :3].T + planes[:, 3]).max(axis=1, initial=-np.inf)
        return bool((outside < distance).any())

    def link_points(self, count: int) -> list[tuple[str, int, Array]]:
        """Return (link, joint, (<= count, 3) points in the joint's frame [m]) of every solid.

        The joint is the one of 1 to 7 that carries the solid; closed fingers are carried by 7, and
        the base link is left out. Points lie on the surface, spread out: corners of a box, vertices
        of a mesh.
        """
        found = []
        for geometry, link in zip(self._geometry.geometryObjects, self._links, strict=False):
            if geometry.parentJoint == 0:
                continue
            points = corners(geometry.geometry)
            placement, joint = geometry.placement, int(geometry.parentJoint)
            if joint > _ARM_JOINTS:
                placement = self._model.jointPlacements[joint] * placement
                joint = int(self._model.parents[joint])
            points = points @ placement.rotation.T + placement.translation
            found.append((link, joint, _spread(points, count)))
        return found


_WORDS = {_VOXELS: "obstacle", _TOUCHABLE: "obstacle", _FLOOR: "the floor"}


def _planes(shape: Any) -> tuple[Array, Array, Array]:
    """Return (F, 4) planes (normal, minus offset) of a convex solid, and its two far corners."""
    ends = corners(shape)
    return ConvexHull(ends).equations, ends.min(axis=0), ends.max(axis=0)


def _finite(value: float) -> float:
    return value if np.isfinite(value) else 0.0


def _spread(points: Array, count: int) -> Array:
    """Return up to `count` of (N, 3) points, each the farthest from those before."""
    if len(points) <= count:
        return points
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]
