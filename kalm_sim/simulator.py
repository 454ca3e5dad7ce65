"""franky-sim's MuJoCo simulator with a scene in it that can be exchanged between two steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from franky_sim.mujoco_simulator import MujocoSimulator

from kalm_core.se3 import Array
from kalm_sim.arm_state import LeanRobot
from kalm_sim.mjcf import add_scene, compile_model, compile_scene
from kalm_sim.posed_scene import StateAddresses
from kalm_sim.scene import SceneParameters
from kalm_sim.tasks.held_cup import place_balls

HOME = (0.0, -0.785, 0.0, -2.356, 0.0, 1.9, 0.785)
"""Posture of the arm when the laboratory starts, (7,) [rad]."""

STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 1000.0, 1000.0, 600.0)
DAMPING = (450.0, 450.0, 350.0, 350.0, 100.0, 100.0, 60.0)
"""Of the arm's own position control [Nm/rad], [Nm s/rad]. franky-sim's are twice as high at the
wrist and more, which makes joint 7 chatter at 0.08 rad/s for ever after a motion."""

_HOLD_OPEN = 70.0  # [N], with which the hand keeps an opening, as franky-sim does

FINGER_STIFFNESS = 3000.0
"""Of each finger's position control [N/m]: about 20 N on a bar of 14 mm, as with the real hand."""


@dataclass(frozen=True)
class ArmPosture:
    """Where the arm is put, as nothing but a simulator can.

    Attributes:
        joints: (7,) [rad].
        width: between the fingers [m].
        force: with which they are closed, on what is held [N]; 0 keeps them at `width`.
    """

    joints: Array
    width: float
    force: float = 0.0


class SceneSimulator(MujocoSimulator):  # type: ignore[misc]
    """One FR3 in one scene.

    Args:
        scene: the first scene.
        T_ee_cam: (4, 4) hand-eye transform of the wrist camera.

    Attributes:
        robot: what franky-sim's server drives.
        current: the scene in the simulator now.
        addresses: where arm, fingers and the object's joints are in the state of the current model.
    """

    def __init__(self, scene: SceneParameters, T_ee_cam: Array) -> None:
        super().__init__()
        arm = {"initial_q": HOME, "initial_hand_width": 0.065, "kp": STIFFNESS, "kv": DAMPING}
        self.add_robot(**arm)  # draws franky-sim's own arm into the scene, which stays
        self.robot = self._robots[0] = LeanRobot(**arm)
        self.robot._kp_hand = np.full(2, FINGER_STIFFNESS)
        self.robot._kv_hand = np.full(2, 100.0)
        self.current = scene
        self._T_ee_cam = T_ee_cam
        add_scene(self, scene, T_ee_cam)
        self.addresses: StateAddresses

    def _start(self) -> None:
        """Compile the first scene and put the arm in its place (franky-sim's hook)."""
        model = compile_model(self, self.current)
        data = mujoco.MjData(model)
        at = StateAddresses(model, self.current.task)
        data.qpos[at.arm] = HOME
        data.qpos[at.fingers] = self.robot.hand_width / 2
        self._settle_held(self.current, model, data, at)
        mujoco.mj_forward(model, data)
        self._use(self.current, model, data)

    def build(self, scene: SceneParameters) -> tuple[Any, Any]:
        """Compile another scene; returns its model and data. May run in any thread."""
        model = compile_scene(scene, self._T_ee_cam)
        return model, mujoco.MjData(model)

    def carry_state(
        self, scene: SceneParameters, model: Any, data: Any, posture: ArmPosture | None = None
    ) -> None:
        """Give another scene's data the time, arm and fingers that the simulator has now.

        With a posture, arm and fingers are put there, at rest.
        """
        now, old, new = self.data, self.addresses, StateAddresses(model, scene.task)
        for a, b in ((old.arm, new.arm), (old.fingers, new.fingers)):
            data.qpos[b] = now.qpos[a]
        for a, b in ((old.arm_speed, new.arm_speed), (old.finger_speed, new.finger_speed)):
            data.qvel[b] = now.qvel[a]
            data.qfrc_applied[b] = now.qfrc_applied[a]
        if posture is not None:
            data.qpos[new.arm], data.qpos[new.fingers] = posture.joints, posture.width / 2
            data.qvel[new.arm_speed], data.qvel[new.finger_speed] = 0.0, 0.0
        data.time = now.time
        self._settle_held(scene, model, data, new)
        mujoco.mj_forward(model, data)

    @staticmethod
    def _settle_held(scene: SceneParameters, model: Any, data: Any, at: StateAddresses) -> None:
        """Put a cup with its balls into the hand, whose fingers give way to it."""
        if scene.held is not None:
            data.qpos[at.fingers] = np.maximum(data.qpos[at.fingers], scene.held.grasp_width / 2)
            mujoco.mj_kinematics(model, data)
            place_balls(model, data, scene.held)

    def exchange(
        self, scene: SceneParameters, model: Any, data: Any, posture: ArmPosture | None = None
    ) -> None:
        """Put another scene in place. Only between two steps, in the thread that steps."""
        self._use(scene, model, data)
        if posture is not None:
            closing = posture.force > 0.0
            force = posture.force if closing else _HOLD_OPEN
            self.robot.set_hand_goal(0.0 if closing else posture.width, 0.1, force)
            # the posture that the idle arm holds is private there
            self.robot.server._FrankaRobotServer__holding_q = tuple(map(float, posture.joints))

    def _use(self, scene: SceneParameters, model: Any, data: Any) -> None:
        self.current, self.addresses = scene, StateAddresses(model, scene.task)
        self._mj_model, self._mj_data = model, data
        self.robot._attach_to_scene(model, data, "robot0_")
