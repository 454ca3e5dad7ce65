"""Pictures and demonstrations of the laboratory without physics and without a server.

The arm is posed along the scripted motion and drawer, lever or balls follow the hand: enough to
develop and test perception and policy. Whether a grasp holds only `laboratory` can tell.
"""

from __future__ import annotations

from itertools import chain

import numpy as np

from kalm_core.demonstration import Demonstration
from kalm_core.errors import NoFeasibleTrajectoryError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.planning.robot_model import RobotModel
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_sim.demonstrator import drawer_openings
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.posed_scene import NEARBY, PosedScene
from kalm_sim.rendering import SceneCamera
from kalm_sim.scene import SceneParameters, SceneTruth, draw_scene, scene_truth
from kalm_sim.scripted_motion import SAMPLE_TIME, Script, ease
from kalm_sim.scripts import write_script
from kalm_sim.tasks.base import Instances
from kalm_sim.tasks.registry import TASKS
from kalm_sim.viewpoints import Viewpoint, draw_viewpoint

__all__ = [
    "draw_reachable",
    "drawer_openings",
    "free_view",
    "make_demonstration",
    "render_scene",
]

FREE_SPEED = 0.6
"""Speed of the fastest joint on the way from the view to the pregrasp pose [rad/s]."""


def render_scene(
    scene: SceneParameters,
    joints: Array,
    seed: int = 0,
    noise: DepthNoiseSettings | None = None,
    state: tuple[float, ...] | None = None,
) -> RgbdFrame:
    """Return what the camera in the hand sees.

    Args:
        scene: from `draw_scene`.
        joints: (7,) posture of the arm [rad], for instance of a `Viewpoint`.
        seed: of the depth noise.
        noise: of the depth sensor; None takes the defaults.
        state: of the object, see `scene_truth`; None is that of the beginning.
    """
    posed = PosedScene(scene)
    posed.pose(joints, state=state)
    with SceneCamera(posed.model, noise) as camera:
        return camera.wrist_frame(posed.data, 0, np.random.default_rng(seed))


def draw_reachable(
    scene: SceneParameters,
    rng: np.random.Generator,
    robot: RobotModel,
    posed: PosedScene | None = None,
    attempts: int = 30,
) -> tuple[Viewpoint, Script, Array]:
    """Draw a view and a script of the task that the arm can follow without touching anything.

    Args:
        scene: with its object.
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
    view = free_view(scene, rng, robot, posed)
    reason = ""
    for attempt in range(attempts):
        side = 1 if attempt < attempts // 2 else -1
        script = write_script(scene, rng, side)
        motion = script.whole()
        first = robot.inverse_all(motion.T_base_ee[0], view.joints, seeds=8, enough=3)
        for start in chain(first, robot.branches(motion.T_base_ee, view.joints, 3)):
            following = robot.follow(motion.T_base_ee, start)
            if following.joints is None:
                reason = following.reason
                continue
            touched = _first_touch(posed, script, motion, following.joints)
            if touched is None:
                return view, script, following.joints
            reason = f"{touched[0]} would touch {touched[1]}"
    raise NoFeasibleTrajectoryError(
        f"scene {scene.seed}: none of {attempts} ways to {TASKS[scene.task].sentence} can be "
        f"reached; the last one: {reason or 'its first pose is out of reach'}",
        "draw another scene",
    )


def free_view(
    scene: SceneParameters,
    rng: np.random.Generator,
    robot: RobotModel,
    posed: PosedScene | None = None,
    hand_eye: HandEyeSettings | None = None,
) -> Viewpoint:
    """Draw a view of the object, or of where it would stand, with the arm clear of everything.

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
        view = draw_viewpoint(scene, rng, robot, T_ee_cam)
        posed.pose(view.joints)
        if not posed.touching(within=NEARBY):
            return view
    raise NoFeasibleTrajectoryError(
        f"scene {scene.seed}: each of 50 views nearly touches something", "draw another scene"
    )


def _first_touch(
    posed: PosedScene, script: Script, motion: EndEffectorTrajectory, joints: Array
) -> tuple[str, str] | None:
    """Return the first contact along the motion that the script does not want; None if none."""
    states = script.states(motion)
    for index in range(0, len(joints), 4):
        posed.pose(joints[index], script.open_width, states[index])
        for pair in posed.touching():
            if not script.may_touch(pair):
                return pair
    return None


def make_demonstration(
    seed: int,
    frames: int = 4,
    noise: DepthNoiseSettings | None = None,
    task: str = "drawer",
    instances: Instances = "all",
) -> tuple[Demonstration, SceneTruth]:
    """Make one demonstration of a task in a scene of its own.

    Args:
        seed: of the scene, the view, the script and the noise.
        frames: RGB-D images, evenly spread in time, the first before the arm moves.
        noise: of the depth sensor; None takes the defaults.
        task: see `draw_scene`.
        instances: see `draw_scene`.

    Returns:
        The demonstration and the truth of its scene before the task is done.
    """
    scene, robot = draw_scene(seed, task=task, instances=instances), RobotModel.load()
    rng = np.random.default_rng([seed, 4])
    posed = PosedScene(scene)
    view, script, work_joints = draw_reachable(scene, rng, robot, posed)
    motion = script.whole()

    count = max(4, round(float(np.abs(work_joints[0] - view.joints).max()) / FREE_SPEED / 0.05))
    share = np.linspace(0.0, 1.0, count, endpoint=False)
    free = view.joints + ease(share)[:, None] * (work_joints[0] - view.joints)
    joints = np.concatenate([free, work_joints])
    gripper = np.concatenate([np.full(count, script.open_width), motion.gripper])
    along = script.states(motion)
    states = np.concatenate([np.repeat(along[:1], count, axis=0), along])
    stamps = np.arange(len(joints), dtype=np.float64) * SAMPLE_TIME

    images = []
    with SceneCamera(posed.model, noise) as camera:
        for index in np.linspace(0, len(joints) - 1, frames).round().astype(int):
            posed.pose(joints[index], float(gripper[index]), states[index])
            images.append(camera.wrist_frame(posed.data, round(stamps[index] * 1e9), rng))
    demonstration = Demonstration(
        name=f"synthetic_{seed:04d}" if task == "drawer" else f"synthetic_{task}_{seed:04d}",
        frames=tuple(images),
        stamps=stamps,
        joints=joints,
        T_base_ee=np.stack([robot.forward(q) for q in joints]),
        gripper=gripper,
    )
    return demonstration, scene_truth(scene)
