"""Colour and depth images of a MuJoCo model, rendered off screen."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import BackendUnavailableError
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_sim.camera import OUTSIDE_CAMERA, WRIST_CAMERA, d435i_intrinsics, optical_pose
from kalm_sim.depth_noise import DepthNoiseSettings, add_depth_noise
from kalm_sim.mesh import SLOTS


class _Renderer(mujoco.Renderer):  # type: ignore[misc]
    """A renderer that can turn to another scene without a new graphics context.

    A new context takes half a second of processor time during which no other thread of the process
    runs: long enough for an arm's client to give the arm up.
    """

    _model: Any

    def exchange(self, model: Any) -> None:
        """Render another model, with as many meshes, the same materials and sizes of textures."""
        if _assets(model) != _assets(self._model):
            raise ValueError("the other model has other meshes, textures or materials")
        self._model = model
        if self._gl_context:
            self._gl_context.make_current()
        for texture in range(model.ntex):
            mujoco.mjr_uploadTexture(model, self._mjr_context, texture)
        for slot in SLOTS:  # the arm's meshes are always the same
            mesh = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_MESH, slot)
            mujoco.mjr_uploadMesh(model, self._mjr_context, mesh)


def _assets(model: Any) -> list[Any]:
    """Return what a graphics context keeps of a model besides the pictures of its textures."""
    textures = ["tex_type", "tex_width", "tex_height"]
    names = [*textures, "mat_texid", "mat_texrepeat", "mat_texuniform"]
    return [model.nmesh, *(getattr(model, name).tolist() for name in names)]


class SceneCamera:
    """Renders the wrist and the outside camera of a scene. Use it from one thread only.

    Args:
        model: from `compile_scene`; `show` turns to another one.
        noise: what the depth sensor adds; None takes the defaults.
        intrinsics: of the wrist camera; None takes a D435i at 640 by 480.

    Raises:
        BackendUnavailableError: no off-screen renderer works here.
    """

    def __init__(
        self,
        model: Any,
        noise: DepthNoiseSettings | None = None,
        intrinsics: Intrinsics | None = None,
    ) -> None:
        self.intrinsics = intrinsics or d435i_intrinsics()
        self.noise = noise or DepthNoiseSettings()
        self._wrist = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, WRIST_CAMERA)
        try:
            self._renderer = _Renderer(model, self.intrinsics.height, self.intrinsics.width)
        except Exception as error:  # every OpenGL platform raises its own class
            raise BackendUnavailableError(
                f"off-screen rendering does not work: {error}",
                "install libegl1 and set MUJOCO_GL=egl, or libosmesa6 and MUJOCO_GL=osmesa",
            ) from error

    def show(self, model: Any) -> None:
        """Turn to the model of another scene."""
        self._renderer.exchange(model)
        self._wrist = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, WRIST_CAMERA)

    def wrist_frame(self, data: Any, stamp: int, rng: np.random.Generator) -> RgbdFrame:
        """Return what the camera in the hand sees.

        Args:
            data: `mujoco.MjData` with the kinematics computed.
            stamp: time of the frame [ns].
            rng: source of the depth noise.
        """
        renderer = self._renderer
        renderer.update_scene(data, WRIST_CAMERA)
        color = renderer.render().copy()
        renderer.enable_depth_rendering()
        try:
            depth = renderer.render().copy()
        finally:
            renderer.disable_depth_rendering()
        return RgbdFrame(
            color=color,
            depth=add_depth_noise(depth, self.noise, rng),
            intrinsics=self.intrinsics,
            T_base_cam=optical_pose(data.cam_xpos[self._wrist], data.cam_xmat[self._wrist]),
            stamp=stamp,
        )

    def wrist_geoms(self, data: Any) -> NDArray[np.int32]:
        """Return (H, W) the id of the geom that each pixel of the wrist camera shows, -1 for none.

        Args:
            data: `mujoco.MjData` with the kinematics computed.
        """
        renderer = self._renderer
        renderer.update_scene(data, WRIST_CAMERA)
        renderer.enable_segmentation_rendering()
        try:
            shown = renderer.render()
        finally:
            renderer.disable_segmentation_rendering()
        geom = int(mujoco.mjtObj.mjOBJ_GEOM)
        return np.where(shown[..., 1] == geom, shown[..., 0], -1).astype(np.int32)

    def outside_image(self, data: Any) -> NDArray[np.uint8]:
        """Return the (H, W, 3) RGB image of the camera that looks on."""
        self._renderer.update_scene(data, OUTSIDE_CAMERA)
        image: NDArray[np.uint8] = self._renderer.render().copy()
        return image

    def close(self) -> None:
        """Give the graphics context back; it must be the thread that made it."""
        self._renderer.close()

    def __enter__(self) -> SceneCamera:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
