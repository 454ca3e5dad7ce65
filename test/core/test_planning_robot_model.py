from __future__ import annotations

import re

import numpy as np
import pytest

from kalm_core.errors import ConfigError, GoalError
from kalm_core.planning.robot_model import RobotModel, RobotModelSettings, default_urdf
from kalm_core.se3 import interpolate_poses, rotation_angle

READY = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])


@pytest.fixture(scope="module")
def model() -> RobotModel:
    return RobotModel.load()


def random_joints(model: RobotModel, rng: np.random.Generator) -> np.ndarray:
    margin = model.settings.limit_margin
    return rng.uniform(model.lower + margin, model.upper - margin)


def test_tool_of_the_ready_posture_is_where_franka_says(model: RobotModel) -> None:
    # flange at 0.3069, 0, 0.5903; the hand adds 0.1034 m downwards and turns by -45 deg
    expected = np.diag([1.0, -1.0, -1.0, 1.0])
    expected[:3, 3] = [0.30689, 0.0, 0.48688]
    np.testing.assert_allclose(model.forward(READY), expected, atol=1e-4)


def test_a_base_away_from_the_root_is_refused(tmp_path) -> None:
    text = default_urdf().read_text()
    link, joint = '<link name="cell"/>', '<joint name="cell_joint" type="fixed">'
    joint += '<parent link="cell"/><child link="{}"/><origin xyz="0 0 0.8" rpy="0 0 0"/></joint>'
    names = re.findall(r'<link name="([^"]+)"', text)
    children = re.findall(r'<child link="([^"]+)"', text)
    (root,) = set(names) - set(children)
    moved = tmp_path / "cell.urdf"
    moved.write_text(text.replace("</robot>", link + joint.format(root) + "</robot>"))
    with pytest.raises(ConfigError, match="root is fr3_link0"):
        RobotModel.load(moved)


def test_inverse_of_forward_reaches_the_pose_within_limits(model: RobotModel) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        target = model.forward(random_joints(model, rng))
        q = model.inverse(target, READY)
        assert q is not None
        assert model.within_limits(q, model.settings.limit_margin - 1e-9)
        reached = model.forward(q)
        assert np.linalg.norm(reached[:3, 3] - target[:3, 3]) < 0.001
        assert rotation_angle(reached, target) < 0.003


def test_inverse_is_deterministic(model: RobotModel) -> None:
    rng = np.random.default_rng(1)
    target = model.forward(random_joints(model, rng))
    np.testing.assert_array_equal(model.inverse(target, READY), model.inverse(target, READY))


def test_inverse_answers_none_out_of_reach(model: RobotModel) -> None:
    target = model.forward(READY)
    target[0, 3] = 1.5
    assert model.inverse(target, READY) is None
    distance, _ = model.shortfall(target, READY)
    assert 0.4 < distance < 0.9


def test_several_answers_are_different_and_all_reach(model: RobotModel) -> None:
    target = model.forward(READY)
    answers = model.inverse_all(target, READY)
    assert len(answers) >= 3
    np.testing.assert_allclose(answers[0], READY, atol=0.05)
    for answer in answers:
        np.testing.assert_allclose(model.forward(answer), target, atol=0.003)


def test_jacobian_is_the_derivative_of_forward(model: RobotModel) -> None:
    rng = np.random.default_rng(2)
    q, dq = random_joints(model, rng), rng.normal(size=7) * 1e-6
    moved = np.linalg.inv(model.forward(q)) @ model.forward(q + dq)
    np.testing.assert_allclose(moved[:3, 3], (model.jacobian(q) @ dq)[:3], atol=1e-10)


def test_follows_a_straight_pull_without_a_jump(model: RobotModel) -> None:
    start = model.forward(READY)
    end = start.copy()
    end[:3, 3] += [-0.1, 0.05, -0.15]
    poses = interpolate_poses([0.0, 1.0], np.stack([start, end]), np.linspace(0, 1, 48))
    following = model.follow(poses, READY)
    assert following.joints is not None and following.reason == ""
    assert np.abs(np.diff(following.joints, axis=0)).max() < 0.05
    for pose, q in zip(poses, following.joints, strict=True):
        np.testing.assert_allclose(model.forward(q), pose, atol=0.003)


def test_following_out_of_reach_says_which_pose(model: RobotModel) -> None:
    start = model.forward(READY)
    end = start.copy()
    end[0, 3] += 1.0
    poses = interpolate_poses([0.0, 1.0], np.stack([start, end]), np.linspace(0, 1, 48))
    following = model.follow(poses, READY)
    assert following.joints is None
    assert 0 < following.index < 48
    assert f"pose {following.index + 1} of 48 stays" in following.reason


def test_following_refuses_a_jump(model: RobotModel) -> None:
    start = model.forward(READY)
    far = start.copy()
    far[:3, 3] += [0.1, 0.45, 0.0]
    following = model.follow(np.stack([start, far]), READY)
    assert following.joints is None
    assert "jump" in following.reason


def test_manipulability_vanishes_with_a_straight_elbow(model: RobotModel) -> None:
    straight = np.array([0.0, 0.0, 0.0, -1e-4, 0.0, 1e-4, 0.0])
    assert model.manipulability(straight) < 1e-3 < model.manipulability(READY)


@pytest.mark.parametrize("bad", [np.zeros(6), np.full(7, np.nan)])
def test_wrong_joints_are_refused(model: RobotModel, bad: np.ndarray) -> None:
    with pytest.raises(GoalError, match="7 finite"):
        model.forward(bad)


def test_a_missing_urdf_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no_such\.urdf does not exist"):
        RobotModel.load("no_such.urdf")


def test_an_unknown_tool_frame_is_named() -> None:
    with pytest.raises(ConfigError, match="spoon"):
        RobotModel.load(RobotModelSettings(tool_frame="spoon"))
