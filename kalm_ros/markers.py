"""What RViz shows of keypoints, trajectories and plans."""

from __future__ import annotations

from collections.abc import Sequence

from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from kalm_core.keypoints import DetectedKeypoints
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_ros.conversions import point_to_ros

KEYPOINT_SIZE = 0.015
LINE_WIDTH = 0.003
PALETTE = (
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
)
"""Colours that colour-blind people can tell apart (Okabe and Ito)."""


def keypoint_markers(keypoints: DetectedKeypoints, header: Header) -> MarkerArray:
    """Return a sphere for every keypoint that was found, the surer the more solid.

    What was shown before is deleted.
    """
    array = cleared(header)
    for i, point in enumerate(keypoints.positions):
        if keypoints.found[i]:
            marker = _marker(header, "keypoints", i, Marker.SPHERE, KEYPOINT_SIZE)
            marker.scale.y = marker.scale.z = KEYPOINT_SIZE
            marker.color = _color(i, 0.3 + 0.7 * float(keypoints.confidence[i]))
            marker.pose.position = point_to_ros(point)
            array.markers.append(marker)
    return array


def trajectory_markers(
    trajectories: Sequence[EndEffectorTrajectory], header: Header
) -> MarkerArray:
    """Return a line for every trajectory, the best one the most solid."""
    array = cleared(header)
    for i, trajectory in enumerate(trajectories):
        marker = _marker(header, "trajectories", i, Marker.LINE_STRIP, LINE_WIDTH)
        marker.color = _color(i, 1.0 if i == 0 else 0.4)
        marker.points = [point_to_ros(point) for point in trajectory.positions]
        array.markers.append(marker)
    return array


def plan_markers(execution: EndEffectorTrajectory, approach: Array, header: Header) -> MarkerArray:
    """Return the way of the tool: (N, 3) approach [m], the skill, the hand."""
    array = cleared(header)
    for number, (name, points) in enumerate(
        (("approach", approach), ("execution", execution.positions))
    ):
        marker = _marker(header, name, 0, Marker.LINE_STRIP, 2 * LINE_WIDTH)
        marker.color = _color(number + 1, 1.0)
        marker.points = [point_to_ros(point) for point in points]
        array.markers.append(marker)
    hand = _marker(header, "pointing", 0, Marker.LINE_LIST, LINE_WIDTH)
    hand.color = _color(0, 1.0)
    for T in execution.T_base_ee[:: max(1, len(execution.stamps) // 12)]:
        hand.points += [point_to_ros(T[:3, 3]), point_to_ros(T[:3, 3] - 0.05 * T[:3, 2])]
    array.markers.append(hand)
    return array


def cleared(header: Header) -> MarkerArray:
    """Return the message that deletes what was shown before."""
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])


def _marker(header: Header, group: str, number: int, kind: int, size: float) -> Marker:
    marker = Marker(header=header, ns=group, id=number, type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale.x = size
    return marker


def _color(number: int, alpha: float) -> ColorRGBA:
    red, green, blue = PALETTE[number % len(PALETTE)]
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
