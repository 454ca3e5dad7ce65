"""Execution on the simulated arm: how well it follows, how soon it stops, how faults end.

Run it with `make bench-execution`. Tracking is measured on simulated time; stops and faults over
the graph, on the wall's clock, for which the machine should do nothing else. Each part keeps its
rows in `out/benchmarks/execution/`, so that `--part` can measure one of them anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import execution_cancel, execution_tracking
from benchmarks.execution_faults import FAULTS, FaultRuns
from benchmarks.execution_graph import NEW_SCENES, Bench, learned_skills, load_note, running
from benchmarks.results import Results, Row
from kalm_core.errors import Outcome

PIECES = Path("out/benchmarks/execution")
PARTS = ("tracking", "cancel", "faults")
FULL = {"tracking": 10, "cancel": 30, "faults": 100}
"""Scenes, cancelled goals and faults of a full run."""

console = Console()


def say(text: str) -> None:
    """Print a line."""
    console.print(text, highlight=False, markup=False)


def keep(part: str, rows: Sequence[Row], count: int, **more: Any) -> None:
    """Keep the rows of one part, with how many trials they are made of."""
    PIECES.mkdir(parents=True, exist_ok=True)
    content = {"count": count, "rows": [asdict(row) for row in rows], **more}
    (PIECES / f"{part}.json").write_text(json.dumps(content, indent=1))


def assembled() -> Results:
    """Return the results of all parts that were measured."""
    pieces = {
        part: json.loads((PIECES / f"{part}.json").read_text())
        for part in PARTS
        if (PIECES / f"{part}.json").is_file()
    }
    full = all(pieces.get(part, {"count": 0})["count"] >= least for part, least in FULL.items())
    results = Results("execution", "make bench-execution", full)
    for piece in pieces.values():
        for row in piece["rows"]:
            results.add(Row(**row))
    return results


def usable_scenes(bench: Bench, count: int) -> list[int]:
    """Return seeds of new scenes in which a goal without a fault finds a motion."""
    found: list[int] = []
    seed = NEW_SCENES
    while len(found) < count:
        bench.begin(seed)
        if bench.plan_only().outcome is Outcome.SUCCEEDED:
            found.append(seed)
        seed += 1
    return found


def run_faults(bench: Bench, skills: Path, count: int, go_on: bool) -> None:
    """Bring faults about, of all kinds in turn, until there are `count`, and keep the rows."""
    good = usable_scenes(bench, 3)
    say(f"scenes {good}, {load_note()}")
    runs = FaultRuns(bench, good, skills, say)
    if go_on:
        runs.go_on(json.loads((PIECES / "faults.json").read_text())["tallies"])
    runs.warm_up()
    runs.next_scene()
    number = runs.tried
    last = number + 2 * count
    while runs.tried < count and number < last:
        runs.run(FAULTS[number % len(FAULTS)], number // len(FAULTS))
        number += 1
        keep("faults", runs.rows(), runs.tried, tallies=runs.kept())


def main(  # noqa: PLR0917 (the options of a command)
    part: Annotated[list[str] | None, typer.Option(help="only this one; may be repeated")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="in which tracking is measured")] = 10,
    cancels: Annotated[int, typer.Option(min=1, help="goals that are cancelled, each way")] = 30,
    faults: Annotated[int, typer.Option(min=1, help="faults, of all kinds in turn")] = 100,
    go_on: Annotated[bool, typer.Option(help="add faults to those of the last run")] = False,
    skills: Annotated[Path, typer.Option(help="folder of the skill; learned if absent")] = Path(
        "out/benchmarks/skills"
    ),
) -> None:
    """Measure, and write the results."""
    parts = part or PARTS
    if "tracking" in parts:
        seeds = list(range(NEW_SCENES, NEW_SCENES + scenes))
        keep("tracking", execution_tracking.measure(seeds, say), scenes)
    if "cancel" in parts or "faults" in parts:
        folder = learned_skills(skills)
        short = {"keypoint_node": {"frame.timeout": 5.0}}  # a stale image is waited for so long
        planner = {"planning_node": "benchmarks.execution_planner"}
        with running(folder, short, planner) as bench:
            if "cancel" in parts:
                keep("cancel", execution_cancel.measure(bench, cancels, say), cancels)
            if "faults" in parts:
                run_faults(bench, folder, faults, go_on)
    results = assembled()
    for row in results.rows:
        say(f"{row.id}: {row.value} {row.unit} ({row.note})")
    say(f"written: {results.write()}")


if __name__ == "__main__":
    typer.run(main)
