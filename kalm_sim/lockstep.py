"""Keeps simulated time from running away from the client that commands the arm.

The real arm gets a command in every millisecond or stops itself. franky-sim goes on with the last
torque instead; where the machine is busy, or simulated time runs faster than the wall clock, the
client's torques then answer states that are long past, and its impedance control swings up.
"""

from __future__ import annotations

import select
import time

from franky_sim.franka_robot_server import FrankaRobotServer
from franky_sim.franka_server import FrankaServer

LONGEST_WAIT = 0.02
"""After which the arm goes on with the last command, as it has to for a client that died [s]."""


def take_command(server: FrankaRobotServer) -> None:
    """Let the server take its commands, and wait for that which answers the last state.

    It waits only where a client moves the arm.
    """
    end = time.perf_counter() + LONGEST_WAIT
    server.process_commands()
    while server.current_motion_id and not _answered(server):
        # private there, and the only way to learn of a command without looking again and again
        socket, left = server._FrankaServer__udp_socket, end - time.perf_counter()
        if socket is None or left <= 0.0 or not select.select([socket], [], [], left)[0]:
            return
        # without the gripper's, whose time goes by with every call
        FrankaServer.process_commands(server)


def _answered(server: FrankaRobotServer) -> bool:
    last = server._FrankaServer__message_id - 1
    return bool(server._FrankaRobotServer__current_control_command.message_id >= last)
