from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kalm_core.cli import app
from kalm_core.doctor import Check, Finding, Status, backends, machine, probe, ros, run_checks
from kalm_core.doctor.backends import BACKENDS
from kalm_core.doctor.checks import CHECKS
from kalm_core.doctor.finding import missing, ok


def broken() -> Finding:
    raise RuntimeError("no such thing")


def test_a_check_that_breaks_is_a_line_and_not_the_end() -> None:
    lines = list(
        run_checks([Check("a", "b", True, broken), Check("a", "c", True, lambda: ok("1"))])
    )
    assert [line.finding.status for line in lines] == [Status.MISSING, Status.OK]
    assert "RuntimeError: no such thing" in lines[0].finding.text


def test_lines_come_in_the_order_of_the_table() -> None:
    def slow() -> Finding:
        time.sleep(0.1)
        return ok("slow")

    checks = [Check("a", "slow", True, slow), Check("a", "fast", True, lambda: ok("fast"))]
    assert [line.check.name for line in run_checks(checks)] == ["slow", "fast"]


@pytest.mark.parametrize(("needed", "code"), [(True, 1), (False, 0)])
def test_only_what_the_simulator_needs_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, needed: bool, code: int
) -> None:
    check = Check("robot", "thing", needed, lambda: missing("not [there]", "buy one"))
    monkeypatch.setattr("kalm_core.commands.doctor.CHECKS", (check,))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == code
    assert "not [there] -> buy one" in result.stdout
    assert ("Needed and missing: thing" in result.stdout) is needed


def test_a_probe_survives_crash_hang_and_noise() -> None:
    assert probe.python("print('noise'); print('answer')") == (True, "answer")
    assert probe.python("import nothing_of_that_name")[1].endswith("'nothing_of_that_name'")
    assert probe.python("import os; os.abort()") == (False, "crashed with signal 6")
    assert probe.python("import time; time.sleep(9)", timeout=0.5) == (
        False,
        "no answer within 0 s",
    )


def test_domain_and_discovery_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "101")
    assert ros.domain().status is Status.OK
    monkeypatch.setenv("ROS_DOMAIN_ID", "102")
    assert ros.domain().status is Status.MISSING
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    assert ros.discovery() == ok("LOCALHOST: only this machine")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "HOME")
    assert ros.discovery().status is Status.MISSING


def test_moveit_is_found_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (line,) = (check for check in CHECKS if check.name == "moveit_py")
    assert "moveit-py" in line.look().remedy
    (tmp_path / "moveit").mkdir()
    (tmp_path / "moveit" / "__init__.py").write_text("raise RuntimeError('not to be started')")
    monkeypatch.syspath_prepend(tmp_path)
    assert line.look().status is Status.OK
    assert "tools/check_moveit.py" in line.look().remedy


def test_a_missing_package_names_its_remedy() -> None:
    found = probe.package("no-such-distribution")
    assert found == missing("not installed", "pip install no-such-distribution")


def test_a_machine_that_is_too_old_or_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_DISK", 1e9)
    monkeypatch.setattr(machine, "LEAST_MEMORY", 1e9)
    monkeypatch.setattr(machine, "OLDEST", (9, 9))
    for check in (machine.disk, machine.memory, machine.python_version):
        assert check().status is Status.MISSING
        assert check().remedy


def test_the_whole_table_runs_and_tells_no_secret() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kalm_core.cli", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENAI_API_KEY": "do-not-tell"},
    )
    lines = json.loads(done.stdout)
    assert [line["name"] for line in lines] == [check.name for check in CHECKS]
    assert all(line["remedy"] for line in lines if line["status"] == "missing")
    assert not any("check itself failed" in line["text"] for line in lines)
    assert "do-not-tell" not in done.stdout + done.stderr
    found = {line["name"]: line for line in lines}
    assert "OPENAI_API_KEY set" in found["vlm"]["text"]
    for name in ("numpy", "open3d", "local", "color", "fpfh", "proximity", "geometric", "roboplan"):
        assert found[name]["status"] == "ok", found[name]
    lacking = [line for line in lines if line["needed"] and line["status"] == "missing"]
    assert done.returncode == (1 if lacking else 0)


def test_backends_are_tried_as_a_configuration_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {"sam": {"weights": str(tmp_path / "none.pth")}, "vlm": {"key_variable": "NO_SUCH_KEY"}}
    monkeypatch.setenv("KALM_DOCTOR_SETTINGS", json.dumps(told))
    problem, remedy = backends.build("sam")
    assert f"no checkpoint {tmp_path}/none.pth" in problem
    assert "sam.weights" in remedy
    assert "NO_SUCH_KEY" in "".join(backends.build("vlm"))
    monkeypatch.setenv("KALM_DOCTOR_SETTINGS", json.dumps({"sam": {"no_such": 1}}))
    assert "no_such" in backends.build("geometric")[0]


def test_every_backend_of_the_table_can_be_asked() -> None:
    assert set(BACKENDS) == {
        "proximity", "vlm", "geometric", "sam", "local", "color", "fpfh", "dino", "roboplan",
    }  # fmt: skip


def test_the_key_that_is_looked_for_is_the_one_of_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAB_KEY", "do-not-tell")
    monkeypatch.setattr(backends, "_configured", {"vlm": {"key_variable": "LAB_KEY"}})
    assert backends.wants_key("OPENAI_API_KEY") == "LAB_KEY set"
    monkeypatch.setattr(backends, "_configured", {"vlm": {"key_variable": ""}})
    assert backends.wants_key("OPENAI_API_KEY") == "no key wanted"
