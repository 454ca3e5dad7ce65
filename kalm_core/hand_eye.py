"""Where the camera sits in the hand."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, field_validator

from kalm_core.se3 import Array, pose_from_quaternion
from kalm_core.settings import Settings

_Offset = Annotated[float, Field(ge=-0.5, le=0.5)]  # farther off it is in millimetres
_LENGTH = 0.01  # by which a rounded quaternion may miss length 1


class HandEyeSettings(Settings):
    """The hand-eye transform T_ee_cam: `camera_color_optical_frame` in `fr3_hand_tcp`.

    The default is a D435i on the side of the hand, looking along the fingers; calibrate it for
    every real mount, an error of 1 cm here is an error of 1 cm in every keypoint.
    """

    translation: tuple[_Offset, _Offset, _Offset] = Field(
        (0.07, 0.0, -0.06), description="camera in fr3_hand_tcp: x, y, z [m]"
    )
    quaternion: tuple[float, float, float, float] = Field(
        (0.0, 0.0, 0.7071067811865476, 0.7071067811865476),
        description="rotation of the camera in fr3_hand_tcp: x, y, z, w",
    )

    @field_validator("quaternion")
    @classmethod
    def _is_a_rotation(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        length = math.hypot(*value)
        if not abs(length - 1.0) < _LENGTH:
            raise ValueError(f"a rotation's quaternion has length 1, this one {length:.3f}")
        return value

    @property
    def T_ee_cam(self) -> Array:
        """The (4, 4) pose of the colour optical frame in the tool frame."""
        return pose_from_quaternion(self.translation, self.quaternion)
