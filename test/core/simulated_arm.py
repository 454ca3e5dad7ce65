"""franky-sim in a process of its own, and what the tests of the arm share."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from scipy.spatial.transform import Rotation

from kalm_core.planning.robot_model import RobotModel
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory

START = np.array([0.0, 0.0, 0.0, -1.57, 0.0, 1.57, 0.785])
AWAY = START + np.array([0.3, 0.2, -0.2, -0.2, 0.2, 0.2, 0.3])

# The wrist's own damping of franky-sim is unstable at 1 kHz (joint 7 hums at 0.08 rad/s): lower it.
# A line on the standard input, "x y z" in newtons, pushes the hand until the next one; "mode 5" is
# the robot mode that an idle arm reports from then on.
SERVER = """
import sys, threading
import types
import mujoco, numpy
from franky_sim import SimulationServer, franka_robot_server
from franky_sim.mujoco_simulator import MujocoSimulator
with MujocoSimulator() as simulator:
    simulator.add_robot(kp=(4500.0,) * 2 + (3500.0,) * 2 + (1000.0,) * 3,
                        kv=(450.0,) * 2 + (350.0,) * 2 + (70.0,) * 3)
    force = numpy.zeros(3)
    true_modes = franka_robot_server.RobotMode
    modes = types.SimpleNamespace(kIdle=true_modes.kIdle, kMove=true_modes.kMove)
    franka_robot_server.RobotMode = modes
    def read():
        for line in sys.stdin:
            words = line.split()
            if words[0] == "mode":
                modes.kIdle = true_modes(int(words[1]))
            else:
                force[:] = [float(word) for word in words]
    def push(_):
        hand = next(b for b in range(simulator.model.nbody)
                    if simulator.model.body(b).name.endswith("hand"))
        simulator.data.xfrc_applied[hand, :3] = force
    simulator.register_pre_step_callback(push)
    threading.Thread(target=read, daemon=True).start()
    with SimulationServer(simulator, [sys.argv[1]]) as server:
        print("ready", flush=True)
        server.run_forever()
"""


class Server:
    """franky-sim with one FR3 at an address of its own."""

    def __init__(self) -> None:
        self.host = (
            f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, self.host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def push(self, x: float, y: float, z: float) -> None:
        """Push the hand with a force in the base frame [N]."""
        self._tell(f"{x} {y} {z}")

    def rest_in_mode(self, number: int) -> None:
        """Let an arm at rest report this robot mode of libfranka; 1 is idle."""
        self._tell(f"mode {number}")

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def pause(self, seconds: float) -> None:
        """Stand still for a while, as where the machine or the network stalls [s, wall]."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def settings(self, **changes: float) -> RobotSettings:
        return RobotSettings.for_simulator(self.host).model_copy(
            update={"stall_timeout": 1.0, **changes}
        )


@contextmanager
def serving() -> Iterator[Server]:
    started = Server()
    try:
        yield started
    finally:
        started.kill()


def reach(arm: FrankyArm, opening: float, duration: float = 3.0) -> EndEffectorTrajectory:
    """Return an arc of 48 poses from where the tool is, with a constant opening [m]."""
    start, x = arm.state().T_base_ee, np.linspace(0.0, 1.0, 48)
    blend = x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    poses = np.repeat(start[None], 48, axis=0)
    poses[:, :3, 3] += np.stack([0.04 * blend, 0.05 * np.sin(np.pi * blend), -0.1 * blend], -1)
    turn = Rotation.from_rotvec(np.outer(blend, [0.05, 0.1, 0.2])).as_matrix()
    poses[:, :3, :3] = start[:3, :3] @ turn
    return EndEffectorTrajectory(poses, np.full(48, opening), x * duration)


def joints_along(arm: FrankyArm, trajectory: EndEffectorTrajectory) -> Array:
    """Return (48, 7) joints from where the arm is that follow a trajectory [rad]."""
    following = RobotModel.load().follow(trajectory.T_base_ee, arm.state().q)
    assert following.joints is not None, following.reason
    return following.joints


def time_until_still(arm: FrankyArm, since: float) -> float:
    """Return the robot's time from `since` until no joint is faster than 0.01 rad/s."""
    while True:
        state = arm.state()
        if np.abs(state.dq).max() < 0.01 or state.time - since > 2.0:
            return state.time - since
        time.sleep(0.005)
