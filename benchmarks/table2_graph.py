"""Episodes of Table II through the ROS graph: `/execute_skill` of the running nodes.

Of every episode that fails there is a film and the bag of its topics.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.table2_episode import OUTSIDE, REPEATS, SETS, Episode, Journal
from benchmarks.table2_lesson import Lesson, Method
from kalm_ros.client import GraphClient
from kalm_ros.demo import Choice, judge, laboratory
from kalm_ros.film import Film, Pixels, write_film, write_sheet
from kalm_ros.laboratory_operator import LaboratoryOperator
from kalm_sim.tasks.base import Task

_SHOWN = 2  # scenes of each set on the sheet
_SETS_OF = {"view": "new place and view", "cross": "object never shown"}

console = Console()


def do_in_graph(root: Path, task: Task, count: int, sheet: Path) -> None:
    """Call the skill that KALM learned in the first scenes of both sets, where it was not yet.

    Args:
        root: folder of the task.
        task: of the laboratory.
        count: scenes of each set.
        sheet: picture of a few of them, written anew.
    """
    lesson, method = Lesson(root, task), Method("kalm")
    journals = {name: Journal(root / "kalm_graph" / f"{name}.jsonl") for name in SETS}
    if not any(journal.missing(count) for journal in journals.values()):
        return
    lesson.learn(method)
    failed = root / "kalm_graph" / "failed"
    failed.mkdir(parents=True, exist_ok=True)
    with laboratory(failed, lesson.skills(method), task, _silent) as (client, operator):
        film, strips = Film(client), list[tuple[str, list[Pixels]]]()
        for name, journal in journals.items():
            choice = Choice(task, "train", SETS[name])
            for seed in journal.missing(count):
                bag = f"{name}_{seed}"
                episode, frames = _one(client, operator, choice, seed, film, bag)
                journal.add(episode)
                title = f"{task.name} {name} {seed}: {episode.failed_in or 'done'}"
                if episode.success:
                    shutil.rmtree(failed / bag, ignore_errors=True)
                elif frames:
                    write_film(frames, title, failed / f"{bag}.mp4")
                if sum(_SETS_OF[name] in told for told, _ in strips) < _SHOWN:
                    told = f"{_SETS_OF[name]}: {task.measure} {episode.progress:.2f}"
                    strips.append((told, frames))
                console.print(
                    f"graph: {title}, {episode.progress:.2f} {episode.message}", markup=False
                )
        sheet.parent.mkdir(parents=True, exist_ok=True)
        write_sheet(strips, sheet)


def _one(  # noqa: PLR0917
    client: GraphClient,
    operator: LaboratoryOperator,
    choice: Choice,
    seed: int,
    film: Film,
    bag: str,
) -> tuple[Episode, list[Pixels]]:
    """Do the skill once in a scene, with a recording of it."""
    for repeated in range(REPEATS + 1):
        operator.persistently(partial(operator.look_at_new, seed, choice.done_with))
        film.cut()
        name = bag if repeated == 0 else f"{bag}_again_{repeated}"
        with operator.recording(name):
            run = operator.execute(choice.task.skill)
        if run.outcome not in OUTSIDE:
            break
    trial = judge(client, seed, run, choice.task)
    seconds = {phase: round(s, 2) for phase, s in run.seconds.items()}
    episode = Episode(
        seed,
        run.outcome.name,
        run.message,
        round(trial.progress, 4),
        trial.success,
        repeated,
        seconds,
        looks=1 + sum(phase == "look again" for phase in run.seconds),
    )
    return episode, film.cut()


def _silent(line: str) -> None:
    """Drop what the nodes print: the outcome says it."""
