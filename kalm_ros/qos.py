"""The qualities of service of the suite's topics, by name."""

from __future__ import annotations

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)

LISTEN_SENSOR = qos_profile_sensor_data
"""Subscribe to a camera or to robot states: takes reliable and best-effort publishers alike."""

LISTEN_POSES = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=60,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""Subscribe to the tool's poses: a second of them may wait, none is worth sending again."""

IMAGES = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=2,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""Publish images as realsense2_camera does, so that a listener may have lost parts sent again."""

STATES = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
"""Publish states of the robot."""

LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""Publish the last result, for everybody who comes later too."""

RECORD_DEPTH = 100
"""Messages that a recorder lets wait while it writes."""
