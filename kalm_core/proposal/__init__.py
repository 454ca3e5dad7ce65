"""Keypoint proposal (section II-C): regions, masks and candidate points, built by name."""

from __future__ import annotations

from kalm_core.errors import BackendUnavailableError, ConfigError
from kalm_core.proposal.geometric import GeometricProposer, GeometricSettings
from kalm_core.proposal.mask import Mask as Mask
from kalm_core.proposal.mask import MaskProposer as MaskProposer
from kalm_core.proposal.proximity import ProximityProposer, ProximitySettings
from kalm_core.proposal.region import Region as Region
from kalm_core.proposal.region import RegionProposer as RegionProposer
from kalm_core.proposal.sampling import farthest_points as farthest_points

REGION_BACKENDS = ("proximity", "vlm")
MASK_BACKENDS = ("geometric", "sam")


def make_region_proposer(name: str, proximity: ProximitySettings | None = None) -> RegionProposer:
    """Build the named region proposer.

    Raises:
        BackendUnavailableError: the backend is known but not part of this version.
        ConfigError: there is no such backend.
    """
    if name == "proximity":
        return ProximityProposer(proximity)
    raise _no_backend("region", name, REGION_BACKENDS)


def make_mask_proposer(name: str, geometric: GeometricSettings | None = None) -> MaskProposer:
    """Build the named mask proposer.

    Raises:
        BackendUnavailableError: the backend is known but not part of this version.
        ConfigError: there is no such backend.
    """
    if name == "geometric":
        return GeometricProposer(geometric)
    raise _no_backend("mask", name, MASK_BACKENDS)


def _no_backend(kind: str, name: str, known: tuple[str, ...]) -> Exception:
    """Return the error for a backend that cannot be built."""
    if name in known:
        return BackendUnavailableError(
            f"the {kind} backend '{name}' is not built into this version",
            f"use {known[0]}, which needs no weights and no account",
        )
    return ConfigError(f"there is no {kind} backend '{name}'", f"known are {', '.join(known)}")
