from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from distilled_cabinet import SETTINGS, demonstrations, distilled
from recorded import Recording, write_bag
from typer.testing import CliRunner

from kalm_core import editing
from kalm_core.bags import read_demonstration
from kalm_core.cli import app, keypoints_app
from kalm_core.editing import (
    Edit,
    edit_keypoints,
    edit_skill,
    read_sources,
    reference_index,
    settings_of,
)
from kalm_core.errors import BundleError, DemonstrationError, GoalError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.learning import (
    LearningSettings,
    learn_from_demonstrations,
    record_demonstrations,
)
from kalm_core.learning_journal import Journal
from kalm_core.policy.settings import NetworkSettings, PolicySettings
from kalm_core.progress import Progress
from kalm_core.skill import load_skill

DEMONSTRATIONS = [item for item, _ in demonstrations()]
TINY = LearningSettings(
    distillation=SETTINGS,
    policy=PolicySettings(
        network=NetworkSettings(channels=(8, 16), condition=16), steps=4, batch=4
    ),
    seed=3,
    stray=0.2,
)
RUN = CliRunner()


def edited(edit, reference=None):
    found = distilled()
    return edit_keypoints(
        DEMONSTRATIONS,
        found.reference_demonstration,
        reference or found.reference,
        edit,
        settings=SETTINGS,
    )


def handle_pixel():
    """A candidate that was consistent everywhere and is no keypoint, in the reference image."""
    found = distilled()
    free = np.linalg.norm(
        found.candidate_positions[:, None] - found.reference.positions[None], axis=-1
    ).min(axis=1)
    best = np.where(found.candidate_consistency == 1.0, free, 0.0).argmax()
    frame = DEMONSTRATIONS[found.reference_demonstration].initial
    u, v = frame.project(found.candidate_positions[[best]])[0].round().astype(int)
    return int(u), int(v)


def test_what_is_not_dropped_stays_where_it_was():
    reference = distilled().reference
    lesson, additions = edited(Edit(drop=(3, 5)))
    assert additions == ()
    assert np.allclose(lesson.reference.positions, np.delete(reference.positions, [2, 4], axis=0))
    assert len(lesson.detected) == len(DEMONSTRATIONS)
    assert all(len(item) == 6 for item in lesson.detected)
    assert (lesson.reference.consistency >= 0.7).all()


def test_an_added_point_is_verified_and_found():
    pixel = handle_pixel()
    lesson, additions = edited(Edit(add=(pixel,)))
    assert additions[0].accepted
    assert len(additions[0].found) == len(DEMONSTRATIONS)
    frame = DEMONSTRATIONS[distilled().reference_demonstration].initial
    place = frame.project(lesson.reference.positions[[8]])[0]
    assert np.abs(place - pixel).max() <= SETTINGS.correspondence.stride
    assert sum(item.found[8] for item in lesson.detected) >= 3


def test_a_point_that_is_not_found_again_is_refused_unless_forced(monkeypatch):
    monkeypatch.setattr(
        "kalm_core.verification.Verifier._at_the_contact",
        lambda self, reference, positions, index: np.arange(len(positions)) < 8,
    )
    pixel = handle_pixel()
    with pytest.raises(GoalError, match=r"found in 0 of 4 demonstrations, 3 are needed.*--force"):
        edited(Edit(add=(pixel,)))
    lesson, additions = edited(Edit(add=(pixel,), force=True))
    assert not additions[0].accepted
    assert len(lesson.reference) == 9


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (Edit(), "nothing shall change"),
        (Edit(drop=(9,)), r"no keypoint 9\. they are 1 to 8"),
        (Edit(drop=(1, 2, 3, 4, 5, 6)), "2 keypoints would be left"),
        (Edit(add=((10_000, 3),)), "no depth or no feature"),
    ],
)
def test_an_edit_that_cannot_be_meant_is_refused(edit, problem):
    with pytest.raises(GoalError, match=problem):
        edited(edit)


def test_another_calibration_is_noticed():
    reference = distilled().reference
    moved = replace(reference, positions=reference.positions + np.array([0.0, 0.0, 0.3]))
    with pytest.raises(BundleError, match=r"keypoint 1 lies \d+ mm from all points"):
        edited(Edit(drop=(8,)), moved)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skills")
    learn_from_demonstrations("open_drawer", "open it", DEMONSTRATIONS, folder, TINY)
    return folder


@pytest.fixture
def skill(root, monkeypatch):
    """A learned skill; its demonstrations come from memory instead of bags."""
    names = {item.name: item for item in DEMONSTRATIONS}

    def read(skill, bags, hand_eye, journal, progress):
        return [names[item["name"]] for item in skill.record["demonstrations"]]

    monkeypatch.setattr(editing, "read_sources", read)
    return root / "open_drawer"


def test_the_bundle_tells_of_the_edit_and_keeps_its_pictures(skill):
    u, v = handle_pixel()
    before = {path.name for path in (skill / "report").iterdir()}
    count = len(load_skill(skill).reference)
    result = RUN.invoke(
        app, ["keypoints", "edit", str(skill), "--drop", "2", "--drop", "7", "--add", f"{u},{v}"]
    )
    assert result.exit_code == 0, result.output
    assert "is found in 4 of 4 demonstrations" in result.stdout
    after = load_skill(skill)
    assert len(after.reference) == len(after.policy) == count - 1
    entry = after.record["edited_keypoints"][-1]
    assert entry["dropped"] == [2, 7]
    assert entry["added"] == [{"pixel": [u, v], "found": 4, "of": 4, "forced": False}]
    assert {path.name for path in (skill / "report").iterdir()} == before
    assert "Edited by hand" in (skill / "report" / "index.html").read_text(encoding="utf-8")
    shown = RUN.invoke(app, ["keypoints", "show", str(skill)])
    assert shown.exit_code == 0
    assert "2 dropped, 1 added" in shown.stdout
    assert RUN.invoke(app, ["report", str(skill)]).stdout.strip().endswith("report/index.html")


def test_an_edited_skill_is_trained_with_the_settings_that_it_was_learned_with(skill):
    learned = load_skill(skill)
    assert settings_of(learned) == TINY
    assert learned.policy.kind != "diffusion"  # which keeps its own
    for key in ("policy", "stray"):
        del learned.record[key]  # as skills of earlier versions
    unknown = {"policy": PolicySettings(), "stray": LearningSettings().stray}
    assert settings_of(learned) == TINY.model_copy(update=unknown)


def test_a_refused_edit_leaves_the_skill_as_it_was(skill):
    before = (skill / "skill.yaml").read_bytes()
    with pytest.raises(GoalError):
        edit_skill(skill, Edit(drop=(1,), add=((10_000, 3),)))
    assert (skill / "skill.yaml").read_bytes() == before
    assert RUN.invoke(app, ["keypoints", "edit", str(skill), "--add", "here"]).exit_code == 1


def test_the_bags_are_found_and_must_be_the_same(tmp_path):
    for name, seconds in (("001", 2.0), ("002", 2.5)):
        write_bag(tmp_path / "then" / name, Recording(seconds=seconds, still=0.5).messages())
    hand_eye = HandEyeSettings()
    read = [read_demonstration(tmp_path / "then" / n, hand_eye.T_ee_cam) for n in ("001", "002")]
    found = [DetectedKeypoints(np.zeros((1, 3)), np.ones(1, bool), np.ones(1))] * 2
    record = {
        "demonstrations": record_demonstrations(read, found),
        "reference_demonstration": "002",
    }
    learned = SimpleNamespace(record=record)

    def sources(*bags):
        return read_sources(learned, bags, hand_eye, Journal(), Progress())

    again = sources()
    assert [item.name for item in again] == ["001", "002"]
    assert reference_index(learned, again) == 1
    (tmp_path / "then" / "002").rename(tmp_path / "002")
    with pytest.raises(BundleError, match=r"1 of the 2 demonstrations.*002.*--bag"):
        sources()
    assert len(sources(tmp_path / "002")) == 2
    with pytest.raises(DemonstrationError, match="have the same name"):
        sources(tmp_path / "002", tmp_path / "elsewhere" / "002")
    record["demonstrations"][0]["sha256"] = "other"
    with pytest.raises(BundleError, match="001 is not the recording"):
        sources(tmp_path / "002")


@pytest.mark.parametrize("command", [c.name for c in keypoints_app.registered_commands])
def test_the_commands_explain_themselves(command):
    result = RUN.invoke(app, ["keypoints", command, "--help"])
    assert f"Example:\n    kalm keypoints {command}" in result.stdout
