"""Finds the keypoints of a skill in what the camera sees."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import Field
from rclpy.node import Node
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from kalm_core.correspondence import CorrespondenceSettings, KeypointDetector, require_found
from kalm_core.distillation_settings import detection_as_learned
from kalm_core.hand_eye import HandEyeSettings, demand_learned_for_a_camera
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.progress import Progress
from kalm_core.report import draw_keypoints
from kalm_core.rgbd import RgbdFrame
from kalm_core.settings import Settings
from kalm_core.skill import Skill
from kalm_core.vlm.guidance import GuidanceSettings, guide
from kalm_interfaces.action import DetectKeypoints
from kalm_interfaces.msg import KeypointArray
from kalm_ros.action_server import GoalServer
from kalm_ros.aside import Aside
from kalm_ros.conversions import CAMERA_FRAME, color_to_ros, header_to_ros, keypoints_to_ros
from kalm_ros.frame_buffer import FrameBuffer, FrameSettings
from kalm_ros.markers import keypoint_markers
from kalm_ros.parameters import declare_settings
from kalm_ros.qos import LATCHED
from kalm_ros.run_node import run_node
from kalm_ros.skill_cache import SkillCache


class KeypointNodeSettings(Settings):
    """Parameters of `keypoint_node`."""

    skills: Path = Field(Path("skills"), description="folder of the learned skills")
    as_learned: bool = Field(
        True,
        description="detect with the settings that the skill was distilled with (but for "
        "`upsampler_weights`, a program); false takes those under `correspondence`",
    )
    correspondence: CorrespondenceSettings = CorrespondenceSettings()
    guidance: GuidanceSettings = GuidanceSettings()
    frame: FrameSettings = FrameSettings()
    hand_eye: HandEyeSettings = HandEyeSettings()


class KeypointNode(Node):
    """Offers `kalm/detect_keypoints` and shows what was found."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "keypoint_node", automatically_declare_parameters_from_overrides=True, **options
        )
        self._settings = declare_settings(self, KeypointNodeSettings)
        self._detector = KeypointDetector(self._settings.correspondence)
        self._skills = SkillCache(self._settings.skills)
        self._frames = FrameBuffer(self, self._settings.frame, self._settings.hand_eye)
        self._keypoints = self.create_publisher(KeypointArray, "kalm/keypoints", LATCHED)
        self._markers = self.create_publisher(MarkerArray, "kalm/keypoint_markers", LATCHED)
        self._overlay = self.create_publisher(Image, "kalm/keypoint_overlay", LATCHED)
        self._aside = Aside(self)
        GoalServer(
            self,
            DetectKeypoints,
            "kalm/detect_keypoints",
            self._detect,
            lambda stage, fraction, _: DetectKeypoints.Feedback(stage=stage, progress=fraction),
        )

    def _detect(
        self, goal: DetectKeypoints.Goal, result: DetectKeypoints.Result, progress: Progress
    ) -> str:
        skill = self._skills.get(goal.skill)
        mount = self._settings.hand_eye
        demand_learned_for_a_camera(skill.record.get("hand_eye"), mount, skill.name)
        detector = self._detector_of(skill)
        frame = self._frames.fresh(progress)
        guidance = guide(skill, frame.color, self._settings.guidance, progress)
        detected = detector.detect(frame, skill.reference, progress, guidance)
        result.keypoints = keypoints_to_ros(detected, goal.skill, frame.stamp)
        self._show(result.keypoints, detected, frame)
        require_found(detected, detector.settings)
        return f"{int(detected.found.sum())} of {len(detected)} keypoints were found."

    def _detector_of(self, skill: Skill) -> KeypointDetector:
        """Return the detector for a skill; the last one is kept."""
        if self._settings.as_learned:
            own = self._settings.correspondence
            wanted = detection_as_learned(skill.perception, skill.name, own)
            if wanted != self._detector.settings:
                self._detector = KeypointDetector(wanted)
        return self._detector

    def _show(self, message: KeypointArray, detected: DetectedKeypoints, frame: RgbdFrame) -> None:
        self._keypoints.publish(message)
        self._markers.publish(keypoint_markers(detected, message.header))
        self._aside.call("the picture of keypoints", lambda: self._paint(detected, frame))

    def _paint(self, detected: DetectedKeypoints, frame: RgbdFrame) -> None:
        picture = draw_keypoints(frame, detected)
        self._overlay.publish(color_to_ros(picture, header_to_ros(frame.stamp, CAMERA_FRAME)))


def main() -> int:
    """Run `keypoint_node`."""
    return run_node(KeypointNode)


if __name__ == "__main__":
    sys.exit(main())
