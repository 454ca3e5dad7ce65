"""The check of the MoveIt backend, against the stand-in."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import moveit_stand_in
import pytest

from kalm_ros.moveit_motion import MoveItSettings, moveit_motion

SCRIPT = Path(__file__).resolve().parent.parent.parent / "tools" / "check_moveit.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("check_moveit", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_planner_that_goes_straight_through_a_post_fails_the_check(script, monkeypatch, capsys):
    moveit_stand_in.install(monkeypatch)
    monkeypatch.setattr(script, "TRIALS", 2)
    assert script.check(moveit_motion(MoveItSettings())) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line[:4] for line in lines] == ["ok  ", "FAIL", "ok  ", "ok  "]
    assert "not certified" in lines[1]


def test_without_moveit_the_check_says_so(script, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "moveit", None)
    monkeypatch.delitem(__import__("sys").modules, "moveit")
    assert script.main([]) == 2
    assert "moveit_py is not installed" in capsys.readouterr().out


def test_the_parameters_name_what_the_backend_asks_for(script, tmp_path):
    for name in ("fr3.urdf", "fr3.srdf"):
        (tmp_path / name).write_text(f"<robot name='{name}'/>\n")
    out = tmp_path / "moveit.yaml"
    files = [str(tmp_path / name) for name in ("fr3.urdf", "fr3.srdf")]
    assert script.main(["--write", str(out), "--urdf", files[0], "--srdf", files[1]]) == 0
    settings = MoveItSettings()
    values = json.loads(out.read_text())[settings.node_name]["ros__parameters"]
    assert values["planning_pipelines"]["pipeline_names"] == [settings.pipeline]
    assert settings.planner_id in values[settings.pipeline]["planner_configs"]
    assert values["robot_description"].startswith("<robot")
    assert len(values["robot_description_planning"]["joint_limits"]) == 7
