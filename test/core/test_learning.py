from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from policy_scenes import make_examples

from kalm_core import learning
from kalm_core.demonstration import Demonstration
from kalm_core.distillation import Attempt, DistillationSettings
from kalm_core.errors import BackendUnavailableError, CancelledError, DemonstrationError, GoalError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.learning import LearningSettings, learn_from_demonstrations, learn_skill
from kalm_core.learning_journal import Journal
from kalm_core.learning_record import learned_sentence
from kalm_core.policy.evaluation import trajectory_errors
from kalm_core.policy.settings import NetworkSettings, PolicySettings
from kalm_core.progress import Progress
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.skill import list_skills, load_skill

TINY = LearningSettings(
    policy=PolicySettings(
        network=NetworkSettings(channels=(8, 16), condition=16), steps=6, batch=8, folds=2
    )
)


def recorded(example):
    """A demonstration whose execution is the example's trajectory, after an approach."""
    part = example.trajectory
    start = part.T_base_ee[0].copy()
    start[2, 3] += 0.2
    share = np.linspace(0.0, 1.0, 20, endpoint=False)[:, None, None]
    poses = np.concatenate([start + share * (part.T_base_ee[0] - start), part.T_base_ee])
    held = np.where(part.gripper > 0.04, 0.08, 0.012)
    k = Intrinsics(8, 6, 9.0, 9.0, 3.5, 2.5)
    frame = RgbdFrame(np.full((6, 8, 3), 9, np.uint8), np.ones((6, 8), np.float32), k, np.eye(4))
    return Demonstration(
        example.name,
        (frame,),
        np.concatenate([np.arange(20) * 0.1, 2.0 + part.stamps]),
        np.zeros((len(poses), 7)),
        poses,
        np.concatenate([np.full(20, 0.08), held]),
    )


def found(detected):
    """What perception would answer: these keypoints, whatever the images show."""
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(8, 4)).astype(np.float32)
    reference = ReferenceKeypoints(
        detected[0].positions,
        {"local": unit},
        {"local": np.repeat(unit[:, None], 3, axis=1)},
        np.repeat(detected[0].positions[:, None], 3, axis=1),
        np.ones(8),
        np.full(8, 0.8),
    )

    def distill(demonstrations, settings, progress, task):
        assert task.strip()
        progress.step("propose", 0.5, "")
        progress.step("verify", 1.0, "")
        return SimpleNamespace(
            reference_demonstration=0,
            reference=reference,
            detected=tuple(detected[: len(demonstrations)]),
            attempts=(Attempt(0, 0, 50, 40, ""),),
            transcript=None,
            mask=SimpleNamespace(pixels=np.eye(6, 8, dtype=bool)),
        )

    return distill


@pytest.fixture
def lesson(monkeypatch):
    """Six demonstrations, with keypoints that perception has found in them."""
    examples = make_examples(0, 6)

    def give(change=lambda i, keypoints: keypoints, pictures=False):
        detected = [change(i, e.keypoints) for i, e in enumerate(examples)]
        monkeypatch.setattr(learning, "distill", found(detected))
        monkeypatch.setattr(learning, "write_perception_report", lambda *given: None)
        for draw in ("draw_training", "draw_trajectories") if not pictures else ():
            monkeypatch.setattr(learning, draw, lambda *given: None)
        return [recorded(e) for e in examples]

    return give


def test_a_skill_is_learned_and_says_how(lesson, tmp_path):
    stages = []
    progress = Progress(lambda stage, fraction, text: stages.append((stage, fraction)))
    folder = learn_from_demonstrations(
        "open_drawer",
        " open the top drawer ",
        lesson(pictures=True),
        tmp_path,
        TINY,
        progress=progress,
    )
    skill = load_skill(folder)
    assert folder == tmp_path / "open_drawer"
    assert skill.task == "open the top drawer"
    assert np.array_equal(skill.mask, np.eye(6, 8, dtype=bool))
    assert [s.name for s in skill.demonstrations] == [f"demo_{i}" for i in range(6)]
    assert skill.perception == DistillationSettings().model_dump(mode="json")
    assert list(dict.fromkeys(stage for stage, _ in stages)) == [
        "propose",
        "verify",
        "train",
        "write",
    ]
    assert stages[-1] == ("write", 1.0)
    record = skill.record
    assert record["left_out"] == {}
    assert record["view"] == [0.0] * 7 and record["holds"] == 0.0
    assert learned_sentence(skill) == "open_drawer was learned from 6 demonstrations."
    assert set(record["seconds"]) == {"propose", "verify", "train"}
    assert set(record["training"]["scores"]) == {"mean", "linear", "rigid", "diffusion"}
    assert record["training"]["chosen"] in record["training"]["reason"]
    assert sum(record["training"]["trust"].values()) == pytest.approx(
        len(record["training"]["trust"]), abs=0.01
    )
    assert record["training"]["held_out_rigid"]["grasp"] < 0.05
    assert sorted(p.name for p in (folder / "report").iterdir()) == [
        "index.html",
        "training.png",
        "trajectories.png",
    ]
    sample = skill.policy.sample(make_examples(1, 1)[0].keypoints, 1, 0)[0]
    assert set(sample.gripper) == {0.0, 0.08}


def test_the_same_seed_gives_the_same_skill(lesson, tmp_path):
    folders = [
        learn_from_demonstrations(name, "t", lesson(), tmp_path, TINY) for name in ("a", "b")
    ]
    a, b = ((f / "policy.safetensors").read_bytes() for f in folders)
    assert a == b


def nothing_found(keypoints):
    return DetectedKeypoints(np.full((8, 3), np.nan), np.zeros(8, bool), keypoints.score)


def test_demonstrations_that_cannot_teach_are_named_and_left_out(lesson, tmp_path, caplog):
    def change(i, keypoints):
        if i == 1:
            return nothing_found(keypoints)
        if i == 2:
            return replace(keypoints, positions=keypoints.positions + np.array([0.0, 0.0, 0.8]))
        if i == 4:  # the other handle, 12 cm below
            return replace(keypoints, positions=keypoints.positions - [0.0, 0.0, 0.08])
        return keypoints

    folder = learn_from_demonstrations("s", "t", lesson(change), tmp_path, TINY)
    skill = load_skill(folder)
    assert list(skill.record["left_out"]) == ["demo_1", "demo_2", "demo_4"]
    assert "0 of 8 keypoints" in skill.record["left_out"]["demo_1"]
    assert skill.record["left_out"]["demo_2"].startswith("the hand stays")
    assert "another part" in skill.record["left_out"]["demo_4"]
    assert [s.name for s in skill.demonstrations] == ["demo_0", "demo_3", "demo_5"]
    assert caplog.text.count("is left out: ") == 3
    sentence = learned_sentence(skill)
    assert sentence.startswith("s was learned from 3 demonstrations; left out: demo_1 (")
    assert "0 of 8 keypoints" in sentence
    assert "another part" in sentence


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_demonstrations_are_a_skill(lesson, tmp_path, count):
    demos = lesson()[:count]
    skill = load_skill(learn_from_demonstrations("s", "t", demos, tmp_path, TINY))
    assert [s.name for s in skill.demonstrations] == [f"demo_{i}" for i in range(count)]
    assert skill.record["training"]["chosen"] in {"mean", "linear", "rigid"}
    unseen = make_examples(5, 1)[0]
    sample = skill.policy.sample(unseen.keypoints, 1, 0)[0]
    assert trajectory_errors(sample, unseen.trajectory).grasp < 0.03
    # A lone image matches itself: its scores are no measure for other images.
    floor = TINY.distillation.correspondence.min_score
    assert skill.reference.min_score.max() == pytest.approx(floor if count == 1 else 0.8)


def test_of_two_demonstrations_both_must_teach(lesson, tmp_path):
    demos = lesson(lambda i, k: nothing_found(k) if i == 1 else k)[:2]
    with pytest.raises(DemonstrationError, match=r"1 demonstrations can teach, expected 2.*demo_1"):
        learn_from_demonstrations("s", "t", demos, tmp_path, TINY)


def test_fewer_than_three_of_many_are_an_error_that_names_all(lesson, tmp_path, caplog):
    def change(i, keypoints):
        return keypoints if i < 2 else nothing_found(keypoints)

    with pytest.raises(DemonstrationError, match=r"2 demonstrations can teach.*demo_2.*demo_5"):
        learn_from_demonstrations("s", "t", lesson(change), tmp_path, TINY)
    with pytest.raises(DemonstrationError, match=r"0 demonstrations can teach"):
        demos = lesson(lambda i, keypoints: nothing_found(keypoints))
        learn_from_demonstrations("s", "t", demos, tmp_path, TINY)
    assert list(tmp_path.iterdir()) == []
    assert "is left out" not in caplog.text  # the error has told it


def test_what_to_do_about_reasons_of_a_kind_is_told_once():
    journal = Journal()
    for i in range(10):
        away = DemonstrationError(f"{i:02d}: the hand stays {i} cm off", "Check the camera.")
        journal.leave_out(f"{i:02d}", away)
    journal.leave_out("10", DemonstrationError("10 has no depth"))
    with pytest.raises(DemonstrationError) as told:
        journal.require(0)
    assert str(told.value).count("Check the camera") == 1
    assert all(f"{i:02d}: the hand stays {i} cm off" in str(told.value) for i in range(10))
    assert "10 has no depth" in str(told.value)


@pytest.mark.parametrize("stage", ["propose", "verify", "train", "write"])
def test_cancelling_leaves_nothing_behind(lesson, tmp_path, stage):
    reached = []

    def report(name, fraction, text):
        reached.append(name)

    def stop():
        before = {"propose": [], "verify": ["propose"], "train": ["verify"], "write": ["train"]}
        enough = TINY.policy.steps + 1 if stage == "write" else 1
        need = before[stage]
        return not need or reached.count(need[0]) >= enough

    demos = lesson()
    with pytest.raises(CancelledError):
        learn_from_demonstrations("s", "t", demos, tmp_path, TINY, progress=Progress(report, stop))
    assert stage not in reached
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused_before_the_work(lesson, tmp_path):
    demos = lesson()

    def never(*args):
        raise AssertionError("work has begun")

    progress = Progress(never)
    for name, task, text in (("a b", "t", "cannot be a skill's name"), ("s", " ", "task is empty")):
        with pytest.raises(GoalError, match=text):
            learn_from_demonstrations(name, task, demos, tmp_path, TINY, progress=progress)
    folder = learn_from_demonstrations("s", "first", demos, tmp_path, TINY)
    with pytest.raises(GoalError, match="exists"):
        learn_from_demonstrations("s", "t", demos, tmp_path, TINY, progress=progress)
    learn_from_demonstrations("s", "second", demos, tmp_path, TINY, overwrite=True)
    assert load_skill(folder).task == "second"
    assert [s.name for s in list_skills(tmp_path)] == ["s"]


def test_a_training_that_cannot_be_logged_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if not installed
    bags = [tmp_path / "not_even_read"]
    with pytest.raises(BackendUnavailableError, match="pip install tensorboard"):
        learn_skill("s", "t", bags, tmp_path, TINY, training_folder=tmp_path / "training")


def test_bags_that_cannot_be_read_are_named(tmp_path):
    bags = [tmp_path / f"bag_{i}" for i in range(3)]
    with pytest.raises(DemonstrationError, match=r"0 demonstrations.*bag_0.*bag_1.*bag_2"):
        learn_skill("s", "t", bags, tmp_path / "skills", TINY)
    assert not (tmp_path / "skills").exists()


def test_unreadable_bags_and_copies_are_left_out(lesson, tmp_path, monkeypatch):
    demos = lesson()

    def read(path, T_ee_cam):
        if path.name == "torn":
            raise DemonstrationError(f"{path} is cut short")
        source = demos[int(path.name[-1])]
        return replace(source, source=path, sha256=f"sum of {source.name}")

    monkeypatch.setattr(learning, "read_demonstration", read)
    bags = [Path("torn"), *(Path(f"demo_{i}") for i in range(6)), Path("copy_of_2"), Path("demo_3")]
    skill = load_skill(learn_skill("s", "t", bags, tmp_path, TINY))
    assert skill.record["left_out"] == {
        "torn": f"{Path('torn').absolute()} is cut short",
        "copy_of_2": "it is the same recording as demo_2",
        "demo_3": "it is the same recording as demo_3",
    }
    assert skill.demonstrations[0].bag == str(Path("demo_0").absolute())  # from anywhere
    assert skill.demonstrations[0].sha256 == "sum of demo_0"
    assert "read" in skill.record["seconds"]
    assert skill.record["hand_eye"] == HandEyeSettings().model_dump(mode="json")


def test_two_bags_of_one_name_are_refused_before_anything_is_read(tmp_path):
    bags = [tmp_path / day / "001" for day in ("monday", "tuesday")]
    with pytest.raises(DemonstrationError, match=r"monday/001 and .*tuesday/001 have the same"):
        learn_skill("s", "t", bags, tmp_path / "skills", TINY)
    (tmp_path / "monday").mkdir()
    bags[0] = tmp_path / "monday" / "001.mcap"
    bags[0].touch()  # the name of a single file is without its suffix
    with pytest.raises(DemonstrationError, match="have the same name"):
        learn_skill("s", "t", bags, tmp_path / "skills", TINY)


@pytest.mark.sim
def test_learning_from_rendered_demonstrations(tmp_path):
    from kalm_sim.synthetic import make_demonstration

    demonstrations, truths = zip(
        *(make_demonstration(seed, frames=1) for seed in range(3)), strict=True
    )
    policy = TINY.policy.model_copy(update={"steps": 40, "folds": 0})
    settings = TINY.model_copy(update={"policy": policy})
    folder = learn_from_demonstrations("drawer", "open it", demonstrations, tmp_path, settings)
    skill = load_skill(folder)
    assert skill.record["left_out"] == {}
    assert len(list((folder / "report").glob("*.png"))) == 5
    assert skill.record["training"]["fit"]["grasp"] < 0.02
    handle = truths[skill_reference(skill, demonstrations)].handles[0].T_base_handle[:3, 3]
    away = np.linalg.norm(skill.reference.positions - handle, axis=1)
    assert np.median(away) < 0.12


def skill_reference(skill, demonstrations):
    """Which demonstration the reference image is from."""
    same = [np.array_equal(d.initial.color, skill.image) for d in demonstrations]
    return same.index(True)
