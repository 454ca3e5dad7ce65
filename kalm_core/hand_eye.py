"""Where the camera sits in the hand."""

from __future__ import annotations

from pydantic import Field

from kalm_core.se3 import Array, pose_from_quaternion
from kalm_core.settings import Settings


class HandEyeSettings(Settings):
    """The hand-eye transform T_ee_cam: `camera_color_optical_frame` in `fr3_hand_tcp`.

    The default is a D435i on the side of the hand, looking along the fingers; calibrate it for
    every real mount, an error of 1 cm here is an error of 1 cm in every keypoint.
    """

    translation: tuple[float, float, float] = Field(
        (0.07, 0.0, -0.06), description="camera in fr3_hand_tcp: x, y, z [m]"
    )
    quaternion: tuple[float, float, float, float] = Field(
        (0.0, 0.0, 0.7071067811865476, 0.7071067811865476),
        description="rotation of the camera in fr3_hand_tcp: x, y, z, w",
    )

    @property
    def T_ee_cam(self) -> Array:
        """The (4, 4) pose of the colour optical frame in the tool frame."""
        return pose_from_quaternion(self.translation, self.quaternion)
