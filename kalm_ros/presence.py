"""Whether the server of a goal is still there while it works."""

from __future__ import annotations

import time

from rclpy.action import ActionClient

from kalm_core.errors import BackendUnavailableError

LOST = 3.0
"""A server that is absent for this long while it works is gone [s]."""


class Presence:
    """The server of a goal, watched from when the goal was sent.

    The middleware tells at once when a node ends, and 20 s after it was killed or cut off (Fast DDS
    with its default settings).

    Args:
        client: of the action.
        action: its name, for error texts.
        server: the node that offers it, for error texts.
    """

    def __init__(self, client: ActionClient, action: str, server: str = "its node") -> None:
        self._client = client
        self._action = action
        self._server = server
        self._seen = time.monotonic()

    @property
    def lost(self) -> bool:
        """Whether the server has been absent for too long; to be asked often."""
        now = time.monotonic()
        if self._client.server_is_ready():
            self._seen = now
        return now - self._seen > LOST

    def demand(self) -> None:
        """Raise an error where the server is gone.

        Raises:
            BackendUnavailableError: it is.
        """
        if self.lost:
            raise BackendUnavailableError(
                f"{self._server} vanished while it worked on {self._action}",
                f"look at the output of {self._server} and start it again",
            )
