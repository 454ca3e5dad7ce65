"""Pictures of the distillation: region, mask, keypoints in every demonstration, consistency."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kalm_core.demonstration import Demonstration
from kalm_core.distillation import Distillation
from kalm_core.evidence import Evidence
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.report.attempts import GREEN, MASK, RED, REGION, attempt_picture, match_picture
from kalm_core.report.overlay import (
    Picture,
    contact_sheet,
    draw_keypoints,
    draw_points,
    tint,
    with_caption,
)


def proposal_picture(
    demonstrations: Sequence[Demonstration], distillation: Distillation
) -> Picture:
    """Return the reference image three times: region, mask, and the candidates by consistency.

    Candidates that were accepted are green, rejected ones red.
    """
    frame = demonstrations[distillation.reference_demonstration].initial
    region = tint(frame.color, distillation.region.mask, REGION, 0.5)
    mask = tint(frame.color, distillation.mask.pixels, MASK, 0.6)
    accepted = distillation.candidate_accepted
    candidates = draw_points(
        frame,
        distillation.candidate_positions,
        [GREEN if ok else RED for ok in accepted],
        [""] * len(accepted),
        3,
    )
    name = demonstrations[distillation.reference_demonstration].name
    return contact_sheet(
        [
            with_caption(region, f"region, in {name}"),
            with_caption(mask, "mask"),
            with_caption(candidates, f"{int(accepted.sum())} of {len(accepted)} points accepted"),
        ],
        columns=3,
        width=480,
    )


def demonstrations_picture(
    demonstrations: Sequence[Demonstration], seed: int, detected: Sequence[DetectedKeypoints]
) -> Picture:
    """Return every demonstration's first image with the keypoints found in it.

    Args:
        demonstrations: of a skill.
        seed: index of the one that is the reference.
        detected: the keypoints in each.
    """
    pictures = []
    for index, (item, keypoints) in enumerate(zip(demonstrations, detected, strict=True)):
        role = " (reference)" if index == seed else ""
        found = f"{int(keypoints.found.sum())} of {len(keypoints)}"
        picture = draw_keypoints(item.initial, keypoints)
        pictures.append(with_caption(picture, f"{item.name}{role}: {found} found"))
    return contact_sheet(pictures, columns=5, width=384)


def consistency_picture(distillation: Distillation) -> Picture:
    """Return bars: the share of demonstrations in which each candidate and keypoint was found."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.6), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 1])
    consistency = distillation.candidate_consistency
    order = np.argsort(-consistency, kind="stable")
    colors = np.where(distillation.candidate_accepted[order], "tab:green", "tab:red")
    left.bar(np.arange(len(order)), consistency[order], color=colors.tolist())
    left.axhline(distillation.needed_consistency, color="black", linestyle="--", linewidth=1)
    left.set(xlabel="candidate", ylabel="found in share of demonstrations", ylim=(0, 1.05))
    kept = distillation.reference.consistency
    right.bar(np.arange(1, len(kept) + 1), kept, color="tab:blue")
    right.set(xlabel="keypoint kept", ylim=(0, 1.05))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


MOST_ATTEMPTS = 12
"""Pictures of attempts that are written at most; the last ones, for one of them was taken."""


def write_perception_report(
    folder: Path, demonstrations: Sequence[Demonstration], distillation: Distillation
) -> list[Path]:
    """Write the pictures of every stage.

    Args:
        folder: made when missing.
        demonstrations: those that were distilled, in the same order.
        distillation: the result.

    Returns:
        The files written: `proposal.png`, `consistency.png`, one `attempt_NN.jpg` for each mask
        tried, and those of `write_match_pictures`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "proposal.png": proposal_picture(demonstrations, distillation),
        "consistency.png": consistency_picture(distillation),
    }
    first = max(0, len(distillation.attempts) - MOST_ATTEMPTS)
    for number, attempt in enumerate(distillation.attempts[first:], first + 1):
        drawn = attempt_picture(demonstrations, attempt, distillation.needed_consistency)
        if drawn is not None:
            pictures[f"attempt_{number:02d}.jpg"] = drawn
    files = [save_picture(folder / name, picture) for name, picture in pictures.items()]
    return files + write_match_pictures(
        folder,
        demonstrations,
        distillation.reference_demonstration,
        distillation.reference,
        distillation.detected,
        seen=distillation.attempts[-1].evidence,
        needed=distillation.needed_consistency,
    )


def write_match_pictures(
    folder: Path,
    demonstrations: Sequence[Demonstration],
    seed: int,
    reference: ReferenceKeypoints,
    detected: Sequence[DetectedKeypoints],
    *,
    seen: Evidence | None = None,
    needed: float = 0.0,
) -> list[Path]:
    """Write where the keypoints are in each demonstration.

    Args:
        folder: that is there.
        demonstrations: of a skill.
        seed: index of the one that is the reference.
        reference: the keypoints in it.
        detected: the keypoints in each.
        seen: what verification saw of all candidates; None draws the keypoints alone.
        needed: share of the demonstrations from which a candidate is accepted.

    Returns:
        The files written: `demonstrations.png` and one `matches_NN.jpg` for each demonstration.
    """
    sheet = demonstrations_picture(demonstrations, seed, detected)
    files = [save_picture(folder / "demonstrations.png", sheet)]
    for index, (item, keypoints) in enumerate(zip(demonstrations, detected, strict=True)):
        drawn = match_picture(
            demonstrations[seed].initial,
            item.initial,
            reference.positions,
            keypoints,
            seen=seen,
            index=index,
            needed=needed,
        )
        files.append(save_picture(folder / f"matches_{index:02d}.jpg", drawn))
    return files


def save_picture(path: Path, picture: Picture) -> Path:
    """Write a (H, W, 3) uint8 picture, PNG or JPEG by its name, under a temporary name first."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    kind = {".png": "PNG", ".jpg": "JPEG"}[path.suffix]
    Image.fromarray(picture).save(temporary, format=kind, quality=88)
    temporary.replace(path)
    return path
