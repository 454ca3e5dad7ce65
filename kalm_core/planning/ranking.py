"""Which of several certified trajectories to prefer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def best(margins: Sequence[float]) -> int:
    """Return the index of the best of several certified trajectories, given best first.

    Each has its place by certificate margin and its place in the order that the policy gave; the
    smallest sum of both wins, and of equals the one that the policy prefers. So what comes after
    two others never wins against the first.
    """
    by_margin = np.argsort(np.argsort(-np.asarray(margins), kind="stable"), kind="stable")
    return int((by_margin + np.arange(len(margins))).argmin())
