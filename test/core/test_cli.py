from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from recorded import Recording, write_bag
from typer.testing import CliRunner

from kalm_core.bags.folder import expand_bags, find_bags
from kalm_core.bags.topics import DEPTH, RECORDED_TOPICS
from kalm_core.cli import app, main
from kalm_core.commands.parameter_file import config_folder, read_parameters, suite_parameters
from kalm_core.commands.terminal import DEBUG, progress_bars
from kalm_core.errors import CancelledError, ConfigError, DemonstrationError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.learning import LearningSettings
from kalm_core.progress import Progress

RUN = CliRunner()
COMMANDS = [
    "",
    *(command.name or "" for command in app.registered_commands),
    *("keypoints", "keypoints show", "keypoints edit"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demonstrations")
    messages = Recording(seconds=2.0, still=0.5).messages()
    write_bag(root / "001", messages)
    write_bag(root / "002", [item for item in messages if item[0] != DEPTH])
    write_bag(root / "003", messages)
    os.truncate(root / "003" / "003.mcap", 5000)
    (root / "004.recording").mkdir()
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    line = [sys.executable, "-m", "kalm_core.cli", *command.split(), "--help"]
    result = subprocess.run(line, capture_output=True, check=False, text=True)  # may need ROS
    assert result.returncode == 0, result.stderr
    assert f"Usage: kalm {command}" in result.stdout
    assert f"Example:\n    kalm {command}" in result.stdout


def test_topics_prints_a_line_that_can_be_pasted() -> None:
    result = RUN.invoke(app, ["topics"])
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("ros2 bag record")]
    assert line.split("--topics ")[1].split() == [topic.name for topic in RECORDED_TOPICS]


def test_demonstrations_judges_every_bag(folder: Path) -> None:
    result = RUN.invoke(app, ["demonstrations", str(folder)])
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert rows["001"].split()[1:3] == ["2.0", "s"]
    assert "good" in rows["001"]
    assert "10.0/s" in rows["001"]
    assert f"002: {folder}/002: {DEPTH}" in result.stdout
    assert "003.mcap) cannot be read" in result.stdout
    assert "004.recording: was not finished and holds no data" in result.stdout


def test_an_error_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["demonstrations", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert result.stderr.strip() == f"there is no folder {tmp_path}/nowhere. check the path."
    assert result.stdout == ""


def test_debug_shows_the_trace(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["--debug", "demonstrations", str(tmp_path / "nowhere")])
    assert isinstance(result.exception, DemonstrationError)


@pytest.mark.parametrize("line", [["learn"], ["nothing"], ["learn", "name", "bag"]])
def test_a_wrong_command_line_is_exit_code_2(line: list[str]) -> None:
    assert RUN.invoke(app, line).exit_code == 2


def test_the_command_loads_neither_ros_nor_torch() -> None:
    code = (
        "import sys, kalm_core.cli;"
        "sys.exit(', '.join({'rclpy', 'kalm_ros', 'torch', 'open3d'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_stands_for_its_finished_bags(folder: Path) -> None:
    names = ["001", "002", "003"]
    assert [bag.name for bag in find_bags(folder)] == names
    assert [bag.name for bag in expand_bags([folder])] == names
    assert expand_bags([folder / "002"]) == [folder / "002"]
    assert find_bags(folder / "001") == [folder / "001"]
    with pytest.raises(DemonstrationError, match="holds no bag"):
        expand_bags([folder / "004.recording"])


def test_learn_skips_unfinished_recordings_that_are_named(folder: Path, tmp_path: Path) -> None:
    bags = [str(folder / name) for name in ("002", "003", "004.recording")]
    line = ["learn", "name", *bags, "--task", "open it", "--skills", str(tmp_path)]
    result = RUN.invoke(app, line)
    assert f"{bags[2]} is skipped" in result.stdout
    assert f"kalm demonstrations {folder} --rescue" in result.stdout
    assert "0 demonstrations can teach" in result.stderr  # it went on with the others


def test_ctrl_c_asks_the_work_to_stop_and_the_next_one_is_the_usual() -> None:
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(CancelledError), progress_bars() as progress:
        progress.step("train", 0.5, "half")
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is usual
        progress.step("train", 0.6)
    assert signal.getsignal(signal.SIGINT) is usual


def test_parameters_are_read_as_ros_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "learner.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    skills: everywhere\n    learning.policy.epochs: 3\n"
        "learner_node:\n  ros__parameters:\n    skills: here\n    learning:\n      seed: 1\n"
        "      device: ''\nother_node:\n  ros__parameters:\n    skills: there\n"
    )
    assert read_parameters([file], "learner_node") == {
        "skills": "here",
        "learning": {"policy": {"epochs": 3}, "seed": 1, "device": ""},
    }


def test_commands_read_the_files_that_the_nodes_read_and_then_the_users_own(tmp_path: Path) -> None:
    names = ("hand_eye.yaml", "learner_node.yaml")
    suite = read_parameters([config_folder() / name for name in names], "learner_node")
    assert suite_parameters(names, [], "learner_node") == suite
    own = tmp_path / "my_robot.yaml"
    own.write_text("/**:\n  ros__parameters:\n    hand_eye:\n      translation: [0.0, 0.1, 0.0]\n")
    with_own = suite_parameters(names, [own], "learner_node")
    assert with_own["hand_eye"] == {**suite["hand_eye"], "translation": [0.0, 0.1, 0.0]}
    assert with_own["learning"] == suite["learning"]


def test_an_installed_suite_brings_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "lib" / "kalm_core" / "commands" / "parameter_file.py"
    monkeypatch.setattr("kalm_core.commands.parameter_file.__file__", str(nowhere))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}/other:{tmp_path}")
    with pytest.raises(ConfigError, match=r"source install/setup\.bash"):
        config_folder()
    (tmp_path / "share" / "kalm_ros" / "config").mkdir(parents=True)
    assert config_folder() == tmp_path / "share" / "kalm_ros" / "config"


@pytest.mark.parametrize("content", ["[1, 2]", "learner_node: 3", "a: [", ""])
def test_a_parameter_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "learner.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"learner\.yaml"):
        read_parameters([file], "learner_node")
    with pytest.raises(ConfigError, match="cannot read"):
        read_parameters([tmp_path / "none.yaml"], "learner_node")


def test_what_nobody_foresaw_is_one_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("of a kind")

    monkeypatch.setattr("kalm_core.cli.app", lambda **_: broken())
    monkeypatch.setattr(sys, "argv", ["kalm", "topics"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("internal error: ZeroDivisionError: of a kind. run `kalm --debug`")
    monkeypatch.setattr(sys, "argv", ["kalm", "--debug", "topics"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_a_skill_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["skills", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "kalm learn" in result.stderr
    assert "holds no skill" in RUN.invoke(app, ["skills", str(tmp_path)]).stdout


@pytest.mark.parametrize("name", ["up", "demo"])
def test_what_needs_ros_says_so_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    result = RUN.invoke(app, [name, "--whatever", "3"])
    assert result.exit_code == 1
    assert "needs ROS 2, and rclpy is not there" in result.stderr


def test_up_hands_its_options_over(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    debugged: list[bool] = []

    def execve(_: str, line: list[str], environment: dict[str, str]) -> None:
        started.append(line)
        debugged.append(DEBUG in environment)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: importlib.machinery.ModuleSpec(name, None, origin="x"),
    )
    assert RUN.invoke(app, ["up", "--hardware", "--robot-host", "1.2.3.4"]).exit_code == 0
    assert started[0][1:] == ["-m", "kalm_ros.supervisor", "--hardware", "--robot-host", "1.2.3.4"]
    assert RUN.invoke(app, ["--debug", "do", "open_drawer"]).exit_code == 0
    assert started[1][1:] == ["-m", "kalm_ros.operate", "do", "open_drawer"]
    assert debugged == [False, True] and DEBUG not in os.environ


def fake_learning(monkeypatch: pytest.MonkeyPatch, learn_skill: Callable[..., Path]) -> None:
    """Put a quick stand-in where the real learning would take minutes."""
    monkeypatch.setattr("kalm_core.learning.learn_skill", learn_skill)


def test_learn_gives_everything_to_the_learner(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    calls = []

    def learn_skill(*positional: object, overwrite: bool, progress: Progress, **_: object) -> Path:
        progress.step("train", 1.0, "done")
        calls.append((*positional, overwrite))
        return tmp_path / "skills" / "open_drawer"

    fake_learning(monkeypatch, learn_skill)
    file = tmp_path / "learner.yaml"
    file.write_text(
        "learner_node:\n  ros__parameters:\n    learning.stray: 0.05\n"
        "    hand_eye: {translation: [0.1, 0.2, 0.3]}\n"
    )
    line = ["learn", "open_drawer", str(folder), "--task", "open it", "--overwrite"]
    result = RUN.invoke(app, [*line, "--skills", str(tmp_path / "skills"), "--config", str(file)])
    assert result.exit_code == 0, result.stderr
    assert "open_drawer" in result.stdout
    name, task, bags, root, settings, hand_eye, overwrite = calls[0]
    assert (name, task, root, overwrite) == ("open_drawer", "open it", tmp_path / "skills", True)
    assert bags == [folder / number for number in ("001", "002", "003")]
    assert settings == LearningSettings(stray=0.05)
    assert hand_eye.translation == (0.1, 0.2, 0.3)


def test_a_parameter_that_the_learner_does_not_have_is_named(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    fake_learning(monkeypatch, lambda *_, **__: tmp_path)
    for text, word in (("lerning: 3", "lerning"), ("learning: {sead: 3}", "sead")):
        file = tmp_path / "learner.yaml"
        file.write_text(f"learner_node:\n  ros__parameters:\n    {text}\n")
        line = ["learn", "a", str(folder), "--task", "b", "--config", str(file)]
        result = RUN.invoke(app, line)
        assert result.exit_code == 1
        assert word in result.stderr


def test_ctrl_c_while_learning_is_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def learn_skill(*_: object, progress: Progress, **__: object) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        progress.step("train", 0.5)
        raise AssertionError("not stopped")

    fake_learning(monkeypatch, learn_skill)
    result = RUN.invoke(app, ["learn", "a", str(folder), "--task", "b"])
    assert result.exit_code == 130
    assert "train was cancelled" in result.stderr


@pytest.mark.parametrize(("found", "code"), [(True, 0), (False, 1)])
def test_detect_draws_what_is_found_and_fails_when_nothing_is(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path, found: bool, code: int
) -> None:
    from kalm_core.correspondence import KeypointDetector

    detected = DetectedKeypoints(
        np.full((2, 3), 0.3 if found else np.nan), np.full(2, found), np.full(2, 0.9)
    )
    skill = SimpleNamespace(name="open", perception={}, reference=None, record={})
    monkeypatch.setattr("kalm_core.skill.load_skill", lambda _: skill)
    monkeypatch.setattr(KeypointDetector, "detect", lambda *_, **__: detected)
    picture = tmp_path / "found.png"
    line = ["detect", "skill", str(folder / "001"), "--picture", str(picture)]
    result = RUN.invoke(app, line)
    assert result.exit_code == code, result.stderr
    assert picture.stat().st_size > 0
    assert f"{2 * found} of 2 were found" in result.stdout
    assert ("of 2 keypoints found" in result.stderr) is not found


def test_detect_takes_the_settings_that_the_skill_was_distilled_with(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    from kalm_core.correspondence import KeypointDetector

    used: list[bool] = []

    def detect(detector: KeypointDetector, *_: object, **__: object) -> DetectedKeypoints:
        used.append(detector.settings.verify)
        return DetectedKeypoints(np.full((2, 3), 0.3), np.ones(2, bool), np.ones(2))

    skill = SimpleNamespace(name="open", perception={"verify": False}, reference=None, record={})
    monkeypatch.setattr("kalm_core.skill.load_skill", lambda _: skill)
    monkeypatch.setattr(KeypointDetector, "detect", detect)
    line = ["detect", "skill", str(folder / "001"), "--picture", str(tmp_path / "found.png")]
    assert RUN.invoke(app, line).exit_code == 0
    suite = str(config_folder() / "keypoint_node.yaml")  # what the node reads anyway
    assert RUN.invoke(app, [*line, "--config", suite]).exit_code == 0
    own = tmp_path / "own.yaml"
    own.write_text("keypoint_node: {ros__parameters: {as_learned: false}}")
    assert RUN.invoke(app, [*line, "--config", str(own)]).exit_code == 0
    assert used == [False, False, True]


def test_detect_refuses_a_skill_of_the_simulators_mount_on_a_calibrated_arm(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    record = {"hand_eye": HandEyeSettings().model_dump(mode="json")}
    skill = SimpleNamespace(name="open", perception={}, reference=None, record=record)
    monkeypatch.setattr("kalm_core.skill.load_skill", lambda _: skill)
    own = tmp_path / "my_robot.yaml"
    own.write_text("/**: {ros__parameters: {hand_eye: {translation: [0.05, 0.0, -0.06]}}}")
    line = ["detect", "skill", str(folder / "001"), "--picture", str(tmp_path / "found.png")]
    result = RUN.invoke(app, [*line, "--config", str(own)])
    assert result.exit_code == 1
    assert "learn it again" in " ".join(result.stderr.split())


def test_detect_refuses_a_picture_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    for name in ("found.txt", "nowhere/found.png"):
        line = ["detect", "skill", str(folder / "001"), "--picture", str(tmp_path / name)]
        result = RUN.invoke(app, line)
        assert result.exit_code == 1
        assert "cannot be written" in result.stderr
