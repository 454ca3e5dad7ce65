"""A plan drawn into the image that it was made from."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from kalm_core.planning.planner import MotionPlan
from kalm_core.report.overlay import Color, Picture, with_caption
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array

_APPROACH: Color = (86, 180, 233)
_OPEN: Color = (0, 158, 115)
_CLOSED: Color = (213, 94, 0)


def draw_plan(frame: RgbdFrame, plan: MotionPlan) -> Picture:
    """Return the colour image with the way of the tool: approach, open fingers, closed fingers."""
    image = Image.fromarray(frame.color.copy())
    draw = ImageDraw.Draw(image)
    execution = plan.motion.execution
    middle = (execution.gripper.max() + execution.gripper.min()) / 2
    colors = [_CLOSED if width < middle else _OPEN for width in execution.gripper[1:]]
    _line(draw, frame, plan.approach_tools, [_APPROACH] * (len(plan.approach_tools) - 1))
    _line(draw, frame, execution.positions, colors)
    return with_caption(np.asarray(image), str(plan.certificate))


def _line(draw: ImageDraw.ImageDraw, frame: RgbdFrame, points: Array, colors: list[Color]) -> None:
    pixels = frame.project(points)
    for start, end, color in zip(pixels[:-1], pixels[1:], colors, strict=True):
        if np.isfinite([start, end]).all():
            draw.line([tuple(start), tuple(end)], fill=color, width=2)
