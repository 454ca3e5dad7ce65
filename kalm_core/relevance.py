"""Whether the demonstration works on a part: added to the paper's verification.

A part may be found again in every demonstration and still be the wrong one: the other handle, the
front behind it, the table. The arm shows where the work is done.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kalm_core.demonstration import Demonstration
from kalm_core.proposal.contact import Contact, scene_points


def why_irrelevant(
    demonstration: Demonstration,
    contact: Contact | None,
    mask: NDArray[np.bool_],
    slack: float,
    reach: float,
) -> str:
    """Return why a mask cannot be what a demonstration is about; empty when it can.

    Args:
        demonstration: in whose first image the mask is.
        contact: where its tool works on the scene; None where unknown, then nothing is held
            against any mask.
        mask: (H, W).
        slack: by how much farther from the tool the mask may be than the nearest thing [m].
        reach: how far beyond the nearest thing the middle of the mask may be [m]; 0 holds nothing
            against any mask.
    """
    if contact is None or reach == 0:
        return ""
    tool = demonstration.T_base_ee[contact.sample, :3, 3]
    away = np.linalg.norm(scene_points(demonstration)[mask] - tool, axis=1)
    away = away[np.isfinite(away)]
    if len(away) == 0:
        return "it has no depth"
    nearest, middle = np.percentile(away, [2, 50]) - contact.distance
    if nearest > slack:
        return f"the arm works on something that is {100 * nearest:.0f} cm nearer to the tool"
    if middle > reach:
        return f"half of it is more than {100 * reach:.0f} cm from where the arm works"
    return ""
