"""Table II of the paper in the laboratory: three tasks, new views, objects never shown.

Run it with `python -m benchmarks.table2`. Ten demonstrations of each task are recorded, the skill
is learned and `/execute_skill` called in scene after scene, all through the ROS graph with the real
franky client; the simulator's truth says whether the task was done. *View*: the objects of the
demonstrations' kind in other places, seen from elsewhere. *Cross*: objects of other shape, size and
colour. The rows `/unverified` learn from the same bags without verification.

An episode is written down as soon as it has ended, so that a run can be broken off and gone on with
under the same `--out`. What ends for reasons outside the method (a process or a connection lost) is
no failure of the policy: it is done again, at most twice, and counted in the row's note. Of every
episode that fails there is a film.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.results import Results, share
from kalm_core.errors import KalmError, Outcome
from kalm_ros.client import GraphClient
from kalm_ros.demo import Choice, judge, laboratory, learn, record
from kalm_ros.film import Film, write_film
from kalm_ros.laboratory_operator import LaboratoryOperator, SkillRun
from kalm_sim.tasks.base import Instances
from kalm_sim.tasks.registry import TASKS, task_named

FIRST_SCENE = 3000
"""Seed of the first scene: neither a demonstration nor a scene of another benchmark."""

SETS: dict[str, Instances] = {"view": "train", "cross": "unseen"}

UNVERIFIED = {
    "learning.distillation.verify": False,
    "learning.distillation.correspondence.verify": False,
}

OUTSIDE = {
    Outcome.BACKEND_UNAVAILABLE,
    Outcome.NO_IMAGE,
    Outcome.CONNECTION_LOST,
    Outcome.CLIENT_GONE,
    Outcome.INTERNAL_ERROR,
}
"""Endings that say nothing about the method."""

CLASSES = {
    Outcome.DISTILLATION_FAILED: "proposal",
    Outcome.BAD_DEMONSTRATION: "proposal",
    Outcome.KEYPOINTS_NOT_FOUND: "detection",
    Outcome.NO_FEASIBLE_TRAJECTORY: "planning",
    Outcome.PLANNER_FAILED: "planning",
    Outcome.SUCCEEDED: "policy",
}
"""Who failed when the task was not done; what is not here failed in execution."""

REPEATS = 2
"""How often an episode is done again that ended for reasons outside the method."""

console = Console()


@dataclass(frozen=True)
class Episode:
    """One call of the skill.

    Attributes:
        seed: of the scene.
        outcome: name of the code that the last attempt ended with.
        message: its sentence.
        progress: by the simulator's truth, in the unit of `Task.measure`.
        success: whether that is enough.
        repeated: attempts before it that ended for reasons outside the method.
        seconds: phase -> wall time [s].
    """

    seed: int
    outcome: str
    message: str
    progress: float
    success: bool
    repeated: int
    seconds: dict[str, float]

    @property
    def failed_in(self) -> str:
        """Which part failed; empty where the task was done."""
        if self.success:
            return ""
        outcome = Outcome[self.outcome]
        return "infrastructure" if outcome in OUTSIDE else CLASSES.get(outcome, "execution")


class Journal:
    """Episodes on disk, one line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.episodes = [Episode(**json.loads(line)) for line in lines]

    def add(self, episode: Episode) -> None:
        """Write an episode down."""
        self.episodes.append(episode)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(episode)) + "\n")

    def missing(self, count: int) -> list[int]:
        """Return the seeds of the first `count` scenes that have no episode yet."""
        done = {episode.seed for episode in self.episodes}
        return [seed for seed in range(FIRST_SCENE, FIRST_SCENE + count) if seed not in done]


def one(
    client: GraphClient, operator: LaboratoryOperator, choice: Choice, seed: int, film: Film
) -> Episode:
    """Do the skill once in a scene."""

    def attempt() -> SkillRun:
        scene = operator.change_scene(seed, instances=choice.done_with)
        operator.look(scene, np.random.default_rng([seed, 5]))
        film.cut()
        return operator.execute(choice.task.skill)

    run, repeated = attempt(), 0
    while run.outcome in OUTSIDE and repeated < REPEATS:
        run, repeated = attempt(), repeated + 1
    trial = judge(client, seed, run, choice.task)
    seconds = {phase: round(s, 2) for phase, s in run.seconds.items()}
    return Episode(
        seed,
        run.outcome.name,
        run.message,
        round(trial.progress, 4),
        trial.success,
        repeated,
        seconds,
    )


def do_task(out: Path, task: str, row: str, count: int, overrides: dict[str, Any]) -> None:
    """Record where bags are missing, learn where the skill is missing, and do what is not done."""
    root = out / task
    bags, skills, films = root / "demonstrations", root / row / "skills", root / row / "films"
    films.mkdir(parents=True, exist_ok=True)
    journals = {name: Journal(root / row / f"{name}.jsonl") for name in SETS}
    if not any(journal.missing(count) for journal in journals.values()):
        return
    nodes = {"learner_node": overrides} if overrides else None
    with laboratory(bags, skills, task_named(task), _silent, nodes) as (client, operator):
        taught = Choice(task_named(task), shown="train")
        paths = sorted(str(path) for path in bags.iterdir())
        paths += record(operator, list(range(len(paths), 10)), len(paths), taught)
        if not (skills / taught.task.skill).is_dir():
            learn(operator, paths, taught.task.skill)
        film = Film(client)
        for name, journal in journals.items():
            choice = Choice(taught.task, "train", SETS[name])
            for seed in journal.missing(count):
                episode = one(client, operator, choice, seed, film)
                journal.add(episode)
                frames = film.cut()
                title = f"{task} {name} {seed}: {episode.failed_in or 'done'}"
                if not episode.success and frames:
                    write_film(frames, title, films / f"{name}_{seed}.mp4")
                console.print(f"{title}, {episode.progress:.2f} {episode.message}", markup=False)


def add_rows(results: Results, out: Path, task: str, row: str, count: int) -> None:
    """Add the rows of one task."""
    for name in SETS:
        journal = Journal(out / task / row / f"{name}.jsonl")
        episodes = [e for e in journal.episodes if e.seed < FIRST_SCENE + count]
        judged = [e for e in episodes if e.failed_in != "infrastructure"]
        failed = Counter(e.failed_in for e in judged if not e.success)
        notes = [f"{number} {part}" for part, number in failed.most_common()] or ["none failed"]
        repeated = sum(e.repeated for e in episodes)
        lost = len(episodes) - len(judged)
        notes.append(f"{repeated} attempts done again, {lost} episodes lost to infrastructure")
        id_ = f"table2/{task}/{name}" + ("/unverified" if row == "unverified" else "")
        note = "; ".join(notes) if episodes else "no episode was run"
        results.add(share(id_, sum(e.success for e in judged), len(judged), note))


def _silent(line: str) -> None:
    """Drop what the nodes print: the outcome says it."""


def main(
    episodes: Annotated[int, typer.Option(min=1, help="per task and set")] = 100,
    tasks: Annotated[str, typer.Option(help="separated by commas")] = ",".join(TASKS),
    unverified: Annotated[bool, typer.Option(help="the rows without verification too")] = True,
    out: Annotated[Path, typer.Option(help="episodes, skills and films; gone on with")] = Path(
        "out/table2"
    ),
) -> None:
    """Measure; about half a minute an episode.

    Example: python -m benchmarks.table2 --episodes 5 --tasks drawer --no-unverified
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randint(1, 100)))
    rows: dict[str, dict[str, Any]] = {"kalm": {}}
    if unverified:
        rows["unverified"] = UNVERIFIED
    chosen = [task_named(name).name for name in tasks.split(",")]
    full = episodes >= 100 and unverified and set(chosen) == set(TASKS)
    results = Results("table2", "python -m benchmarks.table2", full)
    for task in chosen:
        for row, overrides in rows.items():
            try:
                do_task(out, task, row, episodes, overrides)
            except KalmError as error:  # of the laboratory or of learning: the other rows go on
                console.print(f"{task} {row}: {error}", style="red", markup=False)
            add_rows(results, out, task, row, episodes)
    console.print(f"written: {results.write()}")


if __name__ == "__main__":
    typer.run(main)
