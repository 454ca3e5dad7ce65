"""The simulated arm's state in every millisecond, with a part of franky-sim's work.

franky-sim derives some forty quantities for each state by way of general bookkeeping, which costs
more than the physics. While a client commands torques most of them follow from five: positions,
velocities, torques, and how the last two change. What is sent is the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pinocchio as pin
from franky_sim.base_simulator import InnerRobotState
from franky_sim.constants import (
    FRANKA_HAND_FORCE_LIMIT,
    FRANKA_TORQUE_LIMITS_HIGH,
    FRANKA_TORQUE_LIMITS_LOW,
)
from franky_sim.mujoco_simulator import FrankaMujocoRobot

from kalm_core.se3 import Array

STEP = 0.001  # of the physics [s]

_LOWEST, _HIGHEST = np.array(FRANKA_TORQUE_LIMITS_LOW), np.array(FRANKA_TORQUE_LIMITS_HIGH)

_POSE, _JOINTS, _TWIST = 16, 7, 6
_LAYOUT = (
    *(("O_T_EE", _POSE), ("O_T_EE_d", _POSE), ("F_T_EE", _POSE), ("EE_T_K", _POSE)),
    *(("F_T_NE", _POSE), ("NE_T_EE", _POSE), ("end_effector", 13), ("load", 13)),
    *(("elbow", 2), ("elbow_d", 2), ("tau_J", _JOINTS), ("tau_J_d", _JOINTS)),
    *(("dtau_J", _JOINTS), ("q", _JOINTS), ("q_d", _JOINTS), ("dq", _JOINTS)),
    *(("dq_d", _JOINTS), ("ddq_d", _JOINTS), ("contacts", 26), ("tau_ext_hat_filtered", _JOINTS)),
    *(("forces", 12), ("O_dP_EE_d", _TWIST), ("O_ddP_O", 3), ("elbow_c", 2), ("delbow_c", 2)),
    *(("ddelbow_c", 2), ("O_T_EE_c", _POSE), ("O_dP_EE_c", _TWIST), ("O_ddP_EE_c", _TWIST)),
)
"""Numbers that libfranka's state begins with, in their order, as 32-bit floats."""

_BYTES = {
    "motion_generator_mode": slice(-89, -88),
    "controller_mode": slice(-88, -87),
    "errors": slice(-87, -46),
    "reflex_reason": slice(-46, -5),
    "robot_mode": slice(-5, -4),
}
"""Where its modes and errors are, counted from its end."""


def _places() -> dict[str, slice]:
    places, start = {}, 0
    for name, size in _LAYOUT:
        places[name] = slice(start, start + size)
        start += size
    return places


_AT = _places()


class LeanState:
    """One state as it is sent; has what franky-sim's server asks of it.

    Args:
        q: (7,) joint positions [rad].
        O_T_EE: (16,) pose of the end effector in the base frame, column after column.
        packed: the whole of it as it goes over the wire.
    """

    def __init__(self, q: Array, O_T_EE: Array, packed: bytearray) -> None:
        self.q, self.q_d, self.O_T_EE, self._packed = q, q, O_T_EE, packed
        self.errors = (False,) * 41

    def replace(self, **fields: Any) -> LeanState:
        """Write modes or errors into it."""
        for name, value in fields.items():
            # one byte each: a mode, or a flag for every error there is
            self._packed[_BYTES[name]] = bytes(value if isinstance(value, tuple) else (value,))
        return self

    def pack_state(self) -> bytes:
        """Return what is sent."""
        return bytes(self._packed)


class LeanRobot(FrankaMujocoRobot):  # type: ignore[misc]
    """franky-sim's arm, whose state costs less while a client commands torques.

    In every other mode it is franky-sim's own.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._torques_commanded = False
        self._packed: bytearray | None = None

    def _attach_to_scene(self, model: Any, data: Any, prefix: str) -> None:
        super()._attach_to_scene(model, data, prefix)
        self._arm_at, self._arm_speed_at = np.array(self._qpos_addrs), np.array(self._dof_addrs)
        self._fingers_at = np.array(self._finger_qpos_addrs)
        self._finger_speed_at = np.array(self._finger_dof_addrs)

    def _get_state(self) -> InnerRobotState:
        if self._data is None:
            return super()._get_state()
        return InnerRobotState(
            tuple(self._data.qpos[self._arm_at].tolist()),
            tuple(self._data.qvel[self._arm_speed_at].tolist()),
            tuple(self._applied_torques.tolist()),
        )

    # -- who commands what -----------------------------------------------------------------------

    def torque_control(self, torques: Any, has_new_command: bool = True) -> None:
        """Apply a client's torques, (7,) [Nm], and those that hold the arm's weight."""
        self._desired = np.minimum(np.maximum(torques, _LOWEST), _HIGHEST)
        self._tracked_state_components["tau_J_d"].set(self._BaseRobot__t, self._desired)
        q = self._data.qpos[self._arm_at]
        weight = pin.computeGeneralizedGravity(self._BaseRobot__model, self._BaseRobot__data, q)
        self._torque_control(self._desired + weight)
        self._torques_commanded = True

    def _torque_control(self, torques: Array) -> None:
        self._applied_torques = np.minimum(np.maximum(torques, _LOWEST), _HIGHEST)
        self._data.qfrc_applied[self._arm_speed_at] = self._applied_torques

    def _joint_position_control(self, target_q: Array) -> None:
        super()._joint_position_control(target_q)
        self._torques_commanded = False

    def _joint_velocity_control(self, target_dq: Array) -> None:
        super()._joint_velocity_control(target_dq)
        self._torques_commanded = False

    def _pre_step(self) -> None:
        """Drive the fingers towards their goal, no faster and no harder than told."""
        if self._data is None:
            return
        q, dq = self._data.qpos[self._fingers_at], self._data.qvel[self._finger_speed_at]
        force = self._kp_hand * (self._hand_goal_width / 2 - q) - self._kv_hand * dq
        too_fast = (np.abs(dq) > self._hand_goal_velocity) & (dq * force > 0.0)
        force = np.where(too_fast, -self._kv_hand * dq, force)
        most = min(FRANKA_HAND_FORCE_LIMIT, self._hand_goal_force)
        self._data.qfrc_applied[self._finger_speed_at] = np.minimum(np.maximum(force, -most), most)

    # -- the state -------------------------------------------------------------------------------

    def _post_step(self) -> None:
        if self._torques_commanded:
            self._write_state()
            return
        self._packed = None
        super()._post_step()

    def _write_state(self) -> None:
        """Derive the state while torques are commanded: what is desired is what is there."""
        if self._packed is None:  # the first: what never changes is that of the last state
            self._packed = bytearray(super().state.pack_state())
            self._numbers = np.frombuffer(self._packed, "<f4", sum(n for _, n in _LAYOUT))
        q, dq = self._data.qpos[self._arm_at], self._data.qvel[self._arm_speed_at]
        tau, twist = self._applied_torques, self.d_kinematics(q, dq)
        ddq = self._change("dq", dq)
        self._change("q_d", q)  # for the mode that comes after this one
        pose = self.kinematics(q).homogeneous.ravel(order="F")
        elbow = (q[2], 1.0 if q[3] > 0.0 else -1.0)
        self._put(pose, "O_T_EE", "O_T_EE_d", "O_T_EE_c")
        self._put(q, "q", "q_d")
        self._put(dq, "dq", "dq_d")
        self._put(ddq, "ddq_d")
        self._put(tau, "tau_J", "tau_ext_hat_filtered")
        self._put(self._desired, "tau_J_d")
        self._put(self._change("tau_J", tau), "dtau_J")
        self._put(twist, "O_dP_EE_d", "O_dP_EE_c")
        self._put(self._change("O_dP_EE_d", twist), "O_ddP_EE_c")
        self._put(elbow, "elbow", "elbow_d", "elbow_c")
        # franky-sim sends accelerations and velocities of the elbow in this order
        self._put((ddq[2], 0.0), "delbow_c")
        self._put((dq[2], 0.0), "ddelbow_c")
        self._state = LeanState(q, pose, bytearray(self._packed))
        # private there, as nobody but it is meant to make a step
        self._BaseRobot__prev_t, self._BaseRobot__t = self._BaseRobot__t, self._BaseRobot__t + STEP

    def _change(self, name: str, value: Array) -> Array:
        """Tell franky-sim's own filter a value; returns how fast it changes [1/s]."""
        filter_ = self._tracked_state_components[name].observers["fd"]
        return np.asarray(filter_.update(self._BaseRobot__t, value))

    def _put(self, value: Any, *names: str) -> None:
        for name in names:
            self._numbers[_AT[name]] = value

    @property
    def state(self) -> Any:
        """What the arm tells of itself after the last step."""
        return super().state if self._packed is None else self._state
