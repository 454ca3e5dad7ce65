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

GRIPPER_PERIOD = 0.02
"""From one state of the gripper to the next [s, on the wall]: its width is read a few times a
second, and a state that nobody reads costs as much as one of the arm. Not counted in ticks: after a
second without a state libfranka gives the gripper up, however slowly simulated time goes."""


def take_command(server: FrankaRobotServer) -> None:
    """Wait for the command that answers the last state, and let the server take it.

    It waits only where a client moves the arm.
    """
    end = time.perf_counter() + LONGEST_WAIT
    if _awaits_answer(server):
        _hears(server, end)
    server.process_commands()
    while _awaits_answer(server) and _hears(server, end):
        # without the gripper's, whose time goes by with every call
        FrankaServer.process_commands(server)


class StateSender:
    """Sends the state of the arm in every tick, and that of its gripper now and then."""

    def __init__(self) -> None:
        self._gripper_due = 0.0

    def send(self, server: FrankaRobotServer) -> None:
        """Send what is due of one arm."""
        now = time.perf_counter()
        if server.gripper_server is not None and now >= self._gripper_due:
            self._gripper_due = now + GRIPPER_PERIOD
            server.send_state()
        else:
            FrankaServer.send_state(server)


def _awaits_answer(server: FrankaRobotServer) -> bool:
    return bool(server.current_motion_id) and not _answered(server)


def _hears(server: FrankaRobotServer, end: float) -> bool:
    """Wait for word from the client until `end`; False when none came."""
    # private there, and the only way to learn of a command without looking again and again
    sockets = [server._FrankaServer__udp_socket, server._tcp_socket]
    left = end - time.perf_counter()
    return left > 0.0 and None not in sockets and bool(select.select(sockets, [], [], left)[0])


def _answered(server: FrankaRobotServer) -> bool:
    last = server._FrankaServer__message_id - 1
    return bool(server._FrankaRobotServer__current_control_command.message_id >= last)
