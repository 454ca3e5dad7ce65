"""What a camera sees of a Meta-World scene: views drawn as in the paper, without those it excludes.

The camera looks at the object from 1.5 to 2 m, from 0 to 90 degrees above the horizontal, and from
up to 90 degrees to either side. The paper draws the views around the object, so the side is counted
from the object's own front: it turns with the object, and its back is never all that is seen.

As in the paper a view is left out in which the arm hides the object. So is one in which the object
is not wholly in the picture, or for the most part behind something else: the low wall around the
table hides it when the camera is low. What is hidden is asked of the simulator, for nothing but
this choice.

Depth is exact, as in the paper's simulator. The package's marks, balls that show a goal and that
nothing can touch, are not drawn. Poses are in the frame of those of `World`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import BackendUnavailableError, NoFeasibleTrajectoryError
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.se3 import Array
from kalm_sim.camera import look_at, vertical_field_of_view
from kalm_sim.metaworld.world import World

ELEVATION = (0.0, np.pi / 2)
"""Above the horizontal [rad]."""
AZIMUTH = (-np.pi / 2, np.pi / 2)
"""From the object's front, about gravity [rad]."""
DISTANCE = (1.5, 2.0)
"""Camera to the object's middle [m]."""

INTRINSICS = Intrinsics(480, 360, 910.0, 910.0, 239.5, 179.5)
"""The middle of a D435i's picture at 1280 by 720: 0.8 m by 0.6 m at the nearest, so that the
largest object (0.6 m across a turned box and its button) fills half of it, and a pixel is 2 mm."""

MIN_VISIBLE = 0.7
"""Least share of the object's own outline that is visible."""
MAX_BEHIND_ARM = 0.02
"""Largest share of it that the arm hides: the button alone is a tenth."""

_SHOWN_GROUPS = 3  # MuJoCo draws geom groups 0, 1 and 2; the others are for collisions
_ATTEMPTS = 500


@dataclass(frozen=True)
class Visibility:
    """How much of the object a camera sees.

    Attributes:
        share: of the object's own outline that is visible.
        behind_arm: share of it that the arm hides.
    """

    share: float
    behind_arm: float

    @property
    def enough(self) -> bool:
        """Whether the view is kept."""
        return self.share >= MIN_VISIBLE and self.behind_arm <= MAX_BEHIND_ARM


def object_geoms(world: World) -> NDArray[np.int64]:
    """Return the ids of the object's geoms that are drawn."""
    return _tree_geoms(world, world.task.root)


def _tree_geoms(world: World, body: str) -> NDArray[np.int64]:
    """Return the ids of the drawn geoms of all that hangs together with a body."""
    model = world.model
    root = model.body_rootid[model.body(body).id]
    own = model.body_rootid[model.geom_bodyid] == root
    return np.flatnonzero(own & (model.geom_group < _SHOWN_GROUPS))


def object_middle(world: World) -> Array:
    """Return the (3,) middle of the box around the object [m], along its own axes."""
    model, data = world.model, world.data
    turn = world.scene.T_base_object[:3, :3]
    corners = []
    signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3), axis=-1).reshape(-1, 3)
    for geom in object_geoms(world):
        center, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        local = (center + signs * half) @ data.geom_xmat[geom].reshape(3, 3).T
        corners.append((local + data.geom_xpos[geom]) @ turn)
    box = np.concatenate(corners)
    return np.asarray(turn @ (box.min(axis=0) + box.max(axis=0)) / 2)


def draw_camera(world: World, rng: np.random.Generator) -> Array:
    """Draw T_base_cam (4, 4), looking at the object, which may or may not be visible from there."""
    elevation = rng.uniform(*ELEVATION)
    azimuth = world.scene.yaw + rng.uniform(*AZIMUTH)
    distance = rng.uniform(*DISTANCE)
    # At yaw 0 the objects face along -y, towards the arm.
    out = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0]) * np.cos(elevation)
    out[2] = np.sin(elevation)
    middle = object_middle(world)
    return look_at(middle + distance * out, middle)


class Viewer:
    """Renders one world. Use it from one thread only, and close it.

    Args:
        world: in whatever state it is when a picture is taken.
        intrinsics: of the camera; its principal point must be the middle of the picture.

    Raises:
        BackendUnavailableError: no off-screen renderer works here.
    """

    def __init__(self, world: World, intrinsics: Intrinsics = INTRINSICS) -> None:
        self.world = world
        self.intrinsics = intrinsics
        self._object = object_geoms(world)
        self._arm = _tree_geoms(world, "hand")
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        world.model.vis.global_.fovy = vertical_field_of_view(intrinsics)
        try:
            self._renderer = mujoco.Renderer(world.model, intrinsics.height, intrinsics.width)
        except Exception as error:  # every OpenGL platform raises its own class
            raise BackendUnavailableError(
                f"off-screen rendering does not work: {error}",
                "install libegl1 and set MUJOCO_GL=egl, or libosmesa6 and MUJOCO_GL=osmesa",
            ) from error

    def frame(self, T_base_cam: Array, stamp: int = 0) -> RgbdFrame:
        """Return colour and depth of the world as it is, seen from T_base_cam (4, 4)."""
        renderer = self._renderer
        self._look(T_base_cam)
        color = renderer.render().copy()
        renderer.enable_depth_rendering()
        try:
            depth = renderer.render().astype(np.float32)
        finally:
            renderer.disable_depth_rendering()
        return RgbdFrame(color, depth, self.intrinsics, np.array(T_base_cam), stamp)

    def object_pixels(self, T_base_cam: Array) -> NDArray[np.bool_]:
        """Return (H, W) which pixels show the object; for the choice of views only."""
        return np.isin(self._geoms(T_base_cam), self._object)

    def visibility(self, T_base_cam: Array) -> Visibility:
        """Return how much of the object is visible; nothing when it leaves the picture."""
        outline = np.isin(self._geoms(T_base_cam, alone=True), self._object)
        border = np.ones_like(outline)
        border[1:-1, 1:-1] = False
        if not outline.any() or (outline & border).any():
            return Visibility(0.0, 0.0)
        shown = self._geoms(T_base_cam)[outline]
        own, arm = np.isin(shown, self._object), np.isin(shown, self._arm)
        return Visibility(float(own.mean()), float(arm.mean()))

    def draw(self, rng: np.random.Generator) -> tuple[Array, int]:
        """Draw a camera that sees enough of the object.

        Returns:
            T_base_cam (4, 4), and how many others were left out before.

        Raises:
            NoFeasibleTrajectoryError: none of many sees enough.
        """
        for refused in range(_ATTEMPTS):
            T_base_cam = draw_camera(self.world, rng)
            if self.visibility(T_base_cam).enough:
                return T_base_cam, refused
        raise NoFeasibleTrajectoryError(
            f"the object is hidden in all of {_ATTEMPTS} views of scene {self.world.scene.seed}",
            "draw another scene",
        )

    def _geoms(self, T_base_cam: Array, alone: bool = False) -> NDArray[np.int32]:
        """Return (H, W) the id of the geom that each pixel shows, -1 for none.

        Args:
            T_base_cam: (4, 4) of the camera.
            alone: as if there were nothing but the object.
        """
        renderer: Any = self._renderer
        self._look(T_base_cam)
        if alone:
            for item in renderer.scene.geoms[: renderer.scene.ngeom]:
                if item.objtype != mujoco.mjtObj.mjOBJ_GEOM or item.objid not in self._object:
                    item.pos[:] = (0.0, 0.0, -1000.0)
        renderer.enable_segmentation_rendering()
        try:
            shown = renderer.render()
        finally:
            renderer.disable_segmentation_rendering()
        geom = int(mujoco.mjtObj.mjOBJ_GEOM)
        return np.where(shown[..., 1] == geom, shown[..., 0], -1).astype(np.int32)

    def _look(self, T_base_cam: Array) -> None:
        """Put the camera of the renderer's scene there."""
        renderer: Any = self._renderer
        renderer.update_scene(self.world.data, scene_option=self._option)
        for camera in renderer.scene.camera:
            camera.pos[:] = T_base_cam[:3, 3]
            camera.forward[:] = T_base_cam[:3, 2]
            camera.up[:] = -T_base_cam[:3, 1]

    def close(self) -> None:
        """Give the graphics context back."""
        self._renderer.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
