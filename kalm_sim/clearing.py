"""How the laboratory's operator makes room before the arm goes back to its ready posture."""

from __future__ import annotations

from dataclasses import replace

from kalm_sim.scene import SceneParameters

OPEN = 0.08
"""Opening of the fingers when nothing is held [m]."""


def cleared(scene: SceneParameters) -> SceneParameters:
    """Return the scene with nothing on the table.

    A skill ends wherever it ends, often with the arm twisted around the object. A person would put
    the object away and then send the arm home; so does the operator.
    """
    return replace(
        scene, empty=True, clutter=(), held=None, replacement=None, cover=None, twin=None
    )
