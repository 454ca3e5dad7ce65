"""From goal to first motion in the drawer scene, through the graph, with the time of each phase.

A goal is sent to `/execute_skill`; the first motion is when the simulator's truth says that a joint
moves; then the goal is cancelled. Everything is wall time, with the simulator on the same cores.
Run it with `make bench-latency`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.execution_graph import (
    NEW_SCENES,
    Bench,
    Ended,
    Reached,
    learned_skills,
    load_note,
    running,
)
from benchmarks.results import Results, Row, share
from kalm_core.errors import KalmError
from kalm_sim.laboratory import STILL_SPEED

PHASES = ("detect", "predict", "plan")
WORKERS = {
    "detect": "keypoint_node",
    "predict": "trajectory_node",
    "plan": "planning_node",
}
"""Whose processor time a phase is."""

console = Console()


def processor_seconds(bench: Bench) -> dict[str, float]:
    """Return the processor time that the node of each phase has used so far [s]."""
    tick = os.sysconf("SC_CLK_TCK")
    used = {}
    for phase, name in WORKERS.items():
        stat = Path(f"/proc/{bench.supervisor.nodes[name].process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        used[phase] = (int(fields[11]) + int(fields[12])) / tick
    return used


def goal_to_motion(bench: Bench) -> tuple[dict[str, float] | None, Ended]:
    """Send a goal; return seconds by phase and their sum, None where the arm did not move.

    The phases are those that skill_node times; `execute_start` is from its word that it executes to
    the first motion, and `between` is what is left: messages, and steps between the phases.
    `cpu_PHASE` is the processor time of the phase's node, which does not depend on how busy the
    machine is; the rest of a phase is waiting, for an image or for a core.
    """
    reached = Reached(lambda feedback: feedback.phase == "execute" and feedback.progress > 0.02)
    before = processor_seconds(bench)
    sent = time.time()
    handle = bench.start(hear=reached)
    answer = handle.get_result_async()
    while not reached.event.wait(0.02) and not answer.done():
        pass
    if not answer.done():
        bench.client.wait(handle.cancel_goal_async(), 10.0, "the cancel")
    ended = bench.end(handle)
    moved = [wall for wall, _, speed in list(bench.speeds) if wall > sent and speed > STILL_SPEED]
    if "execute" not in reached.began or "look again" in ended.seconds or not moved:
        return None, ended
    spent = {phase: ended.seconds[phase] for phase in PHASES}
    spent["execute_start"] = moved[0] - reached.began["execute"]
    spent["goal_to_motion"] = moved[0] - sent
    spent["between"] = spent["goal_to_motion"] - sum(
        seconds for name, seconds in spent.items() if name != "goal_to_motion"
    )
    after = processor_seconds(bench)
    spent |= {f"cpu_{phase}": after[phase] - before[phase] for phase in PHASES}
    return spent, ended


def rows(measured: list[dict[str, float]], said: str) -> list[Row]:
    """Return the median of each phase, and the spread of the whole."""
    count = len(measured)
    if count == 0:
        return [Row("latency/goal_to_motion_s", None, "s", 0, note=f"the arm never moved; {said}")]
    whole = np.array([m["goal_to_motion"] for m in measured])
    note = f"median of wall times; 95 % of goals within {np.percentile(whole, 95):.2f} s; {said}"
    found = [
        Row("latency/goal_to_motion_s", round(float(np.median(whole)), 3), "s", count, note=note)
    ]
    found.append(
        Row("latency/goal_to_motion_p95_s", round(float(np.percentile(whole, 95)), 3), "s", count)
    )
    for phase in (*PHASES, "execute_start", "between", *(f"cpu_{phase}" for phase in PHASES)):
        values = [m[phase] for m in measured]
        share_of = np.median([m[phase] / m["goal_to_motion"] for m in measured])
        text = f"median; {share_of:.0%} of the whole; from {min(values):.2f} to {max(values):.2f} s"
        found.append(
            Row(f"latency/{phase}_s", round(float(np.median(values)), 3), "s", count, note=text)
        )
    return found


def main(
    scenes: Annotated[int, typer.Option(min=1, help="new scenes")] = 10,
    views: Annotated[int, typer.Option(min=1, help="goals for each, from different views")] = 3,
    skills: Annotated[Path, typer.Option(help="folder of the skill; learned if absent")] = Path(
        "out/benchmarks/skills"
    ),
) -> None:
    """Measure, and write the results."""
    folder = learned_skills(skills)
    results = Results("latency", "make bench-latency", full=scenes * views >= 20)
    measured: list[dict[str, float]] = []
    others: Counter[str] = Counter()
    loads: list[str] = []
    with running(folder) as bench:
        bench.begin(NEW_SCENES)
        bench.plan_only()  # the first goal of all loads skill and libraries
        for seed in range(NEW_SCENES, NEW_SCENES + scenes):
            for view in range(views):
                try:
                    bench.begin(seed, view)
                    spent, ended = goal_to_motion(bench)
                except KalmError as error:
                    console.print(f"scene {seed}, view {view}: {error}", style="red")
                    others["not begun"] += 1
                    continue
                loads.append(load_note())
                if spent is None:
                    others[ended.outcome.name] += 1
                    console.print(
                        f"scene {seed}, view {view}: {ended.outcome.name} {ended.message}"
                    )
                    continue
                measured.append(spent)
                text = ", ".join(f"{name} {seconds:.2f}" for name, seconds in spent.items())
                console.print(f"scene {seed}, view {view}: {text}", highlight=False)
    counted = ", ".join(f"{count} {name}" for name, count in others.items()) or "none"
    busy = f"{loads[0]} first, {loads[-1]} last" if loads else load_note()
    said = f"without motion: {counted}; {busy}"
    for row in rows(measured, said):
        results.add(row)
        console.print(f"{row.id}: {row.value} {row.unit} ({row.note})", highlight=False)
    results.add(
        share("latency/moved", len(measured), len(measured) + sum(others.values()), counted)
    )
    console.print(f"written: {results.write()}")


if __name__ == "__main__":
    typer.run(main)
