"""Another view of the same place, for a second look when the first one led to no motion."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from kalm_core.errors import NoFeasibleTrajectoryError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.joint_motion import SearchError
from kalm_core.planning.planner import MotionPlanner
from kalm_core.planning.robot_model import RobotModel
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, make_pose
from kalm_core.trajectory import JointPath

_TURNS = (20.0, -20.0, 12.0, -12.0)  # [deg], about the vertical through the keypoints
_RISES = (0.0, 12.0)  # [deg], upwards over them


def other_views(T_base_ee: Array, center: Array) -> Iterator[Array]:
    """Yield tool poses (4, 4) that look at `center` (3,) [m] from the sides, nearest first.

    The tool and the camera in it turn about the vertical through the centre, and then about the
    horizontal across the line of sight: the distance and what is in the middle stay the same.
    """
    sight = center - T_base_ee[:3, 3]
    across = np.cross(sight, [0.0, 0.0, 1.0])
    across /= max(float(np.linalg.norm(across)), 1e-9)
    for rise in _RISES:
        for turn in _TURNS:
            # turning the tool about `across` by a negative angle lifts it over the centre
            about = Rotation.from_rotvec([0.0, 0.0, np.radians(turn)]) * Rotation.from_rotvec(
                -np.radians(rise) * across
            )
            T = make_pose(about.as_matrix(), center - about.as_matrix() @ center)
            yield T @ T_base_ee


def path_to_other_view(  # noqa: PLR0917
    planner: MotionPlanner,
    model: RobotModel,
    keypoints: DetectedKeypoints,
    frame: RgbdFrame,
    joints: Array,
    gripper: float,
    progress: Progress | None = None,
) -> JointPath:
    """Return a checked free motion from joints (7,) [rad] to the nearest view that can be taken.

    Raises:
        NoFeasibleTrajectoryError: none can; the text has the last reason.
        CancelledError: `progress` asked to stop.
    """
    progress = progress or Progress()
    last = "no posture reaches it"
    for number, pose in enumerate(other_views(model.forward(joints), keypoints.center)):
        progress.step("view", number / (len(_TURNS) * len(_RISES)))
        q = model.inverse(pose, joints, seeds=4)
        if q is None:
            continue
        try:
            return planner.path_to(q, joints, gripper, frame)
        except SearchError as error:
            last = error.problem
    raise NoFeasibleTrajectoryError(
        f"no other view of the keypoints can be taken: {last}", "move the arm or the object"
    )
