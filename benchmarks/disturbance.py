"""What the skills of Table II bear: a worse sensor, other light, clutter, a camera that is off.

Run it with `python -m benchmarks.disturbance` after `python -m benchmarks.table2`, whose bags and
skills it uses. The same scenes for every condition, the objects of the demonstrations' kind, in one
process and faster than real time (see `table2_quick`). A condition changes one thing:

- `depth/xK`: noise, holes at edges and lost pixels of the depth sensor, K times the usual.
- `light/dim`, `light/hard`: the lamp at 0.3 and the room at 0.4 of what it was; 1.6 and 0.4.
- `clutter/none`, `clutter/most`: nothing else on the table; six things, the most there can be.
- `hand_eye/Nmm`: the camera sits N mm from where the suite takes it to be.
- `demonstrations/N`: learned from the first N of the ten.
- `twin`: a second object of the same looks beside the first. Done with either counts as done; the
  note says how often with which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.results import Results, Row
from benchmarks.table2_episode import FIRST_SCENE, Episode, Journal, summary, unlearned
from benchmarks.table2_lesson import Lesson, Method
from benchmarks.table2_quick import QuickRunner
from kalm_core.errors import DistillationError
from kalm_core.hand_eye import HandEyeSettings
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.disturbances import crowded, lit, shifted_camera, with_twin, worse_depth
from kalm_sim.scene import SceneParameters, draw_scene
from kalm_sim.tasks.registry import TASKS, task_named

console = Console()


@dataclass(frozen=True)
class Condition:
    """One thing that is changed.

    Attributes:
        name: of the row.
        change: of every scene.
        noise: of the depth sensor; None is the usual one.
        camera: where it truly sits; None is where the suite takes it to be.
        demonstrations: to learn from.
    """

    name: str
    change: Callable[[SceneParameters], SceneParameters] = lambda scene: scene
    noise: DepthNoiseSettings | None = None
    camera: HandEyeSettings | None = None
    demonstrations: int = 10

    @property
    def method(self) -> Method:
        """How its skill is learned."""
        if self.demonstrations == 10:
            return Method("kalm")
        return Method(f"demos{self.demonstrations}", demonstrations=self.demonstrations)


CONDITIONS = {
    condition.name: condition
    for condition in (
        Condition("nothing"),
        Condition("depth/x2", noise=worse_depth(2.0)),
        Condition("depth/x4", noise=worse_depth(4.0)),
        Condition("light/dim", lambda scene: lit(scene, 0.3, 0.4)),
        Condition("light/hard", lambda scene: lit(scene, 1.6, 0.4)),
        Condition("clutter/none", lambda scene: replace(scene, clutter=())),
        Condition("clutter/most", crowded),
        Condition("hand_eye/5mm", camera=shifted_camera(0.005)),
        Condition("hand_eye/10mm", camera=shifted_camera(0.010)),
        Condition("hand_eye/15mm", camera=shifted_camera(0.015)),
        Condition("demonstrations/3", demonstrations=3),
        Condition("demonstrations/5", demonstrations=5),
        Condition("twin", with_twin),
    )
}


def do_condition(out: Path, task: str, condition: Condition, count: int) -> None:
    """Do what is not done of a condition."""
    journal = _journal(out, task, condition)
    if condition.name == "nothing":  # these are the first episodes of Table II
        journal.take(Journal(out / task / "kalm" / "view.jsonl").first(count))
    missing = journal.missing(count)
    if not missing:
        return
    try:
        learned = Lesson(out / task, task_named(task)).learn(condition.method)
    except DistillationError as error:  # that it cannot be learned is an answer too
        console.print(f"{task} {condition.name}: {error}", markup=False)
        for seed in missing:
            journal.add(unlearned(seed, error))
        return
    first = condition.change(draw_scene(FIRST_SCENE, task=task, instances="train"))
    with QuickRunner(first, condition.noise, condition.camera) as runner:
        for seed in missing:
            scene = condition.change(draw_scene(seed, task=task, instances="train"))
            picture = out / task / "disturbed" / condition.name / f"failed_{seed}.png"
            episode = runner.one(scene, learned, condition.method, picture)
            journal.add(episode)
            console.print(
                f"{task} {condition.name} {seed}: {episode.failed_in or 'done'}, "
                f"{episode.progress:.2f} {episode.message}",
                markup=False,
            )


def rows_of(out: Path, condition: Condition, tasks: list[str], count: int) -> list[Row]:
    """Return the row of a condition, and one per task."""
    id_, every = f"disturbance/{condition.name}", list[Episode]()
    rows = []
    for task in tasks:
        episodes = _journal(out, task, condition).first(count)
        rows.append(summary(f"{id_}/{task}", episodes))
        every += episodes
    whole = summary(id_, every)
    if condition.change is with_twin:
        other = sum(e.with_twin for e in every)
        whole = replace(whole, note=f"{whole.note}; {other} of them with the twin")
    return [whole, *rows]


def _journal(out: Path, task: str, condition: Condition) -> Journal:
    return Journal(out / task / "disturbed" / f"{condition.name}.jsonl")


def main(
    episodes: Annotated[int, typer.Option(min=1, help="per condition and task")] = 10,
    tasks: Annotated[str, typer.Option(help="separated by commas")] = ",".join(TASKS),
    conditions: Annotated[str, typer.Option(help="separated by commas; empty takes all")] = "",
    out: Annotated[Path, typer.Option(help="that of table2; gone on with")] = Path("out/table2"),
    finished: Annotated[
        bool, typer.Option(help="write the results of what is done, do nothing more")
    ] = False,
) -> None:
    """Measure; a few seconds an episode.

    Example: python -m benchmarks.disturbance --episodes 5 --conditions depth/x4,twin
    """
    names = [task_named(name).name for name in tasks.split(",")]
    chosen = [CONDITIONS[name] for name in (conditions.split(",") if conditions else CONDITIONS)]
    full = set(names) == set(TASKS) and len(chosen) == len(CONDITIONS) and episodes >= 5
    results = Results("disturbance", "python -m benchmarks.disturbance", full)
    for condition in chosen:
        if not finished:
            for task in names:
                do_condition(out, task, condition, episodes)
        for row in rows_of(out, condition, names, episodes):
            results.add(row)
    console.print(f"written: {results.write()}")


if __name__ == "__main__":
    typer.run(main)
