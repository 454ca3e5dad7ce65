"""Why Algorithm 1 declares failure: wrong part, too little depth, or demonstrations too different.

The three leave different traces. Too little depth shows in the images. A wrong part lies away from
where the arm worked, or its points are found here and there but nowhere reliably. When the
demonstrations differ too much, points of the right part are found in some of them and in others
not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from kalm_core.demonstration import Demonstration
from kalm_core.evidence import Evidence
from kalm_core.proposal.contact import Contact
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array

_AROUND = 0.05
"""Depth is asked for this far around the contact [m]."""
_POOR_DEPTH = 0.5
"""Less of the pixels with depth is too little."""
_AT_CONTACT = 0.06
"""A mask farther from the contact than this is another part [m]."""
_SEEN, _UNSEEN = 0.5, 0.2
"""Share of the candidates from which a demonstration shows the part; below, it does not."""


class Cause(Enum):
    """What went wrong, in the words of the error."""

    WRONG_PART = "wrong part"
    POOR_DEPTH = "depth too poor"
    TOO_DIFFERENT = "demonstrations too different"


@dataclass(frozen=True)
class Traces:
    """What A attempts with D demonstrations left behind.

    Attributes:
        depth: (D,) share of the pixels around the part that have depth.
        seed: (A,) demonstration of each attempt.
        found: (A, D) share of the attempt's candidates that were found; NaN where no candidate was
            looked for.
        distance: (A,) from the mask to the contact [m]; NaN where one of them is unknown.
    """

    depth: Array
    seed: NDArray[np.int64]
    found: Array
    distance: Array


@dataclass(frozen=True)
class Diagnosis:
    """The cause, how it shows, and what to do."""

    cause: Cause
    problem: str
    remedy: str


def gather(
    demonstrations: Sequence[Demonstration],
    contacts: Sequence[Contact | None],
    attempts: Sequence[Evidence],
) -> Traces:
    """Return what the attempts left behind.

    Args:
        demonstrations: that keypoints were looked for in.
        contacts: where each of them touched its scene; None where unknown.
        attempts: what was seen in each attempt.
    """
    frames = [item.initial for item in demonstrations]
    boxes = {item.region.demonstration: item.region.mask for item in attempts}
    depth = [
        _depth_share(frame, contact, boxes.get(index))
        for index, (frame, contact) in enumerate(zip(frames, contacts, strict=True))
    ]
    count = len(frames)
    found, distance = np.full((len(attempts), count), np.nan), np.full(len(attempts), np.nan)
    for row, item in enumerate(attempts):
        if item.found is not None and item.found.shape[1]:
            found[row] = item.found.mean(axis=1)
        seed = item.region.demonstration
        contact = contacts[seed]
        if item.mask is not None and item.mask.any() and contact is not None:
            points = frames[seed].points_base()[item.mask]
            points = points[np.isfinite(points).all(axis=1)]
            if len(points):
                distance[row] = np.linalg.norm(points - contact.position, axis=1).min()
    seeds = np.array([item.region.demonstration for item in attempts], np.int64)
    return Traces(np.array(depth), seeds, found, distance)


def diagnose(traces: Traces, names: Sequence[str]) -> Diagnosis:
    """Return the likeliest cause.

    Args:
        traces: see there.
        names: of the demonstrations.
    """
    poor = np.flatnonzero(traces.depth < _POOR_DEPTH)
    examined = np.isfinite(traces.found).all(axis=1)
    blind = np.zeros(len(names), bool)
    seen = np.zeros(len(names), bool)
    if examined.any():
        rows = np.flatnonzero(examined)
        best = rows[traces.found[rows].mean(axis=1).argmax()]
        others = np.arange(len(names)) != traces.seed[best]
        seen = others & (traces.found[best] >= _SEEN)
        blind = others & (traces.found[best] < _UNSEEN)
    # with its depth missing, a demonstration shows nothing whatever it is of
    if len(poor) and (not examined.any() or blind[poor].any() or 2 * len(poor) > len(names)):
        share = ", ".join(f"{names[int(k)]} ({100 * traces.depth[k]:.0f} %)" for k in poor)
        return Diagnosis(
            Cause.POOR_DEPTH,
            f"around the part too few pixels have depth in {share}, "
            f"{100 * _POOR_DEPTH:.0f} % are needed",
            "look from 30 to 60 cm, avoid glass, mirrors and direct sun, and record these again",
        )
    if seen.any() and blind.any():
        return _too_different(
            f"points of the part are found in {_list(names, seen)} but hardly any in "
            f"{_list(names, blind)}"
        )
    distance = traces.distance[np.isfinite(traces.distance)]
    far = len(distance) > 0 and np.median(distance) > _AT_CONTACT
    if far or not examined.any():
        return _wrong_part(
            f"what was tried lies {100 * np.median(distance):.0f} cm from where the gripper worked"
            if far
            else "where the part was looked for, nothing with enough points stands out"
        )
    if len(distance) and blind.sum() == len(names) - 1:
        return _too_different(
            "points of the part that the gripper worked on are found in no other demonstration"
        )
    everywhere = seen.sum() == len(names) - 1
    return _wrong_part(
        "what was tried is found in all demonstrations, but it is not what the gripper worked on, "
        "or not the same points are found"
        if everywhere and len(distance)
        else "the points of what was tried are found here and there, but the same ones nowhere "
        "reliably"
    )


def _list(names: Sequence[str], which: NDArray[np.bool_]) -> str:
    return ", ".join(names[int(k)] for k in np.flatnonzero(which))


def _too_different(problem: str) -> Diagnosis:
    return Diagnosis(
        Cause.TOO_DIFFERENT,
        problem,
        "use the same part of the same kind of object in all demonstrations, from similar views, "
        "or learn a skill for each kind",
    )


def _wrong_part(problem: str) -> Diagnosis:
    return Diagnosis(
        Cause.WRONG_PART,
        problem,
        "choose another region or mask backend, say in the task's sentence which part is meant, "
        "and look at the report's masks",
    )


def _depth_share(
    frame: RgbdFrame, contact: Contact | None, region: NDArray[np.bool_] | None
) -> float:
    """Return the share of pixels with depth around the contact, else in the region's box."""
    height, width = frame.depth.shape
    box = (slice(0, height), slice(0, width))
    if contact is not None:
        z = float((contact.position - frame.T_base_cam[:3, 3]) @ frame.T_base_cam[:3, 2])
        center = frame.project(contact.position[None])[0]
        if np.isfinite(center).all():
            u, v = center
            reach = frame.intrinsics.fx * _AROUND / max(z, 0.05)
            box = (_span(v, reach, height), _span(u, reach, width))
    elif region is not None and region.any():
        rows, columns = np.nonzero(region)
        box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    window = frame.depth[box]
    return float((window > 0).mean()) if window.size else 0.0


def _span(middle: float, reach: float, limit: int) -> slice:
    return slice(int(np.clip(middle - reach, 0, limit)), int(np.clip(middle + reach, 0, limit)))
