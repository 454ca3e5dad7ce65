from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from policy_scenes import make_examples
from small_skill import make_skill

from kalm_core import sealed_folder
from kalm_core.confidence import PRIOR, Calibration
from kalm_core.errors import BundleError, GoalError, UnknownSkillError
from kalm_core.skill import (
    check_name,
    list_skills,
    load_skill,
    skill_folder,
    summarize_skill,
    write_skill,
)

FILES = (
    "skill.yaml",
    "keypoints.safetensors",
    "policy.safetensors",
    "reference.png",
    "report/curve.png",
)


def draw(folder):
    (folder / "curve.png").write_bytes(b"picture")


@pytest.fixture
def folder(tmp_path):
    return write_skill(make_skill(), tmp_path / "skills", draw)


def snapshot(root):
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def reseal(folder, old, new):
    """Change the record as somebody would who knows how it is sealed."""
    path = folder / "skill.yaml"
    body, mark, _ = path.read_text().rpartition("# sha256 of the lines above: ")
    assert old in body
    body = body.replace(old, new)
    path.write_text(body + mark + hashlib.sha256(body.encode()).hexdigest() + "\n")


def test_a_skill_comes_back_as_it_was_written(folder):
    skill, again = make_skill(), load_skill(folder)
    assert (again.name, again.task, again.created) == (skill.name, skill.task, skill.created)
    assert again.perception == skill.perception
    assert again.record == skill.record
    assert again.demonstrations == skill.demonstrations
    assert np.array_equal(again.image, skill.image)
    for name in ("positions", "neighbor_positions", "consistency", "min_score"):
        assert np.array_equal(getattr(again.reference, name), getattr(skill.reference, name))
    for kind in ("features", "neighbor_features"):
        ours, theirs = getattr(skill.reference, kind), getattr(again.reference, kind)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[k], theirs[k]) for k in ours)
    detection = make_examples(9, 1)[0].keypoints
    a, b = (s.policy.sample(detection, 2, 0)[0] for s in (skill, again))
    assert np.array_equal(a.T_base_ee, b.T_base_ee)


def test_the_calibration_of_the_confidence_comes_back(tmp_path):
    skill = make_skill()
    learned = Calibration(PRIOR + np.linspace(-0.3, 0.4, len(PRIOR)), 0.987)
    skill = replace(skill, reference=replace(skill.reference, calibration=learned))
    read = load_skill(write_skill(skill, tmp_path)).reference.calibration
    assert np.array_equal(read.weights, learned.weights)
    assert read.ceiling == learned.ceiling


def test_a_calibration_that_is_no_map_is_refused(tmp_path):
    skill = make_skill()
    short = replace(skill.reference, calibration=Calibration(PRIOR[:2], 0.9))
    with pytest.raises(BundleError, match="calibration"):
        load_skill(write_skill(replace(skill, reference=short), tmp_path))


def test_the_folder_holds_what_the_design_says(folder):
    assert sorted(snapshot(folder)) == sorted(FILES)
    assert [p.name for p in folder.parent.iterdir()] == ["open_drawer"]
    assert os.stat(folder).st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.02, 0.5, 0.999])
def test_a_flipped_byte_is_named_and_nothing_is_changed(folder, name, where):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0x01
    path.write_bytes(content)
    before = snapshot(folder.parent)
    with pytest.raises(BundleError, match=f"{name}.*(altered|cannot be read).*restore the folder"):
        load_skill(folder)
    assert snapshot(folder.parent) == before
    (line,) = list_skills(folder.parent)
    assert line.name == "open_drawer" and name in line.problem


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_skill(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BundleError, match=name):
        load_skill(folder)


def test_a_file_that_vanishes_while_it_is_read_is_a_sentence(folder, monkeypatch):
    def vanish(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(sealed_folder, "_sha256", vanish)
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        load_skill(folder)


def test_another_schema_version_is_refused(folder):
    reseal(folder, "schema_version: 1", "schema_version: 2")
    with pytest.raises(BundleError, match=r"schema version is 2.*reads 1"):
        load_skill(folder)


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "report/../../secret"])
def test_a_path_outside_of_the_folder_is_refused(folder, path):
    (folder.parent / "secret").write_bytes(b"picture")
    reseal(folder, "report/curve.png", path)
    with pytest.raises(BundleError, match=r"lies outside"):
        load_skill(folder)


def test_a_link_that_leads_outside_is_refused(folder):
    outside = folder.parent / "outside"
    (folder / "report" / "curve.png").rename(outside)
    (folder / "report" / "curve.png").symlink_to(outside)
    with pytest.raises(BundleError, match=r"curve.png' lies outside"):
        load_skill(folder)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("keypoints: 8", "keypoints: many", "entries are wrong or missing: keypoints"),
        ("keypoints: 8", "surprise: 8", "surprise"),
        ("kind: rigid", "kind: magic", "policy kind is 'magic'"),
        ("keypoints.safetensors", "other.safetensors", "keypoints.safetensors is not listed"),
    ],
)
def test_wrong_entries_are_named(folder, old, new, text):
    reseal(folder, old, new)
    with pytest.raises(BundleError, match=text):
        load_skill(folder)


def test_yaml_that_would_run_code_is_refused(folder):
    reseal(folder, "task: open the top drawer", "task: !!python/object/apply:os.getcwd []")
    with pytest.raises(BundleError, match="not YAML"):
        load_skill(folder)


def test_a_renamed_folder_is_refused(folder):
    other = folder.rename(folder.with_name("close_drawer"))
    with pytest.raises(BundleError, match=r"named 'open_drawer' but its folder 'close_drawer'"):
        load_skill(other)


def test_an_unknown_skill_lists_those_that_exist(folder):
    shutil.copytree(folder, folder.with_name("lift"))
    for ask in (
        lambda: load_skill(folder.with_name("pour")),
        lambda: skill_folder(folder.parent, "pour"),
    ):
        with pytest.raises(UnknownSkillError, match=r"'pour'.*lift, open_drawer"):
            ask()
    with pytest.raises(UnknownSkillError, match="learn one first"):
        skill_folder(folder.parent / "nowhere", "pour")
    assert skill_folder(folder.parent, "open_drawer") == folder


def test_where_a_skill_was_seen_from_and_what_it_holds_is_told_without_its_weights(tmp_path):
    view = np.linspace(-2.0, 2.0, 7)
    told = summarize_skill(write_skill(make_skill(view=view.tolist(), holds=0.058), tmp_path))
    assert told.view == pytest.approx(view) and told.holds == 0.058
    older = summarize_skill(write_skill(make_skill("older"), tmp_path))
    assert older.view == () and older.holds == 0.0
    with pytest.raises(BundleError, match="holds"):
        summarize_skill(write_skill(make_skill("odd", holds="a cup"), tmp_path))


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", "a/b", ".hidden", "-x", "ä", "a\n", "x" * 65, "a.b"]
)
def test_names_that_cannot_be(name, tmp_path):
    with pytest.raises(GoalError, match="cannot be a skill's name"):
        check_name(name)
    with pytest.raises(GoalError):
        write_skill(make_skill(name=name), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "open_drawer", "Lift-2", "9lives"])
def test_names_that_can_be(name):
    assert check_name(name) == name


def test_a_taken_name_is_refused_unless_it_may_be_replaced(folder):
    before = snapshot(folder)
    with pytest.raises(GoalError, match="exists"):
        write_skill(make_skill(task="other"), folder.parent)
    assert snapshot(folder) == before
    write_skill(make_skill(task="other"), folder.parent, overwrite=True)
    assert load_skill(folder).task == "other"
    assert [p.name for p in folder.parent.iterdir()] == ["open_drawer"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_while_writing_leaves_things_as_they_were(tmp_path, overwrite):
    root = tmp_path / "skills"
    write_skill(make_skill("old" if not overwrite else "open_drawer"), root)
    before = snapshot(root)

    def full(folder):
        (folder / "curve.png").write_bytes(b"half a pict")
        raise OSError(28, "No space left on device")

    with pytest.raises(BundleError, match="No space left"):
        write_skill(make_skill(), root, full, overwrite)
    assert snapshot(root) == before
    assert len(list(root.iterdir())) == 1


def test_an_interrupted_replacement_is_told_of(folder):
    folder.rename(folder.with_name(".open_drawer.old-abc"))
    with pytest.raises(UnknownSkillError, match=r"\.open_drawer\.old-abc, rename it"):
        load_skill(folder)
    assert list_skills(folder.parent) == []


def test_the_list_tells_of_every_skill(folder):
    write_skill(make_skill("lift", "lift the lid"), folder.parent)
    (folder.parent / "a_file").write_text("no skill")
    (folder.parent / "empty").mkdir()
    empty, lift, drawer = list_skills(folder.parent)
    assert "skill.yaml is missing" in empty.problem
    assert (lift.name, lift.task, lift.demonstrations, lift.keypoints, lift.problem) == (
        "lift",
        "lift the lid",
        2,
        8,
        "",
    )
    assert drawer.created == "2026-01-02T03:04:05+00:00"
    assert list_skills(folder / "nowhere") == []


def test_the_mask_of_the_part_comes_back(tmp_path):
    mask = np.random.default_rng(0).random((6, 8)) > 0.5
    folder = write_skill(replace(make_skill(), mask=mask), tmp_path)
    assert np.array_equal(load_skill(folder).mask, mask)
    assert load_skill(write_skill(make_skill("older"), tmp_path)).mask is None


def test_a_mask_of_another_size_is_refused(tmp_path):
    folder = write_skill(replace(make_skill(), mask=np.ones((3, 3), bool)), tmp_path)
    with pytest.raises(BundleError, match=r"mask\.png has shape \(3, 3\)"):
        load_skill(folder)


def test_other_folders_are_not_offered_as_skills(tmp_path):
    (tmp_path / "holiday").mkdir()
    with pytest.raises(UnknownSkillError) as caught:
        load_skill(tmp_path / "open")
    assert "holiday" not in str(caught.value)
