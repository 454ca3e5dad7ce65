"""Where the camera sits in the hand."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from kalm_core.errors import CalibrationError
from kalm_core.se3 import Array, pose_from_quaternion, rotation_angle
from kalm_core.settings import Settings, parse_settings

_log = logging.getLogger(__name__)

_Offset = Annotated[float, Field(ge=-0.5, le=0.5)]  # farther off it is in millimetres
_LENGTH = 0.01  # by which a rounded quaternion may miss length 1
_SAME = (0.005, math.radians(1.0))  # mounts that differ by less are the same [m], [rad]


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


def demand_learned_for_a_camera(
    learned: Mapping[str, Any] | None, mine: HandEyeSettings, skill: str
) -> None:
    """Refuse a skill that was learned as if the camera sat where the simulator has it.

    Another mount than today's is told and taken: a camera may have been moved and calibrated since.

    Args:
        learned: the mount in the skill's record; None where it holds none.
        mine: where the camera sits now.
        skill: its name, for the texts.

    Raises:
        CalibrationError: it was learned with the default, and the camera sits elsewhere.
    """
    if learned is None:
        return
    then, now = (
        parse_settings(HandEyeSettings, dict(learned), f"skill {skill}").T_ee_cam,
        mine.T_ee_cam,
    )
    shift, turn = float(np.linalg.norm(then[:3, 3] - now[:3, 3])), float(rotation_angle(then, now))
    if shift <= _SAME[0] and turn <= _SAME[1]:
        return
    differs = f"{shift * 100:.1f} cm and {math.degrees(turn):.0f} deg from where it sits now"
    if np.array_equal(then, HandEyeSettings().T_ee_cam):
        raise CalibrationError(
            f"the skill {skill} was learned with the camera where the simulator has it, {differs}",
            "learn it again from its bags with your calibration: kalm learn ... --overwrite "
            "--config my_robot.yaml",
        )
    _log.warning(
        "the skill %s was learned with the camera %s: right if it was calibrated before its "
        "demonstrations and moved since, else learn it again",
        *(skill, differs),
    )
