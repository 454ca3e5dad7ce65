"""Another view of the same place, for a second look when the first one did not do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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

_BESIDE = tuple((rise, turn) for rise in (0.0, 12.0) for turn in (20.0, -20.0, 12.0, -12.0))
"""Views of keypoints from which no motion could be certified: rise and turn [deg], in order."""

_ABOVE = ((25.0, 0.0), (15.0, 0.0), (15.0, 20.0), (15.0, -20.0), (0.0, 20.0), (0.0, -20.0))
"""Views of a place where no keypoints were found: most is seen from higher up."""

_MIDDLE = 0.2
"""Share of the image's width and height that counts as its middle."""


def other_views(
    T_base_ee: Array, center: Array, ways: Iterable[tuple[float, float]] = _BESIDE
) -> Iterator[Array]:
    """Yield tool poses (4, 4) that look at `center` (3,) [m] from elsewhere.

    The tool and the camera in it turn about the vertical through the centre, and then about the
    horizontal across the line of sight: the distance and what is in the middle stay the same.
    """
    sight = center - T_base_ee[:3, 3]
    across = np.cross(sight, [0.0, 0.0, 1.0])
    across /= max(float(np.linalg.norm(across)), 1e-9)
    for rise, turn in ways:
        # turning the tool about `across` by a negative angle lifts it over the centre
        about = Rotation.from_rotvec([0.0, 0.0, np.radians(turn)]) * Rotation.from_rotvec(
            -np.radians(rise) * across
        )
        T = make_pose(about.as_matrix(), center - about.as_matrix() @ center)
        yield T @ T_base_ee


def middle_of(frame: RgbdFrame) -> Array:
    """Return the (3,) point in the base frame [m] that the middle of an image shows.

    Raises:
        NoFeasibleTrajectoryError: no depth was measured there.
    """
    height, width = frame.depth.shape
    rows, columns = (
        slice(round(n * (1 - _MIDDLE) / 2), round(n * (1 + _MIDDLE) / 2)) for n in (height, width)
    )
    measured = frame.depth[rows, columns]
    measured = measured[measured > 0]
    if not len(measured):
        raise NoFeasibleTrajectoryError(
            "no depth was measured in the middle of the image, so there is nothing to look at",
            "point the camera at the object",
        )
    along = np.array([0.0, 0.0, float(np.median(measured)), 1.0])
    return np.asarray((frame.T_base_cam @ along)[:3])


def path_to_other_view(  # noqa: PLR0917
    planner: MotionPlanner,
    model: RobotModel,
    keypoints: DetectedKeypoints,
    frame: RgbdFrame,
    joints: Array,
    gripper: float,
    progress: Progress | None = None,
    level: bool = False,
) -> JointPath:
    """Return a checked motion from joints (7,) [rad] to the nearest view that can be taken.

    Where no keypoint was found, it looks from higher up at what is in the middle of the image. With
    `level` it turns about the vertical alone, for what is held not to be tilted.

    Raises:
        NoFeasibleTrajectoryError: none can; the text has the last reason.
        CancelledError: `progress` asked to stop.
    """
    progress = progress or Progress()
    last = "no posture reaches it"
    seen = bool(keypoints.found.any())
    center, ways = (keypoints.center, _BESIDE) if seen else (middle_of(frame), _ABOVE)
    ways = tuple((rise, turn) for rise, turn in ways if rise == 0.0 or not level)
    for number, pose in enumerate(other_views(model.forward(joints), center, ways)):
        progress.step("view", number / len(ways))
        q = model.inverse(pose, joints, seeds=4)
        if q is None:
            continue
        try:
            return planner.path_to(q, joints, gripper, frame, level)
        except SearchError as error:
            last = error.problem
    raise NoFeasibleTrajectoryError(
        f"no other view of {'the keypoints' if seen else 'the place'} can be taken: {last}",
        "move the arm or the object",
    )
