"""Is a posture of the arm free of collisions with itself and with obstacles?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm_core import fr3_limits
from kalm_core.errors import BackendUnavailableError
from kalm_core.fr3_limits import HAND_OPENING
from kalm_core.planning.contacts import FINGERS, Contact, ContactFinder
from kalm_core.planning.obstacles import Obstacles, no_obstacles
from kalm_core.planning.robot_body import grown_urdf
from kalm_core.planning.robot_model import BASE_FRAME, RobotModel
from kalm_core.se3 import Array

GROUP = "arm"
_GREY = np.array([0.5, 0.5, 0.5, 1.0])
FLANGE = "fr3_link8"
_VOXELS, _TOUCHABLE, _FLOOR = "voxels", "touchable", "floor"


class CollisionScene:
    """The arm among obstacles, checked by roboplan. Not safe to share between threads.

    A posture counts as free only when the check said so: an exception in a check means "not free",
    and its text is kept in `failures`.

    Attributes:
        scene: roboplan's scene, for its planners; group "arm" has the limits of `fr3_limits`.
        obstacles: those in the scene now that nothing may touch.
        touchable: those in the scene now that the fingers, and only they, may touch.
        failures: texts of the checks that ended in an exception.
    """

    def __init__(self, model: RobotModel, urdf_text: str) -> None:
        try:
            from roboplan import core
        except ModuleNotFoundError as error:
            raise BackendUnavailableError(
                "roboplan is not installed", "install roboplan or choose another planning backend"
            ) from error
        self._core: Any = core
        self._model = model
        with tempfile.TemporaryDirectory(prefix="kalm_solids_") as folder:
            text = grown_urdf(urdf_text, model.urdf.parent, Path(folder))
            self._finder = ContactFinder(text, Path(folder))
            description = core.loadUrdfSceneDescriptionFromXml(text, [folder])
            self.scene: Any = core.Scene("kalm", description)
        self.scene.addGroupFromChain(GROUP, BASE_FRAME, FLANGE)
        self.scene.allowAdjacentLinkCollisions()
        self.scene.setCollisions(self._finder.allowed, False)
        _set_limits(core, self.scene, model)
        self._filters: dict[float, Any] = {}
        self.obstacles = no_obstacles()
        self.touchable = no_obstacles()
        self.failures: list[str] = []
        self.gripper = 0.0
        self._row = np.zeros(8)  # joints and one finger; `np.append` costs a fifth of a check
        self.set_gripper(0.0)

    def set_gripper(self, opening: float) -> None:
        """Set the opening between the fingers [m] for all later checks."""
        self.gripper = float(np.clip(opening, 0.0, HAND_OPENING))
        self.scene.setJointPositions(self._full(np.zeros(7)))

    def set_obstacles(self, obstacles: Obstacles, touchable: Obstacles | None = None) -> None:
        """Replace all obstacles. The base link, which cannot move, is not checked against them.

        Args:
            obstacles: what no link may touch; its floor is used.
            touchable: what only the fingers may touch: the contact that the skill is made for.
        """
        touchable = no_obstacles() if touchable is None else touchable
        for name, present in (
            (_VOXELS, len(self.obstacles) > 0),
            (_TOUCHABLE, len(self.touchable) > 0),
            (_FLOOR, self.obstacles.floor is not None),
        ):
            if present:
                self.scene.removeGeometry(name)
        ignored: list[tuple[str, str]] = []
        for name, voxels in ((_VOXELS, obstacles), (_TOUCHABLE, touchable)):
            if len(voxels):
                self._add_voxels(name, voxels)
                ignored.append((name, BASE_FRAME))
        if len(touchable):
            ignored += [(_TOUCHABLE, finger) for finger in FINGERS]
        if len(obstacles) and len(touchable):
            ignored.append((_VOXELS, _TOUCHABLE))
        if obstacles.floor is not None:
            pose = np.eye(4)
            pose[2, 3] = obstacles.floor - 0.5
            box = self._core.Box(6.0, 6.0, 1.0)
            self.scene.addBoxGeometry(_FLOOR, "universe", box, pose, _GREY)
            ignored.append((_FLOOR, BASE_FRAME))
            ignored += [
                (_FLOOR, name)
                for name, voxels in ((_VOXELS, obstacles), (_TOUCHABLE, touchable))
                if len(voxels)
            ]
        if ignored:
            self.scene.setCollisions(ignored, False)
        self.obstacles, self.touchable = obstacles, touchable

    def _add_voxels(self, name: str, voxels: Obstacles) -> None:
        size = voxels.voxel_size
        rest = np.tile([size, 1.0, 0.5], (len(voxels), 1))
        tree = self._core.OcTree(list(np.hstack([voxels.centers, rest])), size)
        self.scene.addOcTreeGeometry(name, "universe", tree, np.eye(4), _GREY)

    def _full(self, q: Array) -> Array:
        self._row[:7], self._row[7] = q, self.gripper / 2
        return self._row

    def _collides(self, q: Array) -> bool:
        return bool(self.scene.hasCollisions(self._full(q)))

    def free(self, q: Array) -> bool:
        """Tell whether the arm at joints q (7,) [rad] touches neither itself nor an obstacle."""
        try:
            return self._model.within_limits(q) and not self._collides(q)
        except Exception as error:  # fail closed: what cannot be checked is not free
            self.failures.append(f"{type(error).__name__}: {error}")
            return False

    def free_exactly(self, q: Array) -> bool:
        """Tell the same as `free`, with the seen points where the voxels say no.

        A voxel is larger than what was seen in it, by up to its own size. The second answer comes
        from another library; it is exact, and a hundred times slower. A check that failed is not
        asked again.
        """
        failed = len(self.failures)
        if self.free(q):
            return True
        both = [seen for seen in (self.obstacles, self.touchable) if len(seen)]
        if len(self.failures) > failed or any(seen.points is None for seen in both):
            return False
        try:
            self._finder.set_obstacles(self.obstacles, self.touchable)
            return self._model.within_limits(q) and not self._finder.touches(q, self.gripper)
        except Exception as error:  # fail closed, as above
            self.failures.append(f"{type(error).__name__}: {error}")
            return False

    def first_blocked(self, path: Array, step: float) -> Array | None:
        """Return the first posture (7,) of a path (N, 7) that is not free; None when all are.

        Between the postures it checks so densely that no joint moves more than `step` [rad].
        """
        previous = path[0]
        for posture in path:
            pieces = max(1, int(np.ceil(np.abs(posture - previous).max() / step)))
            for k in range(1, pieces + 1):
                q = previous + (posture - previous) * (k / pieces)
                if not self.free(q):
                    return np.asarray(q)
            previous = posture
        return None

    def robot_points(self, points: Array, q: Array, padding: float) -> NDArray[np.bool_]:
        """Return (N,) True for points (N, 3) [m] within `padding` [m] of the arm at joints q."""
        if padding not in self._filters:
            options = self._core.RobotBodyFilterOptions(padding, num_threads=1)
            self._filters[padding] = self._core.RobotBodyFilter(self.scene, options)
        points = np.ascontiguousarray(points, dtype=np.float64)
        return np.asarray(self._filters[padding].computeMask(self._full(q), points), dtype=bool)

    def link_points(self, count: int) -> list[tuple[str, int, Array]]:
        """Return points on every solid that moves; see `ContactFinder.link_points`."""
        return self._finder.link_points(count)

    def contact(self, q: Array) -> Contact | None:
        """Return the first contact at joints q (7,), found by another library; None when free."""
        self._finder.set_obstacles(self.obstacles, self.touchable)
        return self._finder.first_contact(q, self.gripper)

    def explain(self, q: Array) -> str:
        """Say in plain words what the arm touches at joints q, after `free` said no."""
        outside = np.flatnonzero((q < self._model.lower) | (q > self._model.upper))
        if len(outside):
            j = outside[0]
            return (
                f"joint {j + 1} at {q[j]:.2f} rad is outside its limits "
                f"{self._model.lower[j]:.2f} to {self._model.upper[j]:.2f}"
            )
        contact = self.contact(q)
        if contact is not None:
            return str(contact)
        return f"the check failed ({self.failures[-1]})" if self.failures else "contact not located"


def _set_limits(core: Any, scene: Any, model: RobotModel) -> None:
    """Give roboplan's scene the joint limits; it reads them only from a file."""
    rows = zip(
        fr3_limits.JOINT_NAMES,
        model.lower,
        model.upper,
        fr3_limits.velocity(),
        fr3_limits.acceleration(),
        strict=True,
    )
    text = "joint_limits:\n" + "".join(
        f"  {name}:\n    min_position: [{low}]\n    max_position: [{high}]\n"
        f"    max_velocity: [{velocity}]\n    max_acceleration: [{acceleration}]\n"
        for name, low, high, velocity, acceleration in rows
    )
    handle, name = tempfile.mkstemp(suffix=".yaml", prefix="kalm_limits_")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        scene.importJointLimitsFromConfig(core.loadJointLimitsConfig(name))
    finally:
        Path(name).unlink()
