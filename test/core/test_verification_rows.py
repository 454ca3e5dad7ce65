from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from benchmarks import verification_piece
from benchmarks.verification import rows_of
from benchmarks.verification_piece import Trial, piece


def trial(on_part, percent=40, verify=True, task="drawer", calls=5):
    return Trial(task, 0, 0, percent, verify, on_part, calls, 1, "", 1.0)


TRIALS = [
    trial(1.0),
    trial(0.875, task="pour"),
    trial(0.75),
    trial(None, calls=41),
    trial(0.0, verify=False),
    trial(1.0, verify=False),
    trial(0.0, percent=60),
]


def values():
    return {row.id: (row.value, row.n) for row in rows_of(TRIALS, 40, "")}


def test_a_skill_is_right_from_seven_of_eight_keypoints():
    assert [item.right for item in TRIALS[:4]] == [True, True, False, False]


def test_the_rows_of_a_rate_count_its_own_trials():
    assert values()["verification/vlm40/with"] == (0.5, 4)
    assert values()["verification/vlm40/without"] == (0.5, 2)
    assert values()["verification/vlm40/with/drawer"] == (pytest.approx(1 / 3), 3)
    assert values()["verification/vlm40/with/pour"] == (1.0, 1)


def test_a_declared_failure_is_no_wrong_part():
    assert values()["verification/vlm40/with/declared_failure"] == (0.25, 4)
    assert values()["verification/vlm40/with/wrong_part"] == (0.25, 4)


def test_what_the_default_budget_would_not_have_paid_is_told():
    assert values()["verification/vlm40/with/over_budget"] == (0.25, 4)


def test_a_rate_without_trials_has_no_share():
    assert {row.value for row in rows_of([], 20, "")} == {None}


def test_trials_are_made_once_unless_with_other_settings(tmp_path, monkeypatch):
    made = []

    def measure(task, index, which):
        for seed, percent, verify in which:
            made.append((seed, percent, verify))
            yield Trial(task, index, seed, percent, verify, 1.0, 2, 1, "", 1.0)

    monkeypatch.setattr(verification_piece, "FOLDER", tmp_path)
    monkeypatch.setattr(verification_piece, "_measure", measure)
    first = piece("drawer", 3, 1)
    assert (len(first), len(made)) == (8, 8)
    assert {item.seed for item in first} == {300}
    assert len(piece("drawer", 3, 2)) == len(made) == 16
    assert piece("drawer", 3, 1) == first
    path = tmp_path / "drawer_3.json"
    path.write_text(json.dumps({"made_with": "others", "trials": [asdict(first[0])]}))
    assert piece("drawer", 3, 1) == first
    assert len(made) == 24
