"""The ROS message definitions, from rosbags; no ROS installation is needed."""

from __future__ import annotations

from functools import lru_cache

from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore


@lru_cache(maxsize=1)
def message_types() -> Typestore:
    """Return the message definitions of ROS 2 Jazzy (the same as Kilted's for our topics)."""
    return get_typestore(Stores.ROS2_JAZZY)
