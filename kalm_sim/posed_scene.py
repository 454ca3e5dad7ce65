"""A scene without physics: arm, fingers, drawers and balls are simply put where they shall be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from kalm_core.errors import GoalError
from kalm_core.se3 import Array, make_pose
from kalm_sim.camera import T_hand_ee
from kalm_sim.mjcf import compile_scene
from kalm_sim.scene import SceneParameters
from kalm_sim.tasks.bowl import BowlParameters, balls_in_bowl
from kalm_sim.tasks.held_cup import BALL, place_balls
from kalm_sim.tasks.registry import TASKS

ROBOT = "robot0_"

NEARBY = 0.01
"""Up to this distance [m] a scene can tell that things are near each other."""


class StateAddresses:
    """Where arm, fingers and the object's joints are in the state of a compiled scene.

    Args:
        model: of MuJoCo.
        task: name of the task whose joints are meant.

    Attributes:
        arm, fingers, joints: indices into `qpos`; `joints` is empty without the object.
        arm_speed, finger_speed: indices into `qvel`.
    """

    def __init__(self, model: Any, task: str = "drawer") -> None:
        arm = [f"{ROBOT}fr3_joint{i}" for i in range(1, 8)]
        fingers = [f"{ROBOT}finger_joint{i}" for i in (1, 2)]
        known = {model.joint(i).name for i in range(model.njnt)}
        joints = [name for name in TASKS[task].joints if name in known]
        self.arm, self.arm_speed = _addresses(model, arm)
        self.fingers, self.finger_speed = _addresses(model, fingers)
        self.joints, _ = _addresses(model, joints)


def _addresses(model: Any, names: Sequence[str]) -> tuple[list[int], list[int]]:
    position = [int(model.joint(name).qposadr[0]) for name in names]
    speed = [int(model.joint(name).dofadr[0]) for name in names]
    return position, speed


class PosedScene:
    """A compiled scene whose state is set, not simulated.

    Args:
        scene: what to build.
        T_ee_cam: (4, 4) hand-eye transform; None takes the default mount.

    Attributes:
        model, data: of MuJoCo.
    """

    def __init__(self, scene: SceneParameters, T_ee_cam: Array | None = None) -> None:
        self.scene = scene
        self.model = compile_scene(scene, T_ee_cam)
        self.model.geom_margin[:] = NEARBY
        self.data: Any = mujoco.MjData(self.model)
        self._at = StateAddresses(self.model, scene.task)
        self._hand = self.model.body(f"{ROBOT}hand").id

    def pose(
        self, joints: Array, width: float | None = None, state: Sequence[float] | None = None
    ) -> None:
        """Put the arm, the fingers and the task's object where they shall be.

        Args:
            joints: (7,) of the arm [rad].
            width: opening of the fingers [m]; None is 0.065, or that of what is held.
            state: of the object, as in `SceneTruth`; None is that of the beginning.
        """
        if np.shape(joints) != (7,):
            raise GoalError(f"the arm has 7 joints, got an array of shape {np.shape(joints)}")
        scene, held = self.scene, self.scene.held
        if width is None:
            width = held.grasp_width if held else 0.065
        state = TASKS[scene.task].initial_state if state is None else state
        self.data.qpos[self._at.arm] = joints
        self.data.qpos[self._at.fingers] = width / 2
        if self._at.joints:
            self.data.qpos[self._at.joints] = state
        if held is not None:
            mujoco.mj_kinematics(self.model, self.data)
            poured = None
            if isinstance(scene.target, BowlParameters) and scene.present:
                count = round(state[0] * held.balls)
                poured = balls_in_bowl(scene.target, held, count)
            place_balls(self.model, self.data, held, poured)
        mujoco.mj_forward(self.model, self.data)

    @property
    def T_base_ee(self) -> Array:
        """The (4, 4) pose of the tool in the base frame."""
        hand = make_pose(
            self.data.xmat[self._hand].reshape(3, 3), self.data.xpos[self._hand].copy()
        )
        return hand @ T_hand_ee

    def touching(self, within: float = 0.0) -> list[tuple[str, str]]:
        """Return the pairs of bodies, at least one the robot's, that touch.

        Args:
            within: how far apart [m] counts as touching, at most `NEARBY`.
        """
        return robot_contacts(self.model, self.data, depth=-within)


def robot_contacts(model: Any, data: Any, depth: float = 0.0) -> list[tuple[str, str]]:
    """Return the pairs of bodies, at least one the robot's, that overlap by `depth` [m] or more.

    A negative depth is a distance, as far as the model's margins let MuJoCo look. The cup in the
    hand counts as the robot's; the balls in it are left out.
    """
    pairs = set()
    for contact in data.contact[: data.ncon]:
        bodies = model.geom_bodyid[[contact.geom1, contact.geom2]]
        first, second = sorted(model.body(int(body)).name for body in bodies)
        if first.startswith(BALL):
            continue
        if contact.dist <= -depth and (first.startswith(ROBOT) or second.startswith(ROBOT)):
            pairs.add((first, second))
    return sorted(pairs)
