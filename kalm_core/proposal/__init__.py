"""Keypoint proposal (section II-C): regions, masks and candidate points, built by name."""

from __future__ import annotations

from kalm_core.errors import ConfigError
from kalm_core.proposal.chooser import MaskChooser as MaskChooser
from kalm_core.proposal.chooser import ScoreChooser
from kalm_core.proposal.geometric import GeometricProposer, GeometricSettings
from kalm_core.proposal.mask import Mask as Mask
from kalm_core.proposal.mask import MaskProposer as MaskProposer
from kalm_core.proposal.proximity import ProximityProposer, ProximitySettings
from kalm_core.proposal.region import Region as Region
from kalm_core.proposal.region import RegionProposer as RegionProposer
from kalm_core.proposal.region import Rejection as Rejection
from kalm_core.proposal.sam import SamProposer, SamSettings
from kalm_core.proposal.sampling import farthest_points as farthest_points
from kalm_core.proposal.vlm import VlmProposer as VlmProposer

REGION_BACKENDS = ("proximity", "vlm")
MASK_CHOOSERS = ("score", "vlm")
MASK_BACKENDS = ("geometric", "sam")


def make_region_proposer(
    name: str, proximity: ProximitySettings | None = None, vlm: VlmProposer | None = None
) -> RegionProposer:
    """Build the named region proposer.

    Args:
        name: one of `REGION_BACKENDS`.
        proximity: settings of that backend.
        vlm: that chooses the masks too and remembers what was said; None makes one.

    Raises:
        BackendUnavailableError: the VLM lacks its package or key.
        ConfigError: there is no such backend.
    """
    if name == "proximity":
        return ProximityProposer(proximity)
    if name == "vlm":
        return vlm or VlmProposer()
    raise _no_backend("region", name, REGION_BACKENDS)


def make_mask_chooser(name: str, vlm: VlmProposer | None = None) -> MaskChooser:
    """Build the named chooser of masks.

    Args:
        name: one of `MASK_CHOOSERS`.
        vlm: that proposes the regions too and remembers what was said; None makes one.

    Raises:
        BackendUnavailableError: the VLM lacks its package or key.
        ConfigError: there is no such chooser.
    """
    if name == "score":
        return ScoreChooser()
    if name == "vlm":
        return vlm or VlmProposer()
    raise _no_backend("mask chooser", name, MASK_CHOOSERS)


def make_mask_proposer(
    name: str, geometric: GeometricSettings | None = None, sam: SamSettings | None = None
) -> MaskProposer:
    """Build the named mask proposer.

    Raises:
        BackendUnavailableError: the backend lacks its package, weights or device.
        ConfigError: there is no such backend.
    """
    if name == "geometric":
        return GeometricProposer(geometric)
    if name == "sam":
        return SamProposer(sam)
    raise _no_backend("mask", name, MASK_BACKENDS)


def _no_backend(kind: str, name: str, known: tuple[str, ...]) -> ConfigError:
    """Return the error for a backend that there is not."""
    return ConfigError(f"there is no {kind} backend '{name}'", f"known are {', '.join(known)}")
