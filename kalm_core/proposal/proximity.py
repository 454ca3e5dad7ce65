"""The `proximity` region: the part of the first image that the gripper works on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from kalm_core.demonstration import Demonstration
from kalm_core.errors import DistillationError
from kalm_core.proposal.contact import find_contact, scene_points
from kalm_core.proposal.region import Region, Rejection
from kalm_core.settings import Settings


class ProximitySettings(Settings):
    """Settings of the `proximity` region proposer."""

    contact_width: float = Field(
        0.03, ge=0.005, le=0.2, description="how close to the scene counts as working on it [m]"
    )
    rest: float = Field(
        0.0,
        ge=0.0,
        le=0.5,
        description="a tool that never closes rests this near to where it begins and ends, and "
        "works elsewhere; 0 does not ask [m]",
    )
    radius: float = Field(0.09, ge=0.02, le=0.5, description="reach of a region [m]")


class ProximityProposer:
    """Puts a region around the contact of each demonstration, the best seen first."""

    def __init__(self, settings: ProximitySettings | None = None) -> None:
        self.settings = settings or ProximitySettings()

    def propose(
        self,
        demonstrations: Sequence[Demonstration],
        task: str = "",
        rejected: Sequence[Rejection] = (),
    ) -> list[Region]:
        """Return one region per demonstration whose tool meets the scene that its image shows.

        A region is seen well when it covers many pixels, most of them with depth, and keeps clear
        of the image's border, where the features would look past it.

        Raises:
            DistillationError: in no demonstration the tool comes near the scene.
        """
        del task, rejected  # the arm shows where the part is
        regions = []
        for index, demonstration in enumerate(demonstrations):
            contact = find_contact(demonstration, self.settings.contact_width, self.settings.rest)
            if contact is None:
                continue
            points = scene_points(demonstration)
            distance = np.linalg.norm(points - contact.position, axis=-1)
            mask = np.nan_to_num(distance, nan=np.inf) < self.settings.radius
            if mask.sum() < 100:
                continue
            regions.append(
                Region(
                    demonstration=index,
                    mask=mask,
                    center=contact.position,
                    radius=self.settings.radius,
                    score=_how_well_seen(demonstration, contact.position, mask),
                )
            )
        if not regions:
            raise DistillationError(
                f"in none of {len(demonstrations)} demonstrations the gripper comes within "
                f"{100 * self.settings.contact_width:.0f} cm of something the first image shows",
                "record with the object in view and depth before the arm moves, and check the "
                "hand-eye transform",
            )
        return sorted(regions, key=lambda region: (-region.score, region.demonstration))


def _how_well_seen(
    demonstration: Demonstration,
    center: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> float:
    """Score in [0, 1]: distance of the centre from the border, times depth in the hull's box."""
    frame = demonstration.initial
    k = frame.intrinsics
    u, v = frame.project(center[None])[0]
    margin = min(u / k.width, 1 - u / k.width, v / k.height, 1 - v / k.height) / 0.5
    rows, columns = np.nonzero(mask)
    box = frame.depth[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return float(np.clip(margin, 0.0, 1.0) * (box > 0).mean())
