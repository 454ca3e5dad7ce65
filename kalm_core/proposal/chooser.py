"""Which mask of a region is tried, and which one after it was rejected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from kalm_core.demonstration import Demonstration
from kalm_core.proposal.mask import Mask
from kalm_core.proposal.region import Region, Rejection


class MaskChooser(Protocol):
    """Chooses among the masks of a region (VLM_2 in Algorithm 1)."""

    def choose(
        self,
        demonstrations: Sequence[Demonstration],
        task: str,
        region: Region,
        masks: Sequence[Mask],
        rejected: Sequence[Rejection],
    ) -> Iterable[Mask]:
        """Return masks in the order to be tried; each may be thought of only when it is asked for.

        Ending asks for another region.

        Args:
            demonstrations: of one skill.
            task: what they show, in one sentence.
            region: one of the proposer's.
            masks: at least one, best first.
            rejected: what was not accepted; grows while the masks are tried.
        """


class ScoreChooser:
    """Takes the masks in the order of their score."""

    def choose(
        self,
        demonstrations: Sequence[Demonstration],
        task: str,
        region: Region,
        masks: Sequence[Mask],
        rejected: Sequence[Rejection],
    ) -> Iterable[Mask]:
        """See `MaskChooser.choose`."""
        del demonstrations, task, region, rejected
        return masks
