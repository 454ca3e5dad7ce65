from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="pip install -r requirements/benchmarks.txt")

from benchmarks import baseline_training, metaworld_baselines
from benchmarks.metaworld_baselines import Piece, run_piece
from benchmarks.metaworld_piece import demonstrations
from benchmarks.results import Results
from kalm_core.segmentation import CLOSED
from kalm_sim.metaworld.scenes import draw_scene
from kalm_sim.metaworld.tasks import TASKS

pytestmark = pytest.mark.sim

TASK = "button-press"


def test_a_small_piece_runs_and_its_views_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(metaworld_baselines, "DEMONSTRATIONS", 2)
    monkeypatch.setattr(metaworld_baselines, "VIEWS", 1)
    effort = baseline_training.Effort(steps=2, batch=2, points=32)
    monkeypatch.setitem(baseline_training.EFFORT, "actor3d_keypoints", effort)
    piece = run_piece("actor3d_keypoints", TASK, 0, 1, tmp_path)
    assert len(piece.ever) == len(piece.end) == 1 and np.isfinite(piece.loss)
    files = sorted(tmp_path.glob("views/*.npz"))
    assert len(files) == 3  # two demonstrations and the test scene
    with np.load(files[0], allow_pickle=False) as stored:
        assert np.isfinite(stored["points"]).all()
        assert np.abs(stored["pixels"]).max() < 1.0  # the object is wholly in the picture


def test_a_demonstrations_name_leads_to_its_scene():
    example = demonstrations(TASK, 0, 1, False)[0]
    scene = draw_scene(TASKS[TASK], int(example.name))
    middle = example.keypoints.positions[:, :2].mean(axis=0)
    assert np.linalg.norm(middle - scene.position[:2]) < 0.2
    assert (example.trajectory.gripper == CLOSED).all()


def test_all_tasks_have_their_mean_and_the_worst():
    results = Results("x", "x")
    by_task = {
        task: [Piece([True, i > 0], [False, i > 0], 12.0 + i, 0.1, 0)]
        for i, task in enumerate(TASKS)
    }
    metaworld_baselines._add_rows(results, "actor3d", by_task)
    rows = {row.id: row for row in results.rows}
    assert rows["metaworld/actor3d/oracle/mean"].value == 0.9
    assert rows["metaworld/actor3d/oracle/min"].value == 0.5
    assert rows["metaworld/actor3d/oracle/min/end"].value == 0.0
    assert rows["metaworld/actor3d/oracle/train_s"].value == 16.0


def test_tasks_that_were_not_run_say_so_and_give_no_mean():
    results = Results("x", "x")
    by_task = {task: [] for task in TASKS} | {TASK: [Piece([True], [True], 12.0, 0.1, 0)]}
    metaworld_baselines._add_rows(results, "diffuser_rgb", by_task)
    rows = {row.id: row for row in results.rows}
    assert rows[f"metaworld/diffuser_rgb/oracle/{TASK}"].value == 1.0
    lever, mean = (rows[f"metaworld/diffuser_rgb/oracle/{x}"] for x in ("lever-pull", "mean"))
    assert lever.value is None and lever.note == "not run"
    assert mean.value is None and mean.note == "not all tasks were run"
