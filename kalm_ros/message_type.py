"""From the name of a message type to its class."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def message_type(name: str) -> Any:
    """Return the class of `package/msg/Name`."""
    package, folder, kind = name.split("/")
    return getattr(import_module(f"{package}.{folder}"), kind)
