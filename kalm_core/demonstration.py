"""A demonstration as the method sees it: first image, a few video frames, and the arm's motion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kalm_core.errors import DemonstrationError
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory


@dataclass(frozen=True)
class Demonstration:
    """One recorded execution of a task (section II-A: calibrated image I_i and trajectory τ_i).

    Attributes:
        name: the bag's folder name.
        frames: RGB-D frames in time order; the first is the initial observation I_i.
        stamps: (T,) times of the motion samples [s] from the first, strictly increasing.
        joints: (T, 7) arm joint positions [rad].
        T_base_ee: (T, 4, 4) poses of `fr3_hand_tcp` in `fr3_link0`.
        gripper: (T,) measured opening between the fingers [m].
        source: the bag; None when made in memory.
        sha256: checksum of the bag's data file; empty when made in memory.
    """

    name: str
    frames: tuple[RgbdFrame, ...]
    stamps: Array
    joints: Array
    T_base_ee: Array
    gripper: Array
    source: Path | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        t = len(self.stamps)
        shapes = (self.joints.shape, self.T_base_ee.shape, self.gripper.shape)
        if t < 2 or shapes != ((t, 7), (t, 4, 4), (t,)):
            raise DemonstrationError(
                f"{self.name}: motion has {t} stamps and arrays of shapes {shapes}; "
                "expected at least 2 and (T, 7), (T, 4, 4), (T,)"
            )
        if not self.frames:
            raise DemonstrationError(f"{self.name}: no RGB-D frame", "record the camera's topics")
        if (np.diff(self.stamps) <= 0).any():
            raise DemonstrationError(f"{self.name}: stamps do not increase strictly")

    @property
    def initial(self) -> RgbdFrame:
        """The observation before the arm moved."""
        return self.frames[0]

    @property
    def motion(self) -> EndEffectorTrajectory:
        """The whole recorded motion, approach included."""
        return EndEffectorTrajectory(self.T_base_ee, self.gripper, self.stamps)
