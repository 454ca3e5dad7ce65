"""Pictures and demonstrations of the laboratory without physics and without a server.

The arm is posed along the scripted motion and the drawer follows the hand: enough to develop and
test perception and policy. Whether a grasp holds only `laboratory` can tell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kalm_core.demonstration import Demonstration
from kalm_core.errors import NoFeasibleTrajectoryError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.planning.robot_model import RobotModel
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_sim.demonstrator import SAMPLE_TIME, OpeningScript, ease, script_opening
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.posed_scene import PosedScene
from kalm_sim.rendering import SceneCamera
from kalm_sim.scene import TOP, SceneParameters, SceneTruth, draw_scene, scene_truth
from kalm_sim.viewpoints import Viewpoint, draw_viewpoint

FREE_SPEED = 0.6
"""Speed of the fastest joint on the way from the view to the pregrasp pose [rad/s]."""


def render_scene(
    scene: SceneParameters,
    joints: Array,
    seed: int = 0,
    noise: DepthNoiseSettings | None = None,
    openings: tuple[float, float] = (0.0, 0.0),
) -> RgbdFrame:
    """Return what the camera in the hand sees.

    Args:
        scene: from `draw_scene`.
        joints: (7,) posture of the arm [rad], for instance of a `Viewpoint`.
        seed: of the depth noise.
        noise: of the depth sensor; None takes the defaults.
        openings: of the top and the bottom drawer [m].
    """
    posed = PosedScene(scene)
    posed.pose(joints, openings=openings)
    with SceneCamera(posed.model, noise) as camera:
        return camera.wrist_frame(posed.data, 0, np.random.default_rng(seed))


def draw_reachable(
    scene: SceneParameters,
    rng: np.random.Generator,
    robot: RobotModel,
    posed: PosedScene | None = None,
    attempts: int = 30,
) -> tuple[Viewpoint, OpeningScript, Array]:
    """Draw a view and a script of the opening that the arm can follow without touching anything.

    Args:
        scene: with a cabinet.
        rng: source of both.
        robot: kinematics of the arm.
        posed: of the same scene, to look for collisions; None makes one.
        attempts: scripts tried before giving up.

    Returns:
        The view, the script, and (N, 7) joints [rad] along `script.whole()`.

    Raises:
        NoFeasibleTrajectoryError: none of the attempts can be reached.
    """
    posed = posed or PosedScene(scene)
    handle = scene_truth(replace(scene, empty=False)).handles[TOP]
    view = free_view(scene, rng, robot, posed)
    reason = ""
    for attempt in range(attempts):
        side = 1 if attempt < attempts // 2 else -1
        script = script_opening(handle, rng, side=side)
        motion = script.whole()
        for start in robot.inverse_all(motion.T_base_ee[0], view.joints, seeds=8, enough=3):
            following = robot.follow(motion.T_base_ee, start)
            if following.joints is None:
                reason = following.reason
                continue
            touched = _first_touch(posed, script, motion, following.joints)
            if touched is None:
                return view, script, following.joints
            reason = f"{touched[0]} would touch {touched[1]}"
    raise NoFeasibleTrajectoryError(
        f"scene {scene.seed}: none of {attempts} ways to open the drawer can be reached; the last "
        f"one: {reason or 'its first pose is out of reach'}",
        "draw another scene",
    )


def free_view(
    scene: SceneParameters,
    rng: np.random.Generator,
    robot: RobotModel,
    posed: PosedScene | None = None,
    hand_eye: HandEyeSettings | None = None,
) -> Viewpoint:
    """Draw a view of the cabinet's front, or of where it would stand, in which nothing is touched.

    Args:
        scene: to look at.
        rng: source of the view.
        robot: kinematics of the arm.
        posed: of the same scene, to look for collisions; None makes one.
        hand_eye: where the camera sits; None takes the default mount.

    Raises:
        NoFeasibleTrajectoryError: no such view can be reached.
    """
    posed = posed or PosedScene(scene)
    T_ee_cam = (hand_eye or HandEyeSettings()).T_ee_cam
    for _ in range(50):
        view = draw_viewpoint(scene.cabinet, rng, robot, T_ee_cam)
        posed.pose(view.joints)
        if not posed.touching():
            return view
    raise NoFeasibleTrajectoryError(
        f"scene {scene.seed}: each of 50 views touches something", "draw another scene"
    )


def _first_touch(
    posed: PosedScene, script: OpeningScript, motion: EndEffectorTrajectory, joints: Array
) -> tuple[str, str] | None:
    """Return the first contact along the motion that is not fingers on handle; None if none."""
    openings = drawer_openings(script, motion)
    for index in range(0, len(joints), 4):
        posed.pose(joints[index], script.open_width, (openings[index], 0.0))
        for pair in posed.touching():
            if not ("top_drawer_body" in pair and any("finger" in name for name in pair)):
                return pair
    return None


def drawer_openings(script: OpeningScript, motion: EndEffectorTrajectory) -> Array:
    """Return (N,) how far the drawer is out [m] along `script.whole()` when the grasp holds."""
    start, out = script.pull.positions[0], script.pull.positions[-1] - script.pull.positions[0]
    length = float(np.linalg.norm(out))
    pulled = (motion.positions - start) @ (out / length)
    pulled[motion.gripper > script.grasp_width + 1e-9] = 0.0
    return np.asarray(np.maximum.accumulate(np.clip(pulled, 0.0, length)))


def make_demonstration(
    seed: int, frames: int = 4, noise: DepthNoiseSettings | None = None
) -> tuple[Demonstration, SceneTruth]:
    """Make one demonstration of opening the top drawer in a scene of its own.

    Args:
        seed: of the scene, the view, the script and the noise.
        frames: RGB-D images, evenly spread in time, the first before the arm moves.
        noise: of the depth sensor; None takes the defaults.

    Returns:
        The demonstration and the truth of its scene before the drawer is opened.
    """
    scene, robot = draw_scene(seed), RobotModel.load()
    rng = np.random.default_rng([seed, 4])
    posed = PosedScene(scene)
    view, script, opening_joints = draw_reachable(scene, rng, robot, posed)
    motion = script.whole()

    count = max(4, round(float(np.abs(opening_joints[0] - view.joints).max()) / FREE_SPEED / 0.05))
    share = np.linspace(0.0, 1.0, count, endpoint=False)
    free = view.joints + ease(share)[:, None] * (opening_joints[0] - view.joints)
    joints = np.concatenate([free, opening_joints])
    gripper = np.concatenate([np.full(count, script.open_width), motion.gripper])
    openings = np.concatenate([np.zeros(count), drawer_openings(script, motion)])
    stamps = np.arange(len(joints), dtype=np.float64) * SAMPLE_TIME

    images = []
    with SceneCamera(posed.model, noise) as camera:
        for index in np.linspace(0, len(joints) - 1, frames).round().astype(int):
            posed.pose(joints[index], float(gripper[index]), (float(openings[index]), 0.0))
            images.append(camera.wrist_frame(posed.data, round(stamps[index] * 1e9), rng))
    demonstration = Demonstration(
        name=f"synthetic_{seed:04d}",
        frames=tuple(images),
        stamps=stamps,
        joints=joints,
        T_base_ee=np.stack([robot.forward(q) for q in joints]),
        gripper=gripper,
    )
    return demonstration, scene_truth(scene)
