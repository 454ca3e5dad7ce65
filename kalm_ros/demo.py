"""The whole loop in the simulator: record ten demonstrations, learn the skill, do it in new scenes.

Run it with `make demo` or `kalm demo`, with `--task` for another task than the drawer. Everything
it shows is simulated; no real arm moves.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from std_msgs.msg import Float64

from kalm_core.commands.terminal import run_alone
from kalm_core.errors import GoalError, KalmError
from kalm_core.planning.robot_model import RobotModel
from kalm_core.robot.robot_settings import RobotSettings
from kalm_ros.client import GraphClient
from kalm_ros.film import Film, Pixels, write_film, write_sheet
from kalm_ros.laboratory_operator import LaboratoryOperator, SkillRun
from kalm_ros.node_process import Echo
from kalm_ros.node_table import select_nodes
from kalm_ros.private_graph import free_loopback, take_free_domain
from kalm_ros.supervisor import Supervisor
from kalm_sim.tasks.base import Instances, Task
from kalm_sim.tasks.registry import TASKS, task_named

NEW_SCENES = 1000
"""Seed of the first scene in which the skill is done; demonstrations have seeds below it."""

MARK = ".kalm_demo"
"""File by which a demo knows a folder that it made: only such a one does it delete."""

console = Console()


@dataclass(frozen=True)
class Choice:
    """What is shown and done.

    Attributes:
        task: of the laboratory.
        shown: the objects of the demonstrations.
        done_with: the objects of the new scenes.
    """

    task: Task
    shown: Instances = "all"
    done_with: Instances = "all"


@dataclass(frozen=True)
class Trial:
    """One scene in which the skill was called.

    Attributes:
        seed: of the scene.
        run: what `/execute_skill` answered.
        progress: of the task afterwards, by the simulator's truth, in the unit of `Task.measure`.
        success: whether that is enough, whatever the skill says of itself.
    """

    seed: int
    run: SkillRun
    progress: float
    success: bool


@dataclass(frozen=True)
class DemoReport:
    """What one run of the demo came to.

    Attributes:
        task: that was shown and done.
        trials: one per scene.
        skill: folder of the learned skill.
        record_seconds, learn_seconds: wall time of recording and of learning [s].
    """

    task: Task
    trials: list[Trial]
    skill: Path
    record_seconds: float
    learn_seconds: float

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        trials = [
            {
                "seed": trial.seed,
                "outcome": trial.run.outcome.name,
                "message": trial.run.message,
                "progress": round(trial.progress, 4),
                "seconds": {phase: round(s, 2) for phase, s in trial.run.seconds.items()},
            }
            for trial in self.trials
        ]
        content = {
            "simulated": True,
            "task": self.task.name,
            "measure": self.task.measure,
            "enough": self.task.enough,
            "record_seconds": round(self.record_seconds, 1),
            "learn_seconds": round(self.learn_seconds, 1),
            "trials": trials,
        }
        path.write_text(json.dumps(content, indent=1) + "\n")


def record(operator: LaboratoryOperator, seeds: list[int], first: int, choice: Choice) -> list[str]:
    """Record one demonstration per seed, named by number from `first`, and return the bags."""
    bags = []
    with _progress() as progress:
        bar = progress.add_task("recording demonstrations", total=len(seeds))
        for number, seed in enumerate(seeds, first):
            show = partial(operator.demonstrate, seed, f"{number:02d}", choice.shown)
            bags.append(operator.persistently(show))
            progress.advance(bar)
    return bags


def learn(operator: LaboratoryOperator, bags: list[str], skill: str) -> Path:
    """Learn the skill of a name and return its folder."""
    with _progress() as progress:
        bars = {}

        def report(stage: str, fraction: float, text: str) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=1.0)
            progress.update(bars[stage], completed=fraction, description=f"{stage}: {text}"[:70])

        return Path(operator.learn(skill, bags, report).bundle)


def try_scenes(
    client: GraphClient,
    operator: LaboratoryOperator,
    seeds: list[int],
    choice: Choice,
    out: Path,
) -> list[Trial]:
    """Do the skill once in every scene, film it, and read the truth."""
    film, trials = Film(client), []
    sheet: list[tuple[str, list[Pixels]]] = []
    try:
        for seed in seeds:
            operator.persistently(partial(operator.look_at_new, seed, choice.done_with))
            film.cut()
            with console.status(f"scene {seed}") as status:
                run = operator.execute(
                    choice.task.skill,
                    report=lambda phase, _, text, s=seed: status.update(
                        f"scene {s}: {phase} {text}"
                    ),
                )
            trial = judge(client, seed, run, choice.task)
            trials.append(trial)
            title = f"scene {seed}: {run.outcome.name.lower()}, {_told(trial, choice.task)}"
            console.print(f"{escape(title)}  [dim]{escape(run.message)}[/dim]", highlight=False)
            frames = film.cut()
            sheet.append((title, frames))
            if frames:
                write_film(frames, title, out / f"scene_{seed}.mp4")
    finally:
        write_sheet(sheet, out / "scenes.png")
    return trials


def print_table(task: Task, trials: list[Trial]) -> None:
    """Print a row per scene."""
    table = Table(title=f"To {task.sentence} in new scenes (simulator)")
    phases = list(dict.fromkeys(phase for trial in trials for phase in trial.run.seconds))
    for column in ("scene", "outcome", task.measure, *(f"{phase} [s]" for phase in phases)):
        table.add_column(escape(column), justify="left" if column == "outcome" else "right")
    for trial in trials:
        style = "green" if trial.success else "red"
        table.add_row(
            str(trial.seed),
            trial.run.outcome.name.lower(),
            f"[{style}]{trial.progress:.3f}[/{style}]",
            *(f"{trial.run.seconds.get(phase, float('nan')):.1f}" for phase in phases),
        )
    console.print(table)


def main(
    *,
    demonstrations: Annotated[int, typer.Option(min=3, help="how many to record")] = 10,
    scenes: Annotated[int, typer.Option(min=1, help="new scenes to do the skill in")] = 10,
    task: Annotated[str, typer.Option(help=f"one of {', '.join(TASKS)}")] = "drawer",
    unseen: Annotated[
        bool, typer.Option(help="do it with objects of other shape than those in training")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=900, help="of the first demonstration")] = 0,
    out: Annotated[Path, typer.Option(help="folder for bags, skill, films and pictures")] = Path(
        "out/demo"
    ),
    reuse: Annotated[
        bool, typer.Option(help="keep the demonstrations that are in the folder")
    ] = False,
    verbose: Annotated[bool, typer.Option(help="show what the nodes print")] = False,
) -> None:
    """Record, learn and do the skill in the simulated laboratory."""
    try:
        objects: tuple[Instances, Instances] = ("train", "unseen") if unseen else ("all", "all")
        choice = Choice(task_named(task), *objects)
    except KalmError as error:
        raise typer.BadParameter(str(error)) from error
    take_free_domain()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console.rule("KALM demo in a simulator: no real robot moves")
    echo = _print_line if verbose else _print_warning
    try:
        if not reuse:
            clear(out)
        report = run(out, list(range(seed, seed + demonstrations)), scenes, choice, echo)
    except KalmError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        console.print("[red]stopped[/red]")
        raise typer.Exit(130) from None
    report.write(out / "report.json")
    print_table(report.task, report.trials)
    done = sum(trial.success for trial in report.trials)
    console.print(
        f"{done} of {scenes} scenes reached {choice.task.enough:.2f}, "
        f"{escape(choice.task.measure)}. "
        f"Recording took {report.record_seconds:.0f} s, learning {report.learn_seconds:.0f} s. "
        f"Films and pictures: {out / 'pictures'}; what was learned: {report.skill / 'report'}. "
        "All of this was simulated."
    )


def clear(out: Path) -> None:
    """Delete what an earlier demo left in a folder.

    Raises:
        GoalError: no demo made it; nothing is deleted then.
    """
    if not out.exists():
        return
    whole = out.is_dir() and not out.is_symlink()
    if not whole or not ((out / MARK).is_file() or _is_empty(out)):
        raise GoalError(
            f"{out} does not carry the mark of a demo, {MARK}, and is not deleted",
            "give --out another folder, or delete it yourself",
        )
    shutil.rmtree(out)


def make_folder(out: Path) -> None:
    """Make the folder of a demo; what somebody else has put something into is not marked."""
    fresh = not out.exists() or _is_empty(out)
    out.mkdir(parents=True, exist_ok=True)
    if fresh:
        (out / MARK).touch()


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def run(out: Path, seeds: list[int], scenes: int, choice: Choice, echo: Echo) -> DemoReport:
    """Start the graph in its own processes and go once around the loop.

    Args:
        out: folder for everything that is made; demonstrations that it holds are used.
        seeds: of the demonstrations.
        scenes: how many new scenes to do the skill in.
        choice: the task and its objects.
        echo: gets every line that a node prints.
    """
    bags, pictures = out / "demonstrations", out / "pictures"
    make_folder(out)
    pictures.mkdir(exist_ok=True)
    with laboratory(bags, out / "skills", choice.task, echo) as (client, operator):
        start = time.monotonic()
        paths = sorted(str(path) for path in bags.iterdir())[: len(seeds)]
        paths += record(operator, seeds[len(paths) :], len(paths), choice)
        recorded = time.monotonic()
        skill = learn(operator, paths, choice.task.skill)
        learned = time.monotonic()
        new = [NEW_SCENES + i for i in range(scenes)]
        trials = try_scenes(client, operator, new, choice, pictures)
    return DemoReport(choice.task, trials, skill, recorded - start, learned - recorded)


@contextmanager
def laboratory(
    bags: Path,
    skills: Path,
    task: Task,
    echo: Echo,
    overrides: dict[str, dict[str, Any]] | None = None,
) -> Iterator[tuple[GraphClient, LaboratoryOperator]]:
    """Run the whole graph in processes of its own; gives a client and the operator of a task.

    Args:
        bags: folder of the recorder; made where it is absent.
        skills: folder of the skills; made where it is absent.
        task: of the operator.
        echo: gets every line that a node prints.
        overrides: node -> parameters beside those of the laboratory.
    """
    for folder in (bags, skills):
        folder.mkdir(parents=True, exist_ok=True)
    parameters = _parameters(bags, skills)
    for node, values in (overrides or {}).items():
        parameters.setdefault(node, {}).update(values)
    with (
        Supervisor(select_nodes(), parameters, echo=echo) as graph,
        GraphClient("kalm_demo") as client,
    ):
        with console.status("starting the nodes"):
            graph.wait_ready(120.0)
        yield client, LaboratoryOperator(client, RobotModel.load(), task.name)


def _parameters(bags: Path, skills: Path) -> dict[str, dict[str, Any]]:
    """Return the nodes' parameters: where skills and bags are, and where the arm answers."""
    users = ("keypoint_node", "trajectory_node", "skill_node", "learner_node")
    overrides: dict[str, dict[str, Any]] = {
        name: {"skills": str(skills.resolve())} for name in users
    }
    overrides["recorder_node"] = {"folder": str(bags.resolve())}
    overrides["skill_node"]["speed_scale"] = 1.0  # nobody stands beside a simulated arm
    host = free_loopback()
    overrides["sim_node"] = {"realtime": False, "host": host}  # as fast as the machine can
    arm = RobotSettings.for_simulator(host, realtime=False)
    overrides["robot_node"] = {"robot.host": host, "robot.stall_timeout": arm.stall_timeout}
    return overrides


def judge(client: GraphClient, seed: int, run: SkillRun, task: Task) -> Trial:
    """Read the truth: only evaluation does that."""
    progress = float(client.read_topic("kalm_sim/truth/progress", Float64, 20.0).data)
    return Trial(seed, run, progress, progress >= task.enough)


def _told(trial: Trial, task: Task) -> str:
    """Return how far a trial came, in words."""
    return f"{task.measure} {trial.progress:.3f}"


def _print_warning(line: str) -> None:
    """Show what a node warns of."""
    if any(word in line for word in ("[WARN]", "[ERROR]", "[FATAL]", "Traceback")):
        _print_line(line)


def _print_line(line: str) -> None:
    """Show what a node says, as it is."""
    console.print(line, style="dim", highlight=False, markup=False)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:<70}"), BarColumn(30), TimeElapsedColumn(), console=console
    )


if __name__ == "__main__":
    run_alone(main, "kalm demo", "kalm demo --task handle --scenes 3")
