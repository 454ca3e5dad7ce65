"""The thread that renders what the laboratory's cameras see, at instants that are told to it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.rendering import SceneCamera


@dataclass(frozen=True)
class Instant:
    """The state of a scene between two steps.

    Attributes:
        model: of MuJoCo.
        positions: (nq,) of everything in it.
        robot_time: the simulation's [s].
        stamp: wall clock [ns].
    """

    model: Any
    positions: Array
    robot_time: float
    stamp: int


class Painter:
    """Renders in a thread of its own, where the graphics live.

    Args:
        noise: of the depth sensor; None takes the defaults.
        seed: of that noise.
    """

    def __init__(self, noise: DepthNoiseSettings | None, seed: int) -> None:
        self._noise = noise
        self._rng = np.random.default_rng(seed)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kalm_sim painter")
        self._camera: tuple[Any, SceneCamera, Any] | None = None

    def start(self, model: Any) -> None:
        """Bring the graphics up for a model.

        Raises:
            BackendUnavailableError: no off-screen renderer works here.
        """
        self._thread.submit(self._turn_camera, model).result()

    def close(self) -> None:
        """Let the graphics go."""
        self._thread.submit(self._close_camera).result()
        self._thread.shutdown()

    def wrist(self, read: Callable[[], Instant]) -> tuple[RgbdFrame, Instant]:
        """Return what the camera in the hand sees, and when: `read` is called when it is its turn.

        Raises:
            Exception: what `read` raises.
        """

        def render() -> tuple[RgbdFrame, Instant]:
            instant = read()
            camera, data = self._pose(instant)
            return camera.wrist_frame(data, instant.stamp, self._rng), instant

        return self._thread.submit(render).result()

    def outside(self, instant: Instant) -> NDArray[np.uint8]:
        """Return the (480, 640, 3) RGB image of the camera that looks on."""

        def render() -> NDArray[np.uint8]:
            camera, data = self._pose(instant)
            return camera.outside_image(data)

        return self._thread.submit(render).result()

    def _pose(self, instant: Instant) -> tuple[SceneCamera, Any]:
        camera, data = self._turn_camera(instant.model)
        data.qpos[:], data.time = instant.positions, instant.robot_time
        mujoco.mj_kinematics(instant.model, data)
        mujoco.mj_camlight(instant.model, data)
        return camera, data

    def _turn_camera(self, model: Any) -> tuple[SceneCamera, Any]:
        """Return a camera for a model and data to hold what it shall see."""
        if self._camera is None:
            self._camera = (model, SceneCamera(model, self._noise), mujoco.MjData(model))
        elif self._camera[0] is not model:
            camera = self._camera[1]
            camera.show(model)
            self._camera = (model, camera, mujoco.MjData(model))
        return self._camera[1:]

    def _close_camera(self) -> None:
        if self._camera is not None:
            self._camera[1].close()
            self._camera = None
