"""The moment in which a server that was just found may not know yet where to send its answer.

DDS tells both sides of each other, but not both at once, and an answer to a client that its server
does not know is lost. Nothing says when the other side is ready.
"""

from __future__ import annotations

import time

SETTLE = 0.3
"""Wait at least so long [s, wall]."""

LONGEST = 2.0
"""Wait at most so long [s, wall]."""


def settle(began: float) -> None:
    """Wait as long again as it took to find the server: on a busy machine it takes longer.

    Args:
        began: when it was begun to look for, by `time.monotonic` [s].
    """
    time.sleep(min(max(time.monotonic() - began, SETTLE), LONGEST))
