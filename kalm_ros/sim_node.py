"""The simulated laboratory on the graph: a wrist camera, an arm for `robot_node`, and the truth.

The camera publishes as realsense2_camera does. No node of the suite subscribes below
`kalm_sim/truth`; that is for those who judge.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Literal

from geometry_msgs.msg import PoseArray
from pydantic import Field
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float64, Float64MultiArray, UInt32
from std_srvs.srv import Trigger

from kalm_core.bags import topics
from kalm_core.errors import KalmError, Outcome
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.settings import Settings
from kalm_interfaces.srv import ResetScene
from kalm_ros.conversions import (
    BASE_FRAME,
    CAMERA_FRAME,
    color_to_ros,
    depth_to_ros,
    header_to_ros,
    intrinsics_to_ros,
    outcome_to_ros,
    pose_to_ros,
)
from kalm_ros.parameters import declare_settings
from kalm_ros.periodic import Periodic
from kalm_ros.qos import IMAGES, LATCHED, STATES
from kalm_ros.run_node import run_node
from kalm_sim.clearing import cleared
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.laboratory import Laboratory
from kalm_sim.scene import SceneParameters, draw_scene
from kalm_sim.tasks.base import Instances
from kalm_sim.tasks.registry import TASKS

_SHOWN = 1.1
"""A new scene is shown for so long before its service answers [s]: who is asked next may take an
image that is up to a second old (`FrameSettings.max_age`)."""


class SimNodeSettings(Settings):
    """Parameters of `sim_node`."""

    host: str = Field(
        "127.13.37.1", description="loopback address at which the arm answers; robot_node's too"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of the first scene")
    task: Literal["drawer", "handle", "pour"] = Field(
        "drawer", description="whose object stands in the first scene"
    )
    instances: Instances = Field(
        "all", description="which objects: for demonstrations, never seen in training, or both"
    )
    empty: bool = Field(False, description="leave the object out of the first scene")
    realtime: bool = Field(True, description="never run faster than the wall clock")
    image_rate: float = Field(
        3.0,
        gt=0,
        le=30,
        description="images of the wrist camera [Hz]; rendering in software costs half a core at 6",
    )
    outside_rate: float = Field(
        2.0, gt=0, le=30, description="images of the camera that looks on, when asked for [Hz]"
    )
    truth_rate: float = Field(10.0, gt=0, le=100, description="how often the truth is told [Hz]")
    noise: DepthNoiseSettings = DepthNoiseSettings()
    noise_seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of the depth noise")
    hand_eye: HandEyeSettings = HandEyeSettings()


class SimNode(Node):
    """Runs the laboratory in this process.

    Attributes:
        laboratory_kind: what is run; a benchmark puts one in its place that can fail.
    """

    laboratory_kind: type[Laboratory] = Laboratory

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "sim_node", automatically_declare_parameters_from_overrides=True, **options
        )
        settings = declare_settings(self, SimNodeSettings)
        self._color = self.create_publisher(Image, topics.COLOR.lstrip("/"), IMAGES)
        self._depth = self.create_publisher(Image, topics.DEPTH.lstrip("/"), IMAGES)
        self._info = self.create_publisher(CameraInfo, topics.CAMERA_INFO.lstrip("/"), IMAGES)
        self._outside = self.create_publisher(Image, "kalm_sim/outside/image_raw", IMAGES)
        truth = "kalm_sim/truth"
        self._opening = self.create_publisher(Float64MultiArray, f"{truth}/drawer_opening", STATES)
        self._handles = self.create_publisher(PoseArray, f"{truth}/handle_poses", STATES)
        self._progress = self.create_publisher(Float64, f"{truth}/progress", STATES)
        self._seed = self.create_publisher(UInt32, f"{truth}/scene_seed", LATCHED)
        self._laboratory = self.laboratory_kind(
            draw_scene(settings.seed, settings.empty, settings.task, settings.instances),
            settings.host,
            settings.realtime,
            settings.noise,
            settings.hand_eye,
            settings.noise_seed,
        )
        self._laboratory.start()
        self.get_logger().info(f"a simulated FR3 answers at {self._laboratory.hostname}")
        self._seed.publish(UInt32(data=settings.seed))
        one_at_a_time = MutuallyExclusiveCallbackGroup()
        for kind, name, answer in (
            (ResetScene, "kalm_sim/reset_scene", self._reset_scene),
            (Trigger, "kalm_sim/clear_table", self._clear_table),
        ):
            self.create_service(kind, name, answer, callback_group=one_at_a_time)
        self._periodic = [
            Periodic(self, settings.image_rate, self._publish_images),
            Periodic(self, settings.outside_rate, self._publish_outside),
            Periodic(self, settings.truth_rate, self._publish_truth),
        ]

    def destroy_node(self) -> None:
        """Close the laboratory."""
        for periodic in self._periodic:
            periodic.close()
        self._laboratory.close()
        super().destroy_node()

    def _publish_images(self) -> None:
        frame = self._laboratory.capture().frame
        header = header_to_ros(frame.stamp, CAMERA_FRAME)
        self._color.publish(color_to_ros(frame.color, header))
        self._depth.publish(depth_to_ros(frame.depth, header))
        self._info.publish(intrinsics_to_ros(frame.intrinsics, header))

    def _publish_outside(self) -> None:
        if self._outside.get_subscription_count() > 0:
            stamp = self.get_clock().now().nanoseconds
            image = self._laboratory.outside_image()
            self._outside.publish(color_to_ros(image, header_to_ros(stamp, "outside_camera")))

    def _publish_truth(self) -> None:
        truth = self._laboratory.truth()
        header = header_to_ros(self.get_clock().now().nanoseconds, BASE_FRAME)
        self._opening.publish(Float64MultiArray(data=[float(o) for o in truth.openings]))
        poses = [pose_to_ros(handle.T_base_handle) for handle in truth.handles]
        self._handles.publish(PoseArray(header=header, poses=poses))
        self._progress.publish(Float64(data=truth.progress))

    def _reset_scene(
        self, request: ResetScene.Request, response: ResetScene.Response
    ) -> ResetScene.Response:
        try:
            scene = requested_scene(request)
            self._laboratory.reset(scene)
            time.sleep(_SHOWN)
            self._seed.publish(UInt32(data=request.seed))
            what = f"{'without' if scene.empty else 'with'} the {TASKS[scene.task].object_name}"
            response.outcome = outcome_to_ros(
                Outcome.SUCCEEDED, f"Scene {request.seed} {what} is before the robot."
            )
        except KalmError as error:
            response.outcome = outcome_to_ros(error.outcome, str(error))
        return response

    def _clear_table(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self._laboratory.reset(cleared(draw_scene(0)))
            time.sleep(_SHOWN)
            response.success, response.message = True, "Nothing is on the table."
        except KalmError as error:
            response.success, response.message = False, str(error)
        return response


def requested_scene(request: ResetScene.Request) -> SceneParameters:
    """Draw the scene that a request asks for.

    Raises:
        GoalError: there is no such task or set of instances.
    """
    instances = request.instances or "all"
    return draw_scene(request.seed, request.empty, request.task or "drawer", instances)


def main() -> int:
    """Run `sim_node`."""
    return run_node(SimNode)


if __name__ == "__main__":
    sys.exit(main())
