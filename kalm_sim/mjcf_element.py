"""Small helpers to write MJCF."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable


def add(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    """Append an element with attributes to its parent and return it."""
    return ET.SubElement(parent, tag, attributes)


def find(element: ET.Element, path: str) -> ET.Element:
    """Return the element at an ElementTree path, which must be there."""
    found = element.find(path)
    if found is None:
        raise LookupError(f"the robot's MJCF has no <{path}>; is it another franky-sim?")
    return found


def numbers(values: Iterable[float]) -> str:
    """Return numbers as MJCF writes them; 9 digits keep a micrometre and a microradian."""
    return " ".join(f"{float(value):.9g}" for value in values)


def color(rgb: Iterable[float]) -> str:
    """Return an opaque colour as MJCF writes it."""
    return " ".join(f"{c:.6g}" for c in rgb) + " 1"
