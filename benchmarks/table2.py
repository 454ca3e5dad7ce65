"""Table II of the paper in the laboratory: three tasks, new views, objects never shown.

Run it with `python -m benchmarks.table2`. Ten demonstrations of each task are recorded through the
ROS graph with the real franky client, the skill is learned from the bags and done in scene after
scene; the simulator's truth says whether the task was done. *View*: the objects of the
demonstrations' kind in other places, seen from elsewhere. *Cross*: objects of other shape, size and
colour. Most episodes run in one process, faster than real time (`table2_quick`); the rows `/graph`
call `/execute_skill` of the running nodes in the first of the same scenes (`table2_graph`).

The rows, with the same scenes for all: KALM as configured; `/search`, the same where `skill_node`
may look from higher up when the keypoints are not found (only those episodes are done again);
`/unverified`, the paper's baseline,
from the same bags; `/oracle`, the same skill with the simulator's true keypoints, the ceiling;
`/vlm40` and `/vlm40_unverified`, where the test VLM proposes region and mask and each of its
answers is wrong two times in five.

An episode is written down as soon as it has ended, so that a run can be broken off and gone on with
under the same `--out`. What ends for reasons outside the method (a process or a connection lost) is
no failure of the policy: it is done again, at most twice, and counted in the row's note. Of every
episode that fails there is a picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.results import Results, Row, share
from benchmarks.table2_episode import (
    FIRST_SCENE,
    SETS,
    Episode,
    Journal,
    summary,
    unlearned,
)
from benchmarks.table2_graph import do_in_graph
from benchmarks.table2_lesson import Learned, Lesson, Method
from benchmarks.table2_quick import QuickRunner, first_elevation
from kalm_core.errors import KalmError, Outcome
from kalm_ros.private_graph import take_free_domain
from kalm_sim.scene import draw_scene
from kalm_sim.tasks.registry import TASKS, task_named

SKILLS = 10
"""Skills that a row with a VLM learns: one alone would be right or wrong altogether."""

LOW = 15.0
"""Elevation of the camera below which a view counts as low [deg]."""

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"

METHODS = {
    method.name: method
    for method in (
        Method("kalm"),
        Method("search", search=True),
        Method("unverified", verify=False),
        Method("oracle", true_keypoints=True),
        Method("vlm40", wrong=0.4, skills=SKILLS),
        Method("vlm40_unverified", wrong=0.4, skills=SKILLS, verify=False),
    )
}

console = Console()


def do_method(out: Path, task: str, method: Method, count: int, sets: list[str]) -> None:
    """Do what is not done of a row in these sets."""
    lesson = Lesson(out / task, task_named(task))
    journals = {name: _journal(out, task, method.name, name) for name in sets}
    if method.search:  # what was found at once ends as it did without
        for name, journal in journals.items():
            without = _journal(out, task, "kalm", name).episodes
            unfound = Outcome.KEYPOINTS_NOT_FOUND.name
            journal.take(episode for episode in without if episode.outcome != unfound)
    left = {name: journal.missing(count) for name, journal in journals.items()}
    if not any(left.values()):
        return
    skills = [_learned(lesson, method, number) for number in range(method.skills)]
    with QuickRunner(draw_scene(FIRST_SCENE, task=task)) as runner:
        for name, seeds in left.items():
            for seed in seeds:
                learned = skills[seed % len(skills)]
                if isinstance(learned, KalmError):
                    episode = unlearned(seed, learned)
                else:
                    scene = draw_scene(seed, task=task, instances=SETS[name])
                    picture = out / task / method.name / "failed" / f"{name}_{seed}.png"
                    episode = runner.one(scene, learned, method, picture)
                journals[name].add(episode)
                console.print(
                    f"{task} {method.name} {name} {seed}: {episode.failed_in or 'done'}, "
                    f"{episode.progress:.2f} {episode.message}",
                    markup=False,
                )


def rows_of(out: Path, task: str, method: Method, count: int) -> Iterator[Row]:
    """Return the rows of a task and method; rows of the graph where it was called."""
    suffix = "" if method.name == "kalm" else f"/{method.name}"
    for name in SETS:
        episodes = _journal(out, task, method.name, name).first(count)
        if episodes:
            yield summary(f"table2/{task}/{name}{suffix}", episodes)
    for name in SETS:
        called = _journal(out, task, f"{method.name}_graph", name).episodes
        if called:
            yield summary(f"table2/{task}/{name}{suffix}/graph", called)
    shares = [
        learned.on_part
        for number in range(method.skills)
        if isinstance(learned := _known(out, task, method, number), Learned)
    ]
    if method.name == "kalm":
        for name in SETS:
            yield from _unfound(task, name, _journal(out, task, method.name, name).first(count))
    tried = any(_journal(out, task, method.name, name).episodes for name in SETS)
    if tried and not method.true_keypoints:
        right = sum(value >= 0.875 for value in shares)
        note = (
            f"skills with 7 of 8 keypoints on the part; {method.skills - len(shares)} not learned"
        )
        yield share(f"table2/{task}/skills_on_part{suffix}", right, method.skills, note)


def _unfound(task: str, name: str, episodes: list[Episode]) -> Iterator[Row]:
    """Tell from where the camera looked when keypoints were not found."""
    unfound = [e.seed for e in episodes if e.outcome == Outcome.KEYPOINTS_NOT_FOUND.name]
    if unfound:
        scenes = [draw_scene(seed, task=task, instances=SETS[name]) for seed in unfound]
        seen = sorted(first_elevation(scene) for scene in scenes)
        note = "of the scenes in which none was found, elevations " + ", ".join(
            f"{angle:.0f}" for angle in seen
        )
        low = sum(angle < LOW for angle in seen)
        yield share(f"table2/{task}/{name}/unfound_from_low", low, len(seen), note + " deg")


def _journal(out: Path, task: str, folder: str, name: str) -> Journal:
    return Journal(out / task / folder / f"{name}.jsonl")


def _spent(out: Path) -> float:
    """Return the wall time of all episodes that are on disk, those that two rows share once [s]."""
    spent: dict[tuple[str, ...], float] = {}
    for path in out.glob("*/*/*.jsonl"):
        for line in path.read_text().splitlines():
            task, name = path.parent.parent.name, path.stem
            spent[task, name, line] = sum(json.loads(line)["seconds"].values())
    return sum(spent.values())


def _known(out: Path, task: str, method: Method, number: int) -> Learned | None:
    lesson = Lesson(out / task, task_named(task))
    if not lesson.is_learned(method, number):
        return None
    return lesson.learn(method, number)


def _learned(lesson: Lesson, method: Method, number: int) -> Learned | KalmError:
    """Learn a skill; that it cannot be learned is an answer of the method too."""
    try:
        learned = lesson.learn(method, number)
    except KalmError as error:
        console.print(f"{lesson.task.name} {method.name} {number}: {error}", markup=False)
        return error
    console.print(
        f"{lesson.task.name} {method.name} skill {number}: {learned.on_part:.0%} of the keypoints "
        f"on the part, policy {type(learned.skill.policy).__name__}"
    )
    return learned


def main(  # noqa: PLR0917 - options of a command
    episodes: Annotated[
        int, typer.Option(min=0, help="per row, task and set, in one process")
    ] = 100,
    graph: Annotated[int, typer.Option(min=0, help="per task and set, through the ROS graph")] = 10,
    tasks: Annotated[str, typer.Option(help="separated by commas")] = ",".join(TASKS),
    methods: Annotated[str, typer.Option(help="rows, separated by commas")] = ",".join(METHODS),
    sets: Annotated[str, typer.Option(help="separated by commas")] = ",".join(SETS),
    out: Annotated[Path, typer.Option(help="episodes, skills and pictures; gone on with")] = Path(
        "out/table2"
    ),
    finished: Annotated[
        bool, typer.Option(help="write the results of what is done, do nothing more")
    ] = False,
    update: Annotated[bool, typer.Option(help="keep the other rows of the results")] = False,
) -> None:
    """Measure; about half a minute an episode, one to two minutes through the graph.

    Example: python -m benchmarks.table2 --episodes 5 --graph 0 --tasks drawer --methods kalm
    """
    take_free_domain()
    chosen = [METHODS[name] for name in methods.split(",")]
    names = [task_named(name).name for name in tasks.split(",")]
    full = set(names) == set(TASKS) and len(chosen) == len(METHODS)
    results = Results("table2", "python -m benchmarks.table2", full)
    for task in names:
        for method in chosen:
            if not finished:
                do_method(out, task, method, episodes, sets.split(","))
                if method.name == "kalm" and graph:
                    sheet = PICTURES / f"table2_{task}.png"
                    do_in_graph(out / task, task_named(task), graph, sheet)
            for row in rows_of(out, task, method, episodes):
                results.add(row)
    if not update:
        results.seconds = _spent(out)
    console.print(f"written: {results.write(update=update)}")


if __name__ == "__main__":
    typer.run(main)
