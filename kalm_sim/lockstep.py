"""Keeps simulated time from running away from the client that commands the arm.

The real arm gets a command in every millisecond or stops itself. franky-sim goes on with the last
torque instead; where the machine is busy, or simulated time runs faster than the wall clock, the
client's torques then answer states that are long past, and its impedance control swings up.
"""

from __future__ import annotations

import select

from franky_sim.franka_robot_server import FrankaRobotServer

LONGEST_WAIT = 0.02
"""After which the arm goes on with the last command, as it has to for a client that died [s]."""


def await_command(server: FrankaRobotServer) -> None:
    """Wait for the command that answers the last state, if a client moves the arm."""
    # private there, and the only way to learn of a command without looking again and again
    socket = server._FrankaServer__udp_socket
    if socket is not None and server.current_motion_id:
        select.select([socket], [], [], LONGEST_WAIT)
