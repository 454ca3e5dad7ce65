"""How random values and colours of a scene are drawn."""

from __future__ import annotations

import colorsys

import numpy as np

Color = tuple[float, float, float]
Range = tuple[float, float]


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from [low, high)."""
    return float(rng.uniform(low, high))


def draw_color(rng: np.random.Generator, hue: Range, saturation: Range, value: Range) -> Color:
    """Draw an RGB colour from ranges of hue (turns), saturation and value."""
    return colorsys.hsv_to_rgb(
        uniform(rng, *hue) % 1.0, uniform(rng, *saturation), uniform(rng, *value)
    )


def luminance(color: Color) -> float:
    """Return the perceived brightness of an RGB colour, in [0, 1]."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
