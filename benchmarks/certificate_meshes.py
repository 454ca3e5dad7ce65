"""Do two links of the arm overlap, triangle by triangle? For the dense checker.

MuJoCo takes each mesh as its hull, which fills the hollow of a bent link: a wrist that is folded
into it overlaps with the hull and touches nothing.
"""

from __future__ import annotations

from typing import Any

import coal
import numpy as np
import pinocchio as pin

from kalm_core.planning.robot_model import default_urdf
from kalm_core.se3 import Array

_LINKS = {"hand": "fr3_hand", "left_finger": "fr3_leftfinger", "right_finger": "fr3_rightfinger"}
"""Where franky-sim's body has another name than the link in its URDF."""


class LinkMeshes:
    """All meshes of the arm's URDF, those for contacts and the visible ones, as they are."""

    def __init__(self) -> None:
        urdf = default_urdf()
        self._model: Any = pin.buildModelFromUrdf(str(urdf))
        self._data: Any = self._model.createData()
        self._parts: dict[str, list[tuple[Any, Any, Any]]] = {}  # link -> joint, placement, shape
        for kind in (pin.COLLISION, pin.VISUAL):
            shapes = pin.buildGeomFromUrdf(
                self._model, str(urdf), kind, package_dirs=[str(urdf.parent)]
            )
            for shape in shapes.geometryObjects:
                link = self._model.frames[shape.parentFrame].name
                part = (shape.parentJoint, shape.placement, shape.geometry)
                self._parts.setdefault(link, []).append(part)

    def distance(self, one: str, other: str, q: Array, width: float) -> float:
        """Return how far two bodies of franky-sim are apart [m]; 0 where they overlap.

        Args:
            one: name of a body.
            other: of another one.
            q: (7,) joints [rad].
            width: of the gripper's opening [m].
        """
        pin.forwardKinematics(self._model, self._data, np.concatenate([q, [width / 2] * 2]))
        least = np.inf
        for a in self._placed(one):
            for b in self._placed(other):
                found = coal.distance(*a, *b, coal.DistanceRequest(), coal.DistanceResult())
                least = min(least, max(float(found), 0.0))
                if least == 0.0:
                    return 0.0
        return least

    def _placed(self, body: str) -> list[tuple[Any, Any]]:
        placed = []
        for joint, placement, shape in self._parts[_LINKS.get(body, body)]:
            T = self._data.oMi[joint] * placement
            placed.append((shape, coal.Transform3s(T.rotation, T.translation)))
        return placed
