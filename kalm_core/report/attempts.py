"""Pictures of the verification: every mask that was tried, and its candidates everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from kalm_core.demonstration import Demonstration
from kalm_core.distillation import Attempt
from kalm_core.evidence import Evidence
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.report.overlay import Picture, contact_sheet, keypoint_color, tint, with_caption
from kalm_core.report.panel import HEIGHT, WIDTH, Panel, draw_dots
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array

GREEN, RED, GREY = (60, 220, 60), (230, 60, 50), (170, 170, 170)
REGION, MASK = (255, 200, 0), (40, 90, 255)
_NOWHERE = np.zeros((0, 3))


def attempt_picture(
    demonstrations: Sequence[Demonstration], attempt: Attempt, needed: float
) -> Picture | None:
    """Return region, mask and candidates of an attempt side by side; None without evidence.

    Args:
        demonstrations: all of them.
        attempt: one of a distillation.
        needed: share of the demonstrations from which a candidate is accepted.
    """
    seen = attempt.evidence
    if seen is None:
        return None
    frame = demonstrations[attempt.demonstration].initial
    whole = Panel.around(frame, _NOWHERE)
    region = np.asarray(whole.image(tint(frame.color, seen.region.mask, REGION, 0.5)))
    pictures = [with_caption(region, "region")]
    if seen.mask is not None:
        mask = np.asarray(whole.image(tint(frame.color, seen.mask, MASK, 0.6)))
        pictures.append(with_caption(mask, "mask"))
    if seen.positions is not None:
        accepted = accepted_candidates(seen, needed)
        panel = Panel.around(frame, seen.positions)
        image = panel.image()
        colors = [GREEN if ok else RED for ok in accepted]
        draw_dots(image, panel.places(seen.positions), colors, 3)
        caption = f"{int(accepted.sum())} of {len(accepted)} candidates accepted"
        pictures.append(with_caption(np.asarray(image), caption))
    blank = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    pictures += [blank] * (3 - len(pictures))  # so that all attempts have one scale
    return contact_sheet(pictures, columns=3, width=WIDTH)


def accepted_candidates(seen: Evidence, needed: float) -> NDArray[np.bool_]:
    """Return which candidates were found in a share `needed` of the demonstrations, (N,)."""
    count = 0 if seen.positions is None else len(seen.positions)
    if seen.found is None:
        return np.ones(count, bool)
    return np.asarray(seen.found.mean(axis=0) >= needed)


def match_picture(
    reference: RgbdFrame,
    frame: RgbdFrame,
    keypoints: Array,
    detected: DetectedKeypoints,
    *,
    seen: Evidence | None,
    index: int,
    needed: float,
) -> Picture:
    """Return the reference beside a demonstration, with a line for each keypoint that was found.

    Args:
        reference: image that the keypoints were chosen in.
        frame: the demonstration's first image.
        keypoints: (K, 3) positions in the reference [m].
        detected: the keypoints in this demonstration.
        seen: what verification saw of all candidates; None draws the keypoints alone.
        index: the demonstration's place in it.
        needed: share of the demonstrations from which a candidate is accepted.
    """
    panels = (Panel.around(reference, keypoints), Panel.around(frame, detected.positions))
    images = [panel.image() for panel in panels]
    if seen is not None and seen.positions is not None and seen.matches is not None:
        colors = [GREEN if ok else RED for ok in accepted_candidates(seen, needed)]
        draw_dots(images[0], panels[0].places(seen.positions), colors, 2)
        if seen.found is not None:
            colors = [c if ok else GREY for c, ok in zip(colors, seen.found[index], strict=True)]
        draw_dots(images[1], panels[1].places(seen.matches[index]), colors, 2)
    count = len(keypoints)
    colors = [keypoint_color(k, count) for k in range(count)]
    labels = [str(k + 1) for k in range(count)]
    ends = (panels[0].places(keypoints), panels[1].places(detected.positions))
    canvas = images[0].crop((0, 0, 2 * WIDTH, images[0].height))
    canvas.paste(images[1], (WIDTH, 0))
    draw = ImageDraw.Draw(canvas)
    there = ends[1] + [WIDTH, 0]
    shown = detected.found & np.isfinite(np.hstack([ends[0], there])).all(axis=1)
    for row in np.flatnonzero(shown):
        draw.line((*ends[0][row], *there[row]), fill=colors[row], width=1)
    draw_dots(canvas, ends[0], colors, 5, labels)
    draw_dots(canvas, there, colors, 5, labels)
    return np.asarray(canvas)
