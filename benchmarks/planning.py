"""Free motions on cluttered tables: the suite's planner, and OMPL's on the same collision checks.

Run it with `make bench-planning`. A query is a table with 6 to 14 solids, all surfaces of them
known, a free posture from which to start and a free one that reaches down between them. Ours is
what a plan's approach costs: the straight way, else roboplan's RRT-Connect, shortcuts, TOPP-RA, and
the check of the timed motion. `search` is the part of it that OMPL's RRTConnect does too: a first
way, neither shortened nor timed. OMPL asks the same checker, at the same distance along a motion. A
query counts as solvable if any of them finds a way, or ours does in 30 s. `certified` is the share
of our motions that the certificate's sweep at 5 mm finds free as well. Times are processor time of
one thread. A scene that is finished is kept in out/planning; remove it there to measure it again.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.certificate import seen
from benchmarks.certificate_motions import KnowingPlanner, draw_posture, draw_trajectory
from benchmarks.certificate_scenes import World, draw_tabletop
from benchmarks.results import Results, Row, share
from kalm_core.planning.collision import CollisionScene
from kalm_core.planning.joint_motion import JointMotionSettings, SearchError, joint_path_to, search
from kalm_core.planning.planner import PlanningSettings
from kalm_core.se3 import Array
from kalm_core.trajectory import JointPath

QUERIES, IN_A_SCENE = 500, 5
FOLDER = Path("out/planning")
_FEWEST, _MOST = 6, 14
_OMPL_SECONDS = 3.0

console = Console()


@dataclass(frozen=True)
class Query:
    """From where to where, among what is in the scene."""

    scene: CollisionScene
    start: Array
    goal: Array


Measured = dict[str, float | bool | None]
"""Of a query: milliseconds of `ours`, `search` and `ompl`, None where unsolved, and two answers."""


def timed(run: Callable[[], object]) -> tuple[float | None, object]:
    """Return the milliseconds that a query took, None if it was not solved, and the answer."""
    start = time.process_time()
    try:
        answer = run()
    except SearchError:
        answer = None
    spent = 1e3 * (time.process_time() - start)
    return (None if answer is None else spent), answer


def queries(number: int, planner: KnowingPlanner) -> Iterator[Query]:
    """Draw queries in a scene whose both ends are free."""
    rng = np.random.default_rng([number, 6])
    world = draw_tabletop(rng, _FEWEST, _MOST)
    scene = planner.surroundings
    scene.set_obstacles(seen(world, planner.settings))
    scene.set_gripper(0.08)
    found = 0
    for _ in range(100):
        goal = _goal(rng, planner, world)
        if goal is not None:
            yield Query(scene, draw_posture(rng, planner), goal)
            found += 1
        if found == IN_A_SCENE:
            break


def _goal(rng: np.random.Generator, planner: KnowingPlanner, world: World) -> Array | None:
    """Return a free posture with the fingers 2 to 15 cm above the table, between the solids."""
    pose = draw_trajectory(rng, world).T_base_ee[0]
    pose[:3, 3] = rng.uniform([0.3, -0.45, 0.02], [0.75, 0.45, 0.15])
    seed = draw_posture(rng, planner)
    free = (q for q in planner.model.inverse_all(pose, seed) if planner.surroundings.free(q))
    return next(free, None)


class Ompl:
    """RRTConnect of OMPL on the suite's collision checks."""

    def __init__(self, planner: KnowingPlanner, settings: JointMotionSettings) -> None:
        from ompl import base, geometric, util

        util.setLogLevel(util.LOG_ERROR)
        self._geometric, self._scene = geometric, planner.surroundings
        space = base.RealVectorStateSpace(7)
        bounds = base.RealVectorBounds(7)
        for j in range(7):
            bounds.setLow(j, float(planner.model.lower[j]))
            bounds.setHigh(j, float(planner.model.upper[j]))
        space.setBounds(bounds)
        self._setup = geometric.SimpleSetup(space)
        self._setup.setStateValidityChecker(self._free)
        self._information = self._setup.getSpaceInformation()
        step = settings.search_step / space.getMaximumExtent()
        self._information.setStateValidityCheckingResolution(step)
        method = geometric.RRTConnect(self._information)
        method.setRange(settings.max_connection)
        self._setup.setPlanner(method)
        self._space = space

    def _free(self, state: object) -> bool:
        return self._scene.free(np.array([state[j] for j in range(7)]))  # type: ignore[index]

    def solve(self, query: Query) -> object | None:
        """Search; None when there is no exact solution in the time."""
        self._setup.clear()
        self._setup.setStartAndGoalStates(self._state(query.start), self._state(query.goal))
        self._setup.solve(_OMPL_SECONDS)
        return self._setup.getSolutionPath() if self._setup.haveExactSolutionPath() else None

    def _state(self, q: Array) -> object:
        state = self._space.allocState()
        for j in range(7):
            state[j] = float(q[j])
        return state


def first_way(
    scene: CollisionScene, start: Array, goal: Array, settings: JointMotionSettings
) -> Array:
    """Return the corners of the straight way, or of the first one that is found."""
    ends = np.stack([start, goal])
    if scene.first_blocked(ends, settings.search_step) is None:
        return ends
    without = settings.model_copy(update={"shortcuts": 0})
    return search(scene, start, goal, without, settings.search_step)


def measure(query: Query, planner: KnowingPlanner, ompl: Ompl | None) -> Measured:
    """Solve one query in all ways."""
    motion = planner.settings.motion
    ends = (query.scene, query.start, query.goal)
    ours, path = timed(lambda: joint_path_to(*ends, motion))
    alone, _ = timed(lambda: first_way(*ends, motion))
    theirs = None if ompl is None else timed(lambda: ompl.solve(query))[0]
    solvable = any(spent is not None for spent in (ours, alone, theirs))
    if not solvable:
        patient = JointMotionSettings(max_seconds=30.0, max_nodes=200000)
        solvable = timed(lambda: first_way(*ends, patient))[0] is not None
    certified = None
    if isinstance(path, JointPath):
        certified = True
        try:
            planner.certifier.demand_free(path, query.start, query.scene.gripper)
        except SearchError:
            certified = False
    return {
        "ours": ours,
        "search": alone,
        "ompl": theirs,
        "solvable": solvable,
        "certified": certified,
    }


def collect(count: int, with_ompl: bool) -> list[Measured]:
    """Measure the scenes that are not there yet, and return all queries that are."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = [FOLDER / f"{n:04d}.jsonl" for n in range((count + IN_A_SCENE - 1) // IN_A_SCENE)]
    planner = ompl = None
    for number, file in enumerate(files):
        if file.exists():
            continue
        if planner is None:
            planner = KnowingPlanner(PlanningSettings())
            ompl = Ompl(planner, planner.settings.motion) if with_ompl else None
        found = [measure(query, planner, ompl) for query in queries(number, planner)]
        temporary = file.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(m) + "\n" for m in found))
        temporary.replace(file)
        console.print(f"scene {number + 1} of {len(files)}", highlight=False)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()][:count]


def rows_of(found: list[Measured], without_ompl: str) -> list[Row]:
    """Return the figures of all queries."""
    solvable = [m for m in found if m["solvable"]]
    certified = [m["certified"] for m in found if m["ours"] is not None]
    rows = []
    for name, key, note in (
        ("planning", "ours", "straight way, or search, shortcuts, timing and a last check"),
        ("planning/search", "search", "straight way or RRT-Connect, neither shortened nor timed"),
        ("planning/ompl", "ompl", without_ompl or "RRTConnect, not simplified, same checker"),
    ):
        spent = [float(m[key]) for m in found if m[key] is not None]  # type: ignore[arg-type]
        for part, percent in (("median_ms", 50), ("p95_ms", 95)):
            value = float(np.percentile(spent, percent)) if spent else None
            rows.append(Row(f"{name}/{part}", value, "ms", len(spent), note=note))
        solved = sum(m[key] is not None for m in solvable)
        n = 0 if key == "ompl" and without_ompl else len(solvable)
        rows.append(share(f"{name}/success", solved, n, f"of the solvable ones of {len(found)}"))
    rows.append(
        share("planning/certified", sum(map(bool, certified)), len(certified), "of ours, at 5 mm")
    )
    rows.append(Row("planning/vamp/median_ms", None, "ms", 0, note=_VAMP))
    return rows


def main(
    count: Annotated[int, typer.Option(min=1, help="queries")] = QUERIES,
) -> None:
    """Measure what is missing, and write the results."""
    without = ""
    if importlib.util.find_spec("ompl") is None:
        without = "ompl is not installed: pip install -r requirements/benchmarks.txt"
    found = collect(count, not without)
    results = Results("planning", "make bench-planning", full=len(found) >= QUERIES)
    for row in rows_of(found, without):
        results.add(row)
        value = "no case" if row.value is None else f"{row.value:.4g} {row.unit}"
        console.print(f"{row.id}: {value} (n {row.n}) {row.note}", highlight=False)
    console.print(f"written: {results.write()}")


_VAMP = "vamp-planner 0.6.4 is on PyPI as source alone; it was not built"

if __name__ == "__main__":
    typer.run(main)
