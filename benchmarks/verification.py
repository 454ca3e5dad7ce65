"""How often the keypoints are on the right part when the VLM is often wrong.

With verification, and without: the effect behind Table II of the paper. Run it with
`python -m benchmarks.verification`. The VLM is the one of `kalm_sim.vlm_server`, reached over HTTP
by the client that talks to GPT-4o. "Wrong NN %" means: each time that it is asked for a region it
names, with that probability, another thing of the image and its cells; and each time that it is
asked for a mask it chooses, with that probability, one that is not on the part. The chances are
independent, so without verification the first choice is right about (1 - NN %)² of the time.
Where no mask is on the part and it may say so, it says so unless it is wrong again.

A skill counts as right when at least seven of its eight keypoints lie within 1 cm of the geoms of
the part (handle of the top drawer, lever of the coffee machine, bowl) in the reference image. With
verification, a skill that ends in a declared failure counts as not right. The truth is used by the
test VLM and by this evaluation alone. Without verification the first eight points spread over the
first mask that the VLM chooses are the keypoints, which is the paper's baseline.

It goes on where it was interrupted: what is done lies in `out/verification`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.distillation_time import distillation_time
from benchmarks.results import Results, Row, share
from benchmarks.verification_lesson import DEMONSTRATIONS
from benchmarks.verification_piece import RATES, SKILLS, Trial, piece
from kalm_core.vlm.settings import VlmSettings
from kalm_sim.tasks.registry import TASKS

TIMED = "drawer"
"""The task whose distillation is timed."""

console = Console()


def rows_of(trials: list[Trial], percent: int, note: str) -> list[Row]:
    """Return the rows of one rate."""
    rows = []
    for verify in (True, False):
        name = f"verification/vlm{percent:02d}/{'with' if verify else 'without'}"
        mine = [item for item in trials if item.percent == percent and item.verify == verify]
        rows.append(share(name, sum(item.right for item in mine), len(mine), note))
        for task in sorted({item.task for item in mine}):
            some = [item for item in mine if item.task == task]
            rows.append(share(f"{name}/{task}", sum(item.right for item in some), len(some)))
        if not verify or not mine:
            continue
        failed = sum(item.on_part is None for item in mine)
        wrong = sum(item.on_part is not None and not item.right for item in mine)
        rows += [
            share(f"{name}/declared_failure", failed, len(mine)),
            share(f"{name}/wrong_part", wrong, len(mine)),
            Row(
                f"{name}/calls",
                round(sum(item.calls for item in mine) / len(mine), 2),
                "calls",
                len(mine),
                note="of the VLM for one skill, mean",
            ),
            share(
                f"{name}/over_budget",
                sum(item.calls > VlmSettings().max_calls for item in mine),
                len(mine),
                f"took more than {VlmSettings().max_calls} calls, where the default budget ends "
                "a distillation; counted as above here",
            ),
        ]
    return rows


def main(
    sets: Annotated[int, typer.Option(min=1, help="sets of ten demonstrations per task")] = 2,
    skills: Annotated[int, typer.Option(min=1, max=SKILLS, help="skills per set and rate")] = 10,
    tasks: Annotated[str, typer.Option(help="of the laboratory, with commas")] = ",".join(TASKS),
    bags: Annotated[
        Path | None,
        typer.Option(help=f"ten of the task {TIMED} to time a distillation; none draws some"),
    ] = None,
) -> None:
    """Measure, and write benchmarks/results/verification.json."""
    names = tasks.split(",")
    full = sets * skills * len(names) >= 60 and set(names) == set(TASKS)
    results = Results("verification", "python -m benchmarks.verification", full=full)
    trials: list[Trial] = []
    for index in range(sets):
        for task in names:
            made = piece(task, index, skills)
            trials += made
            right = sum(item.right for item in made if item.verify)
            count = sum(item.verify for item in made)
            console.print(f"set {index} of {task}: {right} of {count} right with verification")
    note = (
        f"{sets} sets of {DEMONSTRATIONS} demonstrations of each task ({tasks}), {skills} "
        "skills of each set, which differ in the VLM's chance alone"
    )
    for percent in RATES:
        for row in rows_of(trials, percent, note):
            results.add(row)
    for row in distillation_time(TIMED, bags):
        results.add(row)
    for row in results.rows:
        console.print(f"{row.id}: {row.value} {row.unit} (n = {row.n}) {row.note}", markup=False)
    console.print(f"written: {results.write()}")


if __name__ == "__main__":
    typer.run(main)
