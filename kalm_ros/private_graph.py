"""What keeps a graph on this machine to itself: a ROS domain and a loopback address of its own."""

from __future__ import annotations

import os
import random
import socket

_CHANCE = random.SystemRandom()
LAST_DOMAIN = 100
"""Domains above it may take ports that Linux gives to others."""


def free_domain() -> int:
    """Return a ROS domain on which nobody speaks on this machine: its first DDS port is free."""
    while True:
        domain = _CHANCE.randint(1, LAST_DOMAIN)
        if _is_free(socket.SOCK_DGRAM, "0.0.0.0", 7400 + 250 * domain + 10):
            return domain


def take_free_domain() -> None:
    """Let this process and those that it starts speak on a free domain, unless one is set."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(free_domain()))


def free_loopback() -> str:
    """Return a loopback address at which no arm answers yet, for a simulated one."""
    while True:
        host = f"127.{_CHANCE.randint(20, 250)}.{_CHANCE.randint(1, 250)}.{_CHANCE.randint(1, 250)}"
        if _is_free(socket.SOCK_STREAM, host, 1337):  # the port of the arm's protocol
            return host


def _is_free(kind: socket.SocketKind, host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
