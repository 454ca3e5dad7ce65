"""Settings of reading and judging a recording."""

from __future__ import annotations

from pydantic import Field

from kalm_core.bags import topics
from kalm_core.settings import Settings


class BagSettings(Settings):
    """How a bag becomes a demonstration."""

    color_topic: str = Field(topics.COLOR, description="sensor_msgs/Image, colour")
    depth_topic: str = Field(topics.DEPTH, description="sensor_msgs/Image, depth aligned to colour")
    camera_info_topic: str = Field(topics.CAMERA_INFO, description="sensor_msgs/CameraInfo")
    joint_states_topic: str = Field(topics.JOINT_STATES, description="sensor_msgs/JointState")
    ee_pose_topic: str = Field(topics.EE_POSE, description="geometry_msgs/PoseStamped")
    base_frame: str = Field("fr3_link0", description="frame in which the tool's pose is given")
    pair_tolerance: float = Field(
        0.02, ge=0, le=1, description="most time between a colour and its depth image [s]"
    )
    pose_gap: float = Field(
        0.25,
        gt=0,
        le=5,
        description="longest gap between tool poses across which to interpolate [s]",
    )
    finger_gap: float = Field(
        0.3,
        gt=0,
        le=5,
        description="longest time without the fingers while the arm's joints come [s]; the hand is "
        "read every 0.1 s, and connecting to it anew takes 0.5 s or more",
    )
    late: float = Field(
        0.1, ge=0, le=1, description="a stamp may lie this far behind an earlier one [s]"
    )
    video_frames: int = Field(
        8, ge=0, le=200, description="images taken along the motion, besides the first"
    )
    still_joints: float = Field(
        0.01, gt=0, le=0.5, description="the arm has moved when a joint is this far off [rad]"
    )
    still_time: float = Field(
        0.3, ge=0, le=10, description="the arm should be still this long at the start [s]"
    )
    min_motion: float = Field(
        0.02, ge=0, le=1, description="a demonstration moves the tool at least this far [m]"
    )
    min_switch: float = Field(
        0.01, gt=0, le=0.08, description="a gripper that changes less has not switched [m]"
    )
    min_depth_share: float = Field(
        0.3, ge=0, le=1, description="share of pixels with depth below which a bag is suspicious"
    )
    max_clock_offset: float = Field(
        1.0,
        gt=0,
        le=60,
        description="images may arrive this much later after their stamp than arm states do; "
        "rendering or aligning takes a part of it, more means other clocks [s]",
    )
