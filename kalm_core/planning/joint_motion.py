"""A collision-free, timed joint motion between two postures: RRT-Connect, shortcuts, TOPP-RA."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from kalm_core import fr3_limits
from kalm_core.errors import KalmError, NoFeasibleTrajectoryError
from kalm_core.planning.collision import GROUP, CollisionScene
from kalm_core.se3 import Array
from kalm_core.settings import Settings
from kalm_core.trajectory import JointPath

_IN_VAIN = 3  # attempts to shorten a path, one after the other, after which it is short enough
_ROUNDING = 0.05  # [rad], by which a rounded corner is missed


class JointMotionSettings(Settings):
    """How the free motion between two postures is searched and timed."""

    edge_step: float = Field(
        0.04,
        gt=0.0,
        le=0.1,
        description="distance of collision checks along a motion; a certificate looks closer [rad]",
    )
    search_step: float = Field(
        0.08,
        gt=0.0,
        le=0.2,
        description="distance of collision checks in the search; what it overlooks is found by the "
        "check of the timed motion, and searched anew at half of edge_step [rad]",
    )
    max_connection: float = Field(
        1.0, gt=0.0, le=5.0, description="longest edge of the search tree [rad]"
    )
    max_nodes: int = Field(4000, ge=10, le=200000, description="size at which the search gives up")
    max_seconds: float = Field(3.0, gt=0.0, le=60.0, description="time to search [s]")
    shortcuts: int = Field(200, ge=0, le=5000, description="attempts to cut a corner")
    speed: float = Field(
        0.95, gt=0.0, le=1.0, description="share of the arm's velocity and acceleration limits"
    )
    sample_period: float = Field(
        0.03, ge=0.005, le=0.1, description="time between the positions of a motion [s]"
    )
    seed: int = Field(0, ge=0, description="of the search; the same seed finds the same motion")


class SearchError(NoFeasibleTrajectoryError):
    """No collision-free joint motion was found between two postures."""


def joint_path_to(
    scene: CollisionScene,
    q_start: Array,
    q_goal: Array,
    settings: JointMotionSettings | None = None,
) -> JointPath:
    """Plan from joints q_start (7,) to q_goal (7,) [rad] among the scene's obstacles.

    Returns:
        The motion at rest at both ends, within the limits of `fr3_limits`; a straight one in joint
        space where that is free, else one whose collisions were checked once more after timing.

    Raises:
        SearchError: an end touches something, or no way was found.
    """
    settings = settings or JointMotionSettings()
    for name, q in (("present posture", q_start), ("goal posture", q_goal)):
        if not scene.free(q):
            raise SearchError(f"the {name} is not free: {scene.explain(q)}")
    if np.abs(q_goal - q_start).max() < 1e-3:
        return JointPath(np.stack([q_start, q_goal]), np.array([0.0, settings.sample_period]))
    if scene.first_blocked(np.stack([q_start, q_goal]), settings.edge_step) is None:
        return straight(q_start, q_goal, settings)
    corners = search(scene, q_start, q_goal, settings, settings.search_step)
    try:
        return timed(scene, corners, settings)
    except SearchError:
        finely = search(scene, q_start, q_goal, settings, settings.edge_step / 2)
        return timed(scene, finely, settings)


def straight(q_start: Array, q_goal: Array, settings: JointMotionSettings) -> JointPath:
    """Return the quickest motion straight from joints to joints (7,) [rad], from rest to rest.

    Its pace rises evenly, stays, and falls evenly, as the limits of the joints allow.
    """
    way = np.abs(q_goal - q_start)
    fastest = settings.speed * float(np.min(fr3_limits.velocity() / np.maximum(way, 1e-9)))
    rise = settings.speed * float(np.min(fr3_limits.acceleration() / np.maximum(way, 1e-9)))
    ramp = min(fastest / rise, rise**-0.5)
    duration = 1.0 / (rise * ramp) + ramp
    # whole periods: the motion is slowed down by less than one
    count = max(2, int(np.ceil(duration / settings.sample_period)))
    share = np.linspace(0.0, duration, count + 1)
    left = duration - share
    travelled = np.where(
        share < ramp,
        rise * share**2 / 2,
        np.where(left < ramp, 1.0 - rise * left**2 / 2, rise * ramp * (share - ramp / 2)),
    )
    positions = q_start + travelled[:, None] * (q_goal - q_start)
    positions[-1] = q_goal
    stamps = np.linspace(0.0, count * settings.sample_period, count + 1)
    return JointPath(positions, stamps)


def search(
    scene: CollisionScene,
    q_start: Array,
    q_goal: Array,
    settings: JointMotionSettings,
    step: float,
) -> Array:
    """Return (N, 7) corners of a collision-free path: RRT-Connect (Kuffner and LaValle 2000).

    Collisions are checked every `step` [rad].

    Raises:
        SearchError: no way was found.
    """
    from roboplan import core, rrt

    names = list(fr3_limits.JOINT_NAMES)
    search = rrt.RRT(
        scene.scene,
        rrt.RRTOptions(
            group_name=GROUP,
            max_nodes=settings.max_nodes,
            max_connection_distance=settings.max_connection,
            collision_check_step_size=step,
            max_planning_time=settings.max_seconds,
            rrt_connect=True,
        ),
    )
    search.setRngSeed(settings.seed)
    try:
        path = search.plan(
            core.JointConfiguration(names, q_start), core.JointConfiguration(names, q_goal)
        )
        if settings.shortcuts == 0:
            return np.stack(path.positions)
        options = core.PathShortcuttingOptions(
            group_name=GROUP,
            max_step_size=step,
            max_iters=settings.shortcuts,
            # roboplan's 20 make the paths 6 % shorter and take four times as long
            max_convergence_iters=_IN_VAIN,
            redundant_removal_iters=_IN_VAIN,
            seed=settings.seed,
        )
        short = core.PathShortcutter(scene.scene, options).shortcut(path)
    except Exception as error:  # roboplan reports every failure as RuntimeError
        raise SearchError(f"the search found no way: {error}") from error
    return np.stack(short.positions)


def timed(scene: CollisionScene, corners: Array, settings: JointMotionSettings) -> JointPath:
    """Time the straight joint segments between corners (N, 7) with TOPP-RA, checked again.

    Corners are rounded first; where that would touch something the arm stops at every one.

    Raises:
        SearchError: not even the path with stops is free.
    """
    from roboplan import core, toppra

    path = core.JointPath()
    path.joint_names = list(fr3_limits.JOINT_NAMES)
    path.positions = list(corners)
    timing = toppra.PathParameterizerTOPPRA(scene.scene, GROUP)
    blocked: Array | None = None
    for mode in (toppra.SplineFittingMode.LinearBlend, toppra.SplineFittingMode.Hermite):
        options = toppra.TOPPRAOptions(
            dt=settings.sample_period,
            mode=mode,
            max_blend_deviation=_ROUNDING,
            velocity_scale=settings.speed,
            acceleration_scale=settings.speed,
        )
        try:
            trajectory = timing.generate(path, options)
        except Exception as error:
            raise SearchError(f"the path could not be timed: {error}") from error
        stamps, positions = np.asarray(trajectory.times), np.stack(trajectory.positions)
        keep = np.ones(len(stamps), dtype=bool)
        if len(stamps) > 2 and stamps[-1] - stamps[-2] < settings.sample_period / 2:
            keep[-2] = False  # the last period is whatever was left: too short to be a target
        motion = JointPath(positions[keep], stamps[keep] - stamps[0])
        blocked = scene.first_blocked(motion.positions, settings.edge_step)
        if blocked is None:
            return motion
    assert blocked is not None
    raise SearchError(f"the timed motion is not free: {scene.explain(blocked)}")


def concatenate(first: JointPath, second: JointPath) -> JointPath:
    """Return one motion after the other; the second starts where the first ends."""
    if np.abs(first.positions[-1] - second.positions[0]).max() > 1e-3:
        raise KalmError("two joint motions do not meet")
    return JointPath(
        np.concatenate([first.positions, second.positions[1:]]),
        np.concatenate([first.stamps, second.stamps[1:] + first.stamps[-1]]),
    )
