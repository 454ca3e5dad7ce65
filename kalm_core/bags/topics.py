"""The topics of a demonstration: the one table that recorder, reader and `kalm topics` share."""

from __future__ import annotations

from dataclasses import dataclass

COLOR = "/camera/camera/color/image_raw"
DEPTH = "/camera/camera/aligned_depth_to_color/image_raw"
CAMERA_INFO = "/camera/camera/color/camera_info"
JOINT_STATES = "/joint_states"
EE_POSE = "/kalm/ee_pose"

ARM_JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("fr3_finger_joint1", "fr3_finger_joint2")


@dataclass(frozen=True)
class RecordedTopic:
    """One topic of a recording.

    Attributes:
        name: the topic's full name.
        type: the ROS type, as `package/msg/Name`.
        why: what the method takes from it.
        required: whether a demonstration without it is refused.
    """

    name: str
    type: str
    why: str
    required: bool = True


RECORDED_TOPICS = (
    RecordedTopic(COLOR, "sensor_msgs/msg/Image", "colour image, rgb8"),
    RecordedTopic(
        DEPTH, "sensor_msgs/msg/Image", "depth aligned to colour, 16UC1 in millimetres, 0 = none"
    ),
    RecordedTopic(CAMERA_INFO, "sensor_msgs/msg/CameraInfo", "intrinsics of the colour camera"),
    RecordedTopic(
        JOINT_STATES,
        "sensor_msgs/msg/JointState",
        "fr3_joint1..7 and fr3_finger_joint1..2 (opening = sum of both fingers)",
    ),
    RecordedTopic(
        EE_POSE,
        "geometry_msgs/msg/PoseStamped",
        "fr3_hand_tcp in fr3_link0: the motion, and where the camera was",
    ),
)


def record_command(output: str = "demonstrations/001") -> str:
    """Return the `ros2 bag record` line that records an equivalent bag."""
    names = " ".join(topic.name for topic in RECORDED_TOPICS)
    return f"ros2 bag record -s mcap -o {output} --topics {names}"
