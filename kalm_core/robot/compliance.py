"""How hard a compliant arm may pull where something keeps it from its path."""

from __future__ import annotations

import numpy as np

from kalm_core.se3 import Array

_CUTOFF = 1e-2  # singular values below this share of the largest carry no tool motion


def bounded_error(
    error: Array, jacobian: Array, translation: float, rotation: float, elbow: float
) -> tuple[Array, float]:
    """Return the part of a joint error that an impedance controller may pull with.

    The controller pulls the tool with K J e. What J makes of the error is bounded as a shift and
    as a turn, each by itself; what is left of the error moves the elbow alone and is bounded too.

    Args:
        error: (7,) from where the joints are to where they shall be [rad].
        jacobian: (6, 7) of the tool, linear before angular, in the base frame.
        translation: longest shift of the tool [m].
        rotation: largest turn of the tool [rad].
        elbow: largest error of a joint that does not move the tool [rad].

    Returns:
        (7,) bounded error [rad], the same where nothing is exceeded, and the share of the tool's
        error that was kept, in (0, 1].
    """
    twist = jacobian @ error
    inverse = np.linalg.pinv(jacobian, rcond=_CUTOFF)
    along = inverse @ twist
    shares = np.array(
        [
            min(1.0, translation / max(float(np.linalg.norm(twist[:3])), 1e-9)),
            min(1.0, rotation / max(float(np.linalg.norm(twist[3:])), 1e-9)),
        ]
    )
    aside = error - along
    aside = aside * min(1.0, elbow / max(float(np.abs(aside).max()), 1e-9))
    return inverse @ (np.repeat(shares, 3) * twist) + aside, float(shares.min())
