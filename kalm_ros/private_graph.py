"""What keeps a graph on this machine to itself: a ROS domain and a loopback address of its own."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterable

from kalm_core.errors import BackendUnavailableError

_CHANCE = random.SystemRandom()
LAST_DOMAIN = 100
"""Domains above it may take ports that Linux gives to others."""

_PARTICIPANTS = range(10, 249)
"""Where participants of a domain listen, after its first port: not every process begins at 10."""

_CLAIM = 249
"""What only a domain's 120th participant would listen to; bound here for "this one is taken"."""

_claims: dict[int, socket.socket] = {}


def free_domain(among: Iterable[int] = range(1, LAST_DOMAIN + 1)) -> int:
    """Claim a ROS domain on which nobody speaks on this machine and which nobody has claimed.

    The claim lasts until `release_domain`, or as long as this process.

    Raises:
        BackendUnavailableError: there is none.
    """
    domains = list(among)
    for domain in _CHANCE.sample(domains, len(domains)):
        first = 7400 + 250 * domain
        claim = _bind(socket.SOCK_DGRAM, "0.0.0.0", first + _CLAIM)
        if claim is None:
            continue
        if all(_is_free(socket.SOCK_DGRAM, "0.0.0.0", first + port) for port in _PARTICIPANTS):
            _claims[domain] = claim
            return domain
        claim.close()
    raise BackendUnavailableError(
        f"none of {len(domains)} ROS domains is free on this machine", "end graphs nobody needs"
    )


def release_domain(domain: int) -> None:
    """Let others have a domain that `free_domain` gave."""
    _claims.pop(domain).close()


def take_free_domain() -> None:
    """Let this process and those that it starts speak on a free domain, unless one is set."""
    if "ROS_DOMAIN_ID" not in os.environ:
        os.environ["ROS_DOMAIN_ID"] = str(free_domain())


def free_loopback() -> str:
    """Return a loopback address at which no arm answers yet, for a simulated one."""
    while True:
        host = f"127.{_CHANCE.randint(20, 250)}.{_CHANCE.randint(1, 250)}.{_CHANCE.randint(1, 250)}"
        if _is_free(socket.SOCK_STREAM, host, 1337):  # the port of the arm's protocol
            return host


def _is_free(kind: socket.SocketKind, host: str, port: int) -> bool:
    probe = _bind(kind, host, port)
    if probe is None:
        return False
    probe.close()
    return True


def _bind(kind: socket.SocketKind, host: str, port: int) -> socket.socket | None:
    """Return a socket that is bound to a port, or None where another one is."""
    bound = socket.socket(socket.AF_INET, kind)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        return None
    return bound
