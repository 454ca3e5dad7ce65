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
from kalm_core.report.overlay import (
    Picture,
    contact_sheet,
    draw_keypoints,
    draw_points,
    tint,
    with_caption,
)

_GREEN, _RED = (60, 220, 60), (230, 60, 50)


def proposal_picture(
    demonstrations: Sequence[Demonstration], distillation: Distillation
) -> Picture:
    """Return the reference image three times: region, mask, and the candidates by consistency.

    Candidates that were accepted are green, rejected ones red.
    """
    frame = demonstrations[distillation.reference_demonstration].initial
    region = tint(frame.color, distillation.region.mask, (255, 200, 0), 0.5)
    mask = tint(frame.color, distillation.mask.pixels, (40, 90, 255), 0.6)
    accepted = distillation.candidate_accepted
    candidates = draw_points(
        frame,
        distillation.candidate_positions,
        [_GREEN if ok else _RED for ok in accepted],
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
    demonstrations: Sequence[Demonstration], distillation: Distillation
) -> Picture:
    """Return every demonstration's first image with the keypoints found in it."""
    pictures = []
    for index, (item, detected) in enumerate(
        zip(demonstrations, distillation.detected, strict=True)
    ):
        role = " (reference)" if index == distillation.reference_demonstration else ""
        found = f"{int(detected.found.sum())} of {len(detected)}"
        picture = draw_keypoints(item.initial, detected)
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


def write_perception_report(
    folder: Path, demonstrations: Sequence[Demonstration], distillation: Distillation
) -> list[Path]:
    """Write the pictures as PNG files.

    Args:
        folder: made when missing.
        demonstrations: those that were distilled, in the same order.
        distillation: the result.

    Returns:
        The files written: `proposal.png`, `demonstrations.png`, `consistency.png`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "proposal.png": proposal_picture(demonstrations, distillation),
        "demonstrations.png": demonstrations_picture(demonstrations, distillation),
        "consistency.png": consistency_picture(distillation),
    }
    return [save_picture(folder / name, picture) for name, picture in pictures.items()]


def save_picture(path: Path, picture: Picture) -> Path:
    """Write a (H, W, 3) uint8 picture as PNG under a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    Image.fromarray(picture).save(temporary, format="PNG")
    temporary.replace(path)
    return path
