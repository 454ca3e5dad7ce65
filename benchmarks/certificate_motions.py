"""Motions for the benchmark of the certificate: planned ones, and what becomes of them by mistake.

A mistake changes the motion, or the world that it is made in. Some leave it safe, some do not; only
the dense checker tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.certificate_scenes import Solid, World
from kalm_core.errors import KalmError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.certified_planner import CertifiedPlanner
from kalm_core.planning.motion import Motion
from kalm_core.planning.obstacles import Obstacles
from kalm_core.planning.robot_model import RobotModel
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, interpolate_poses, make_pose
from kalm_core.trajectory import POSES, EndEffectorTrajectory, JointPath

_OPEN, _CLOSED = 0.08, 0.03


@dataclass(frozen=True)
class Case:
    """What is certified and judged.

    Attributes:
        mistake: its name.
        motion: the motion.
        joints: (7,) where the arm is [rad].
        gripper: opening of the fingers [m].
        world: the scene.
    """

    mistake: str
    motion: Motion
    joints: Array
    gripper: float
    world: World


class KnowingPlanner(CertifiedPlanner):
    """The planner of the suite, told what stands around instead of shown an image."""

    known: Obstacles

    def see(self, frame: RgbdFrame, joints: Array, gripper: float) -> Obstacles:
        """Return what was told."""
        return self.known


def keypoints_of(world: World) -> DetectedKeypoints:
    """Return where the fingers may touch."""
    count = len(world.keypoints)
    return DetectedKeypoints(world.keypoints, np.ones(count, bool), np.ones(count))


def draw_trajectory(rng: np.random.Generator, world: World) -> EndEffectorTrajectory:
    """Draw a reach for the target, closing, and a pull or lift."""
    yaw = float(np.arctan2(world.target[1], world.target[0]) + rng.normal(scale=0.4))
    pitch = rng.uniform(np.radians(25), np.radians(90))
    z = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), -np.sin(pitch)])
    x = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    aim = make_pose(np.stack([x, np.cross(z, x), z], axis=1), world.target)
    aim[:3, 3] += rng.normal(scale=0.01, size=3)
    turn = Rotation.from_euler("z", rng.choice([0.0, np.pi / 2, np.pi])).as_matrix()
    aim[:3, :3] = aim[:3, :3] @ turn
    before, after = aim.copy(), aim.copy()
    before[:3, 3] -= rng.uniform(0.0, 0.1) * aim[:3, 2]
    after[:3, 3] += rng.uniform(0.05, 0.15) * np.array([-np.cos(yaw), -np.sin(yaw), rng.random()])
    length = rng.uniform(3.0, 6.0)
    poses = interpolate_poses(
        [0.0, 1.0, 2.5], np.stack([before, aim, after]), np.linspace(0.0, 2.5, POSES)
    )
    gripper = np.repeat([_OPEN, _CLOSED], [20, POSES - 20])
    if rng.random() < 0.5:
        gripper[-3:] = _OPEN
    return EndEffectorTrajectory(poses, gripper, np.linspace(0.0, length, POSES))


def draw_posture(rng: np.random.Generator, planner: CertifiedPlanner) -> Array:
    """Draw a free posture (7,) [rad] with the hand over the table."""
    ready = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
    planner.surroundings.set_gripper(_OPEN)
    model = planner.model
    for _ in range(200):
        q = np.clip(ready + rng.normal(scale=0.5, size=7), model.lower + 0.1, model.upper - 0.1)
        if model.forward(q)[2, 3] > 0.1 and planner.surroundings.free(q):
            return np.asarray(q)
    return ready


def plan(rng: np.random.Generator, planner: KnowingPlanner, world: World) -> Case | None:
    """Plan a motion in a world as the suite would; None when there is none."""
    frame: RgbdFrame = None  # type: ignore[assignment] # `see` does not look at it
    planner.prepare(planner.known, keypoints_of(world))
    joints = draw_posture(rng, planner)
    tries = [draw_trajectory(rng, world) for _ in range(4)]
    try:
        found = planner.plan(tries, keypoints_of(world), frame, joints, _OPEN)
    except KalmError:
        return None
    return Case("none", found.motion, joints, _OPEN, world)


def unplanned(rng: np.random.Generator, planner: KnowingPlanner, world: World) -> Case | None:
    """Go straight in joint space to a trajectory that is followed blindly."""
    planner.prepare(planner.known, keypoints_of(world))
    joints, model = draw_posture(rng, planner), planner.model
    for _ in range(8):
        trajectory = draw_trajectory(rng, world)
        for q_first in model.inverse_all(trajectory.T_base_ee[0], joints, enough=2):
            path = model.follow(trajectory.T_base_ee, q_first).joints
            if path is not None:
                approach = _straight(joints, path[0])
                motion = Motion(approach, trajectory, path, None)
                return Case("unplanned", motion, joints, _OPEN, world)
    return None


def _straight(start: Array, end: Array) -> JointPath:
    """Return a straight way at half of the arm's pace, with a smooth start and end."""
    duration = max(1.0, float(np.abs(end - start).max()) * 1.875)
    stamps = np.linspace(0.0, duration, int(np.ceil(duration / 0.03)) + 1)
    s = stamps / duration
    share = s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
    return JointPath(start + share[:, None] * (end - start), stamps)


# -- mistakes --------------------------------------------------------------------------------------

Mistake = Callable[[np.random.Generator, Case, RobotModel], Case]


def _rebuilt(case: Case, model: RobotModel, change: Callable[[Array], Array], arm: bool) -> Case:
    """Return a case with all joints changed; `arm`: the arm stands where it then starts."""
    motion = case.motion
    joints = change(motion.execution_joints)
    changed = Motion(
        replace(motion.approach, positions=change(motion.approach.positions)),
        replace(motion.execution, T_base_ee=model.tool_poses(joints)),
        joints,
        None
        if motion.retreat is None
        else replace(motion.retreat, positions=change(motion.retreat.positions)),
    )
    return replace(case, motion=changed, joints=change(case.joints[None])[0] if arm else joints[0])


def _shifted(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    offset = rng.normal(size=7) * 10 ** rng.uniform(-3.0, -0.7)
    return _rebuilt(case, model, lambda q: q + offset, arm=True)


def _rotated(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    turn = np.zeros(7)
    turn[0] = rng.choice([-1.0, 1.0]) * 10 ** rng.uniform(-2.0, -0.2)
    return _rebuilt(case, model, lambda q: q + turn, arm=True)


def _off_limits(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    j, upper = int(rng.integers(7)), rng.random() < 0.5
    whole = case.motion.whole.positions[:, j]
    offset = np.zeros(7)
    beyond = rng.uniform(-0.05, 0.05)
    offset[j] = model.upper[j] - whole.max() + beyond if upper else model.lower[j] - whole.min()
    offset[j] -= 0.0 if upper else beyond
    return _rebuilt(case, model, lambda q: q + offset, arm=True)


def _faster(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    factor, motion = 10 ** rng.uniform(-1.3, 0.2), case.motion
    parts = {
        "approach": replace(motion.approach, stamps=motion.approach.stamps * factor),
        "execution": replace(motion.execution, stamps=motion.execution.stamps * factor),
    }
    return replace(case, motion=replace(motion, **parts))


def _uneven(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    path = case.motion.approach
    steps = np.diff(path.stamps) * 10 ** rng.uniform(-0.3, 0.3, len(path.stamps) - 1)
    stamps = np.concatenate([[0.0], np.cumsum(steps)])
    return replace(case, motion=replace(case.motion, approach=replace(path, stamps=stamps)))


def _jump(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    k, offset = int(rng.integers(5, POSES - 5)), np.zeros(7)
    offset[rng.integers(7)] = rng.choice([-1, 1]) * 10 ** rng.uniform(-2.0, 0.3)
    joints = case.motion.execution_joints.copy()
    joints[k:] += offset
    execution = replace(case.motion.execution, T_base_ee=model.tool_poses(joints))
    return replace(
        case,
        motion=replace(case.motion, execution=execution, execution_joints=joints, retreat=None),
    )


def _bump(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    path = case.motion.approach
    direction = rng.normal(size=7) * 10 ** rng.uniform(-2.0, -0.3)
    shape = np.sin(np.pi * np.linspace(0.0, 1.0, len(path.stamps))) ** 2
    path = replace(path, positions=path.positions + shape[:, None] * direction)
    return replace(case, motion=replace(case.motion, approach=path))


def _thinned(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    path, every = case.motion.approach, int(rng.integers(2, 10))
    keep = np.unique([*range(0, len(path.stamps), every), len(path.stamps) - 1])
    path = JointPath(path.positions[keep], path.stamps[keep])
    return replace(case, motion=replace(case.motion, approach=path))


def _elsewhere(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    return replace(case, joints=case.joints + rng.normal(size=7) * 10 ** rng.uniform(-3.0, -1.0))


def _rod(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    """Put a thin rod near a place that some link passes."""
    whole = case.motion.whole.positions
    q = whole[rng.integers(len(whole))]
    frames = model.joint_poses(q[None])[0]
    link = int(rng.integers(2, 7))
    near = frames[link] @ [*rng.normal(scale=0.06, size=2), rng.uniform(-0.1, 0.2), 1.0]
    turn = Rotation.random(rng=rng).as_matrix()
    size = np.array([rng.uniform(0.0005, 0.004), rng.uniform(0.02, 0.2), 0.0])
    rod = Solid("cylinder", size, make_pose(turn, near[:3]))
    return replace(case, world=replace(case.world, solids=(*case.world.solids, rod)))


def _moved(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    """Move everything but the table after the motion was planned."""
    offset = np.append(rng.normal(size=2) * 10 ** rng.uniform(-2.5, -1.0), 0.0)
    T = make_pose(Rotation.from_euler("z", rng.normal(scale=0.05)).as_matrix(), offset)
    table, *others = case.world.solids
    moved = tuple(replace(s, T_base_solid=T @ s.T_base_solid) for s in others)
    return replace(case, world=replace(case.world, solids=(table, *moved)))


MISTAKES: dict[str, Mistake] = {
    "shifted": _shifted,
    "rotated": _rotated,
    "off limits": _off_limits,
    "faster": _faster,
    "uneven": _uneven,
    "jump": _jump,
    "bump": _bump,
    "thinned": _thinned,
    "elsewhere": _elsewhere,
    "rod": _rod,
    "moved": _moved,
}
"""By name. Frequent ones are named more often in `WEIGHTS`."""

WEIGHTS = {"shifted": 3, "rotated": 3, "bump": 4, "rod": 2, "moved": 2}


def spoiled(rng: np.random.Generator, case: Case, model: RobotModel) -> Case:
    """Make one mistake."""
    names = list(MISTAKES)
    weights = np.array([WEIGHTS.get(name, 1) for name in names], dtype=float)
    name = str(rng.choice(names, p=weights / weights.sum()))
    return replace(MISTAKES[name](rng, case, model), mistake=name)
