"""The pace of a path: as demonstrated, and slower where the arm's limits ask for it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from kalm_core.planning.limits import sample_shares
from kalm_core.se3 import Array
from kalm_core.trajectory import JointPath

_SHARE = 0.9  # of a limit; the rest is for the follower, which interpolates
_ROUNDS = 40
_WIDTH = 2  # steps to either side over which a slower pace is approached


def feasible_stamps(positions: Array, stamps: Array) -> Array:
    """Slow a path down, near where it is too fast, until it keeps the FR3's joint limits.

    Speed, acceleration and jerk are those of `derivative_shares`. A path that keeps them already
    comes back unchanged; a path is never made faster.

    Args:
        positions: (N, 7) joints [rad].
        stamps: (N,) demonstrated times [s], strictly increasing.

    Returns:
        (N,) times [s], the first as given. A path that jumps gets very long steps, which the
        certificate refuses.
    """
    steps = np.diff(stamps)
    for _ in range(_ROUNDS):
        needed = _needed(JointPath(positions, _from_steps(stamps[0], steps)))
        if needed.max() <= 1.0:
            return _from_steps(stamps[0], steps) if (steps != np.diff(stamps)).any() else stamps
        # short steps beside a longer one grow as well: a sudden change of pace is an acceleration
        longer = np.where(needed > 1.0, steps * needed, 0.0)
        wide = maximum_filter1d(longer, 2 * _WIDTH + 1, mode="nearest")
        beside = gaussian_filter1d(wide, _WIDTH, mode="nearest")
        steps = np.maximum(steps * needed, beside)
    return _from_steps(stamps[0], steps * needed.max())


def _needed(path: JointPath) -> Array:
    """Return (N-1,) by what factor each step would have to be longer, judged on its own."""
    needed = np.ones(len(path.stamps) - 1)
    for order, shares in enumerate(sample_shares(path), start=1):
        # a difference of order k spans k steps, and falls with the k-th power of their length
        factor = (shares.max(axis=1, initial=0.0) / _SHARE) ** (1.0 / order)
        for offset in range(order):
            spanned = needed[offset : offset + len(factor)]
            np.maximum(spanned, factor, out=spanned)
    return needed


def _from_steps(first: float, steps: Array) -> Array:
    return np.concatenate([[first], first + np.cumsum(steps)])
