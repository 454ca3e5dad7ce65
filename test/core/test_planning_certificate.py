"""The certificate: what it must refuse, and that it says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from planning_scenes import READY
from scipy.interpolate import PchipInterpolator
from scipy.spatial import cKDTree
from test_planning_planner import SETTINGS, keypoints, opening, seen

from kalm_core import fr3_limits
from kalm_core.errors import RobotError
from kalm_core.planning.certificate import Certificate
from kalm_core.planning.certified_planner import CertifiedPlanner
from kalm_core.planning.contacts import FINGERS
from kalm_core.planning.joint_motion import JointMotionSettings, straight
from kalm_core.planning.limits import derivative_shares, sample_shares
from kalm_core.planning.motion import Motion
from kalm_core.planning.obstacles import Obstacles, voxelize
from kalm_core.planning.planner import MotionPlan, make_planner
from kalm_core.planning.ranking import best
from kalm_core.planning.sweep import Reach, followed
from kalm_core.trajectory import EndEffectorTrajectory, JointPath


@pytest.fixture(scope="module")
def planner() -> CertifiedPlanner:
    planner = make_planner(SETTINGS)
    assert isinstance(planner, CertifiedPlanner)
    return planner


@pytest.fixture(scope="module")
def view(planner: CertifiedPlanner) -> np.ndarray:
    from planning_scenes import hand_pose

    pose = hand_pose([0.3, 0.0, 0.5], np.radians(35))
    planner.surroundings.set_gripper(0.08)
    return next(q for q in planner.model.inverse_all(pose, READY) if planner.surroundings.free(q))


@pytest.fixture(scope="module")
def plan(planner: CertifiedPlanner, view: np.ndarray) -> MotionPlan:
    return planner.plan([opening()], keypoints(), seen(planner, view), view, 0.08)


@pytest.fixture
def certify(planner: CertifiedPlanner, plan: MotionPlan, view: np.ndarray):
    """Certify a motion in the scene that the plan was made for."""
    planner.prepare(planner.see(seen(planner, view), view, 0.08), keypoints())
    return lambda motion: planner.certifier.certify(motion, view, 0.08)


def test_a_plan_carries_numbers_that_hold(plan: MotionPlan, certify) -> None:
    certificate = certify(plan.motion)
    assert certificate.passed and certificate.failure is None
    assert 0 < certificate.velocity <= 1 and 0 < certificate.acceleration <= 1
    assert certificate.jerk <= 1 and certificate.joint_margin > 0.0
    assert certificate.clearance >= 0.0 and certificate.checks > 100
    assert 0 <= certificate.margin <= 1
    assert certificate == replace(plan.certificate, seconds=certificate.seconds)
    names = [name for name, _ in plan.motion.parts]
    assert names == ["approach", "execution"]  # the fingers end closed: they hold the handle


def moved(motion: Motion, part: str, **changes) -> Motion:
    path = getattr(motion, part)
    return replace(motion, **{part: replace(path, **changes)})


def mutations(motion: Motion) -> dict[str, tuple[Motion, str, str]]:
    """Motions that must be refused: what is wrong, the kind, the part."""
    q = motion.execution_joints
    jump, off = q.copy(), q.copy()
    jump[30:, 6] += np.pi / 2
    off[20, 0] += 0.02
    late = motion.approach.stamps.copy()
    late[-1] += 1.0
    fast = motion.execution.stamps / 30
    return {
        "start": (
            moved(motion, "approach", positions=motion.approach.positions + 0.03),
            "start",
            "approach",
        ),
        "parts": (replace(motion, execution_joints=q + 0.002), "start", "execution"),
        "gap": (moved(motion, "approach", stamps=late), "stamps", "approach"),
        "fast": (
            replace(motion, execution=replace(motion.execution, stamps=fast)),
            "velocity",
            "execution",
        ),
        "jump": (replace(motion, execution_joints=jump), "pose", "execution"),
        "off": (replace(motion, execution_joints=off), "pose", "execution"),
    }


@pytest.mark.parametrize("wrong", ["start", "parts", "gap", "fast", "jump", "off"])
def test_what_is_wrong_is_refused_and_named(plan: MotionPlan, certify, wrong: str) -> None:
    motion, kind, part = mutations(plan.motion)[wrong]
    failure = certify(motion).failure
    assert failure is not None and (failure.kind, failure.part) == (kind, part)
    assert failure.text


def test_a_thin_rod_between_two_poses_is_hit_and_located(
    planner: CertifiedPlanner, plan: MotionPlan, certify
) -> None:
    """A rod so thin that the poses of the approach pass beside it, not what lies between them."""
    path = plan.motion.approach.positions
    middle = len(path) // 2
    tool = planner.model.forward(path[middle])[:3, 3]
    rod = tool + np.linspace(-0.02, 0.02, 9)[:, None] * [0.0, 0.0, 1.0]
    planner.surroundings.set_obstacles(Obstacles(voxelize(rod, 0.005), 0.005))
    failure = certify(plan.motion).failure
    assert failure is not None and failure.kind == "collision" and failure.part == "approach"
    assert failure.point is not None and np.linalg.norm(failure.point - tool) < 0.1
    assert failure.link and f"{failure.link}, obstacle at" in failure.text
    assert "cm deep" in failure.text and failure.centimetres >= 0.0


def test_only_fingers_may_touch_and_only_near_the_keypoints(
    planner: CertifiedPlanner, plan: MotionPlan, certify, view: np.ndarray
) -> None:
    motion = plan.motion
    everything = planner.see(seen(planner, view), view, 0.08)
    planner.contact.set_obstacles(everything)
    failure = certify(motion).failure
    assert failure is not None and failure.link in FINGERS
    planner.prepare(everything, keypoints())
    hand = planner.model.forward(motion.execution_joints[24]) @ [0.0, 0.0, -0.06, 1.0]
    near = Obstacles(voxelize(hand[None, :3], 0.01), 0.01)
    planner.contact.set_obstacles(planner.contact.obstacles, near)
    failure = certify(motion).failure
    assert failure is not None and failure.link == "fr3_hand" and failure.part == "execution"


def test_an_exception_anywhere_means_not_certified(
    planner: CertifiedPlanner, plan: MotionPlan, certify, monkeypatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("stale")

    for owner, name in (
        (planner.model, "tool_poses"),
        (planner.model, "manipulability"),
        (planner.model, "joint_poses"),
        (planner.surroundings, "_collides"),
        (planner.contact, "_collides"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            certificate = certify(plan.motion)
            assert not certificate.passed and "stale" in str(certificate), name
    assert certify(plan.motion).passed


def test_nan_is_never_certified(plan: MotionPlan, certify) -> None:
    bad = plan.motion.approach.positions.copy()
    bad[3, 2] = np.nan
    path = plan.motion.approach
    object.__setattr__(path := replace(path), "positions", bad)
    assert not certify(replace(plan.motion, approach=path)).passed


def test_no_point_of_the_arm_moves_farther_than_the_step(planner: CertifiedPlanner) -> None:
    solids = planner.surroundings.link_points(10**6)
    reach = Reach(planner.model, solids)
    rng = np.random.default_rng(0)

    def cloud(q: np.ndarray) -> np.ndarray:
        T = planner.model.joint_poses(q[None])[0]
        return np.concatenate([p @ T[j - 1, :3, :3].T + T[j - 1, :3, 3] for _, j, p in solids])

    for scale in (0.01, 0.1, 0.6, 0.6, 0.6):
        a = rng.uniform(planner.model.lower, planner.model.upper)
        b = a + rng.normal(size=7) * scale
        swept, index = reach.swept(np.stack([a, b, a]), 0.005)
        assert (swept[0] == a).all() and (swept[-1] == a).all() and index[-1] == 2
        for before, after in list(pairwise(swept))[:: len(swept) // 8 + 1]:
            assert np.linalg.norm(cloud(after) - cloud(before), axis=1).max() <= 0.005


def test_what_is_checked_is_the_way_that_the_arm_takes(planner: CertifiedPlanner) -> None:
    rng = np.random.default_rng(3)
    path = JointPath(READY + rng.uniform(-0.15, 0.15, (12, 7)), np.linspace(0.0, 6.0, 12))
    way, pose = followed(path)
    assert (
        way[np.searchsorted(pose, np.arange(1, 12), side="right") - 1] == path.positions[1:]
    ).all()
    taken = PchipInterpolator(path.stamps, path.positions)(np.linspace(0.0, 6.0, 2001))

    def tools(q: np.ndarray) -> np.ndarray:
        return planner.model.tool_poses(q)[:, :3, 3]

    def off(postures: np.ndarray) -> float:
        share = np.linspace(0.0, 1.0, 200)[:, None, None]
        dense = (postures[:-1] + share * np.diff(postures, axis=0)).reshape(-1, 7)
        return float(cKDTree(tools(dense)).query(tools(taken))[0].max())

    assert off(path.positions) > 0.004  # what the straight lines between them miss
    assert off(way) < 0.001


def test_the_certificate_looks_where_the_arm_bends(
    planner: CertifiedPlanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = np.array([0.0, 0.3, -0.3, 0.3, 0.0])[:, None] * np.eye(7)[0]
    turns = turns + np.array([0.0, 0.0, 0.3, 0.3, 0.0])[:, None] * np.eye(7)[3]
    path = JointPath(READY + turns, np.linspace(0.0, 4.0, 5))
    looked: list[np.ndarray] = []

    def note(q: np.ndarray) -> bool:
        looked.append(q)
        return True

    monkeypatch.setattr(planner.certifier, "_check_limits", lambda *_: None)
    monkeypatch.setattr(planner.surroundings, "free_exactly", note)
    planner.certifier.demand_free(path, READY, 0.08)
    taken = PchipInterpolator(path.stamps, path.positions)(np.linspace(0.0, 4.0, 4001))
    tools = planner.model.tool_poses(taken)[:, :3, 3]
    seen = planner.model.tool_poses(np.array(looked))[:, :3, 3]
    assert cKDTree(tools).query(seen)[0].max() < 0.001


def test_the_retreat_goes_straight_back_with_open_fingers(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    pull = opening()
    width = pull.gripper.copy()
    width[44:] = 0.08
    released = EndEffectorTrajectory(pull.T_base_ee, width, pull.stamps)
    plan = planner.plan([released], keypoints(), seen(planner, view), view, 0.08)
    assert plan.motion.retreat is not None
    start, end = (planner.model.forward(q) for q in plan.motion.retreat.positions[[0, -1]])
    way = end[:3, 3] - start[:3, 3]
    assert 0.02 <= np.linalg.norm(way) <= 0.081
    assert way @ start[:3, 2] == pytest.approx(-np.linalg.norm(way), abs=1e-3)
    whole = plan.motion.whole
    assert isinstance(whole, JointPath) and (np.abs(np.diff(whole.positions, axis=0)) < 0.4).all()


def test_what_the_policy_gives_last_is_for_where_nothing_else_can_be_done(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    def shifted(offset: Sequence[float]) -> EndEffectorTrajectory:
        T = opening().T_base_ee.copy()
        T[:, :3, 3] += offset
        return EndEffectorTrajectory(T, opening().gripper, opening().stamps)

    usual = [shifted([0.0, y, 0.0]) for y in (0.0, 0.003, -0.003)]
    unusual, far = shifted([0.0, 0.02, 0.01]), shifted([2.0, 0.0, 0.0])
    frame = seen(planner, view)
    assert planner.plan([*usual, unusual], keypoints(), frame, view, 0.08).chosen < 3
    plan = planner.plan([far, far, unusual], keypoints(), frame, view, 0.08)
    assert plan.chosen == 2
    assert set(plan.rejected) == {0, 1}


def test_a_hand_of_unknown_opening_is_not_planned_with(
    planner: CertifiedPlanner, view: np.ndarray
) -> None:
    with pytest.raises(RobotError, match="opening of the hand is not known"):
        planner.plan([opening()], keypoints(), seen(planner, view), view, float("nan"))


@pytest.mark.parametrize(
    ("margins", "chosen"),
    [([0.1, 0.5, 0.4], 1), ([0.5, 0.1], 0), ([0.1, 0.5], 0), ([0.1, 0.2, 0.9], 0), ([0.3], 0)],
)
def test_the_best_balances_margin_and_the_order_of_the_policy(
    margins: list[float], chosen: int
) -> None:
    assert best(margins) == chosen


def test_the_margin_is_that_of_the_worst_limit() -> None:
    assert Certificate(None, 1.0, 1.0, 0.1, 0.1, 0.1, 1.0).margin == pytest.approx(0.9)


def test_uneven_steps_hide_no_jerk() -> None:
    """The third derivative of a cubic is its own, however the samples are spaced."""
    rng = np.random.default_rng(3)
    stamps = np.concatenate([[0.0], np.cumsum(rng.uniform(0.002, 0.05, 30))])
    path = JointPath(np.outer(40.0 * stamps**3, np.ones(7)), stamps)
    jerk = sample_shares(path)[2]
    np.testing.assert_allclose(jerk, np.broadcast_to(240.0 / fr3_limits.jerk(), jerk.shape), 1e-6)


def test_a_straight_motion_is_quick_and_within_its_limits() -> None:
    rng, settings = np.random.default_rng(4), JointMotionSettings()
    for scale in (0.002, 0.1, 1.0, 2.0):
        start, end = rng.normal(size=7) * 0.1, rng.normal(size=7) * scale
        path = straight(start, end, settings)
        assert (path.positions[0] == start).all() and (path.positions[-1] == end).all()
        shares = [worst.share for worst in derivative_shares(path)]
        assert max(shares) <= settings.speed + 1e-9
        assert max(shares) > 0.5 * settings.speed or len(path.stamps) <= 8
        along = (path.positions - start) @ (end - start) / ((end - start) @ (end - start))
        np.testing.assert_allclose(
            path.positions, start + along[:, None] * (end - start), atol=1e-9
        )
        assert (np.diff(along) >= 0).all()


def test_the_limits_are_those_of_the_arm() -> None:
    for limit in (fr3_limits.velocity(), fr3_limits.acceleration(), fr3_limits.jerk()):
        assert limit.shape == (7,) and (limit > 0).all()
