"""A RealSense camera on the graph, for those who have no realsense2_camera.

It publishes what realsense2_camera publishes with `align_depth.enable:=true`: the same topics,
frame and encodings.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from pydantic import Field
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from kalm_core.bags import topics
from kalm_core.errors import BackendUnavailableError, NoImageError
from kalm_core.rgbd import Intrinsics
from kalm_core.settings import Settings
from kalm_ros.conversions import (
    CAMERA_FRAME,
    color_to_ros,
    depth_to_ros,
    header_to_ros,
    intrinsics_to_ros,
)
from kalm_ros.parameters import declare_settings
from kalm_ros.periodic import Periodic
from kalm_ros.qos import IMAGES
from kalm_ros.run_node import run_node

FRAME_TIMEOUT = 2000
"""How long to wait for a pair of images [ms]."""


class RealsenseSettings(Settings):
    """Parameters of `realsense_node`."""

    serial: str = Field("", description="serial number of the camera; empty takes the first one")
    width: int = Field(640, ge=320, le=1920, description="of colour and depth images [px]")
    height: int = Field(480, ge=180, le=1080, description="of colour and depth images [px]")
    rate: int = Field(15, ge=6, le=60, description="of the sensor [Hz]")
    publish_rate: float = Field(15.0, gt=0, le=60, description="of the topics [Hz]")


class RealsenseCamera:
    """A colour and depth stream through librealsense, depth aligned to colour.

    Raises:
        BackendUnavailableError: pyrealsense2 is not installed, or no camera of these settings
            answers.
    """

    def __init__(self, settings: RealsenseSettings) -> None:
        try:
            import pyrealsense2
        except ImportError as error:
            raise BackendUnavailableError(
                f"pyrealsense2 cannot be loaded: {error}",
                "pip install pyrealsense2, and libusb-1.0-0 from the system's packages",
            ) from error
        self._rs: Any = pyrealsense2
        self._pipeline = self._rs.pipeline()
        try:
            profile = self._pipeline.start(self._config(settings))
        except RuntimeError as error:
            raise BackendUnavailableError(
                f"no RealSense camera {settings.serial or ''} answers with {settings.width}x"
                f"{settings.height} at {settings.rate} Hz: {error}",
                "check the cable (USB 3), the serial number and the udev rules",
            ) from error
        self._depth_unit = float(profile.get_device().first_depth_sensor().get_depth_scale())
        self._align = self._rs.align(self._rs.stream.color)
        color = profile.get_stream(self._rs.stream.color).as_video_stream_profile()
        lens = color.get_intrinsics()
        self.intrinsics = Intrinsics(lens.width, lens.height, lens.fx, lens.fy, lens.ppx, lens.ppy)
        self.distortion = [float(value) for value in lens.coeffs]

    def _config(self, settings: RealsenseSettings) -> Any:
        rs = self._rs
        config = rs.config()
        if settings.serial:
            config.enable_device(settings.serial)
        size = (settings.width, settings.height)
        config.enable_stream(rs.stream.color, *size, rs.format.rgb8, settings.rate)
        config.enable_stream(rs.stream.depth, *size, rs.format.z16, settings.rate)
        return config

    def images(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Return colour (H, W, 3) uint8, depth (H, W) float32 [m] and the stamp [ns].

        Raises:
            NoImageError: the camera gave no pair of images in time.
        """
        try:
            pair = self._align.process(self._pipeline.wait_for_frames(FRAME_TIMEOUT))
        except RuntimeError as error:
            raise NoImageError(f"the camera gave no image: {error}", "check its cable") from error
        color, depth = pair.get_color_frame(), pair.get_depth_frame()
        if not color or not depth:
            raise NoImageError("the camera gave colour or depth alone")
        if color.get_frame_timestamp_domain() == self._rs.timestamp_domain.hardware_clock:
            raise NoImageError(
                "the camera stamps with its own clock, which is not the arm's",
                "switch on global_time_enabled of the camera",
            )
        metres = np.asanyarray(depth.get_data()).astype(np.float32) * np.float32(self._depth_unit)
        return (
            np.asanyarray(color.get_data()).copy(),
            metres,
            round(color.get_timestamp() * 1e6),
        )

    def close(self) -> None:
        """Let go of the camera."""
        self._pipeline.stop()


class RealsenseNode(Node):
    """Publishes the camera's images."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "realsense_node", automatically_declare_parameters_from_overrides=True, **options
        )
        settings = declare_settings(self, RealsenseSettings)
        self._color = self.create_publisher(Image, topics.COLOR.lstrip("/"), IMAGES)
        self._depth = self.create_publisher(Image, topics.DEPTH.lstrip("/"), IMAGES)
        self._info = self.create_publisher(CameraInfo, topics.CAMERA_INFO.lstrip("/"), IMAGES)
        self._camera = RealsenseCamera(settings)
        self._periodic = Periodic(self, settings.publish_rate, self._publish)

    def destroy_node(self) -> None:
        """Let go of the camera."""
        self._periodic.close()
        self._camera.close()
        super().destroy_node()

    def _publish(self) -> None:
        color, depth, stamp = self._camera.images()
        header = header_to_ros(stamp, CAMERA_FRAME)
        info = intrinsics_to_ros(self._camera.intrinsics, header)
        info.d = self._camera.distortion
        self._color.publish(color_to_ros(color, header))
        self._depth.publish(depth_to_ros(depth, header))
        self._info.publish(info)


def main() -> int:
    """Run `realsense_node`."""
    return run_node(RealsenseNode)


if __name__ == "__main__":
    sys.exit(main())
