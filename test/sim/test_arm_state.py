"""The arm's state as it is sent, against franky-sim's own of the same motion."""

import numpy as np
import pytest
from franky_sim.franka_robot_protocol import (
    RobotMode,
    StateControllerMode,
    StateMotionGeneratorMode,
)
from franky_sim.mujoco_simulator import FrankaMujocoRobot

from kalm_core.hand_eye import HandEyeSettings
from kalm_sim.arm_state import LeanRobot
from kalm_sim.scene import draw_scene
from kalm_sim.simulator import DAMPING, HOME, STIFFNESS, SceneSimulator

ARM = {"initial_q": HOME, "initial_hand_width": 0.065, "kp": STIFFNESS, "kv": DAMPING}
HAND = [(0.01, 0.05, 30.0), (0.08, 0.1, 60.0)]
MODES = {
    "robot_mode": RobotMode.kMove,
    "controller_mode": StateControllerMode.kExternalController,
    "motion_generator_mode": StateMotionGeneratorMode.kNone,
}


class _OwnState(SceneSimulator):
    """The same simulator with franky-sim's arm."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        ours, self.robot = self.robot, FrankaMujocoRobot(**ARM)
        self.robot._kp_hand, self.robot._kv_hand = ours._kp_hand, ours._kv_hand
        self._robots[0] = self.robot


def _simulator(kind: type[SceneSimulator]) -> SceneSimulator:
    simulator = kind(draw_scene(3000), HandEyeSettings().T_ee_cam)
    simulator.init()
    simulator.start()
    return simulator


def _pushed(tick: int) -> np.ndarray:
    """Return torques that swing every joint, beyond the limits now and then."""
    return np.sin(tick / 40.0 + np.arange(7)) * np.array([30.0, 60.0, 30.0, 30.0, 15.0, 15.0, 15.0])


@pytest.mark.parametrize("rests", [1, 30])
def test_what_is_sent_is_what_franky_sim_would_send_to_the_bit(rests: int) -> None:
    ours, theirs = _simulator(SceneSimulator), _simulator(_OwnState)
    assert isinstance(ours.robot, LeanRobot)
    for tick in range(rests + 300):
        for simulator in (ours, theirs):
            robot = simulator.robot
            if tick % 100 == 50:
                robot.set_hand_goal(*HAND[tick // 100 % 2])
            if tick < rests or tick > rests + 200:
                robot.joint_position_control(HOME)
            else:
                robot.torque_control(_pushed(tick))
            simulator.step()
        flags = dict.fromkeys(("errors", "reflex_reason"), tuple(k == tick % 50 for k in range(41)))
        told = {**MODES, **(flags if tick % 3 == 0 else {})}
        sent, expected = (s.robot.state.replace(**told).pack_state() for s in (ours, theirs))
        assert sent == expected, f"in step {tick}"
    np.testing.assert_array_equal(ours.data.qpos, theirs.data.qpos)
