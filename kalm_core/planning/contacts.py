"""Which link touches what and where: for error texts, and as a second opinion in the tests.

Uses pinocchio and coal directly, independently of the planner's own checks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kalm_core.planning.obstacles import Obstacles
from kalm_core.planning.robot_body import CAMERA_LINK
from kalm_core.se3 import Array

_FINGERS = ("fr3_leftfinger", "fr3_rightfinger")
_VOXELS, _FLOOR = "voxels", "floor"


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
        self.allowed = [_FINGERS]  # closed fingers touch
        if CAMERA_LINK in frames:
            self.allowed += [(CAMERA_LINK, finger) for finger in _FINGERS]
        self._robot = list(range(len(self._geometry.geometryObjects)))
        self._links = [frames[o.parentFrame] for o in self._geometry.geometryObjects]
        self._self_pairs = [
            (i, j) for i in self._robot for j in self._robot if i < j and self._matters(i, j)
        ]
        self._obstacle_ids: list[int] = []
        self._obstacles: Obstacles | None = None
        self._rebuild()

    def _matters(self, i: int, j: int) -> bool:
        a, b = (self._geometry.geometryObjects[k].parentJoint for k in (i, j))
        if a == b or self._model.parents[a] == b or self._model.parents[b] == a:
            return False
        pair = {self._links[i], self._links[j]}
        return all(pair != set(names) for names in self.allowed)

    def set_obstacles(self, obstacles: Obstacles) -> None:
        """Replace all obstacles."""
        import coal

        if obstacles is self._obstacles:
            return
        self._obstacles = obstacles
        for name in (_VOXELS, _FLOOR):
            if self._geometry.existGeometryName(name):
                self._geometry.removeGeometryObject(name)
        shapes: list[tuple[str, Any, Any]] = []
        if len(obstacles):
            tree = coal.makeOctree(obstacles.centers, obstacles.voxel_size)
            shapes.append((_VOXELS, tree, self._pin.SE3.Identity()))
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
        movable = [i for i in self._robot if self._geometry.geometryObjects[i].parentJoint > 0]
        pairs = self._self_pairs + [(i, k) for k in self._obstacle_ids for i in movable]
        for i, j in pairs:
            self._geometry.addCollisionPair(self._pin.CollisionPair(i, j))
        self._data: Any = self._model.createData()
        self._geometry_data: Any = self._geometry.createData()
        for request in self._geometry_data.collisionRequests:
            request.enable_contact = True

    def first_contact(self, q: Array, gripper: float) -> str | None:
        """Name the first contact at joints q (7,) [rad] and finger opening [m]; None if free."""
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
            link = self._links[pair.first]
            if pair.second < len(self._links):
                return f"link {link} touches link {self._links[pair.second]}"
            x, y, z = np.asarray(result.getContact(0).pos)
            where = f"({x:.2f}, {y:.2f}, {z:.2f})"
            kind = self._geometry.geometryObjects[pair.second].name
            return f"link {link}, {'the floor' if kind == _FLOOR else 'obstacle'} at {where}"
        return "contact not located"
