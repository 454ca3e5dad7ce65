"""The certificate of a motion against a dense check by MuJoCo, on motions with mistakes.

Run it with `make bench-certificate`. In every scene (solids on a table, and the drawer's cabinet
with clutter, half of each) the suite plans a motion, and a blind one goes straight to a trajectory;
then one mistake is made in a copy of either: joints shifted, the arm turned, a joint moved beyond
its limits, time shortened, a jump, a bump, samples left out, the arm elsewhere, a thin rod in the
way, the objects moved. The certificate sees points on all surfaces of the scene. The judge is
`certificate_checker`: MuJoCo's collision detection between the true solids and all of the arm's
meshes, at steps of 1 mm where anything is near.

A motion is unsafe if it touches the scene outside the contact, or itself, or leaves a limit of the
joints. It is safe if it keeps the clearance that the certificate states, from the scene and between
links, and every other thing that a certificate asks for. A scene that is finished is kept in
out/certificate; remove it there to measure it again.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.certificate_checker import Contacts, DenseChecker, Found
from benchmarks.certificate_motions import (
    Case,
    KnowingPlanner,
    keypoints_of,
    plan,
    spoiled,
    unplanned,
)
from benchmarks.certificate_scenes import World, draw_cabinet, draw_tabletop, surface_points
from benchmarks.results import Results, Row, share
from kalm_core.planning.obstacles import Obstacles, obstacles_from_points
from kalm_core.planning.planner import PlanningSettings

FOLDER = Path("out/certificate")
SCENES, MOTIONS = 400, 25
SAFE = 0.005
"""A motion that keeps this distance [m] shall be certified."""

console = Console()


def seen(world: World, settings: PlanningSettings) -> Obstacles:
    """Return what the planner knows of a world: all of its surfaces."""
    return obstacles_from_points(surface_points(world.solids), settings.obstacles)


def is_unsafe(found: Found, settings: PlanningSettings) -> bool:
    """Tell whether executing a motion would touch something or leave a limit."""
    away = settings.certificate.start_tolerance
    return bool(
        found.scene < 0 or found.itself < 0 or found.limits > 1 + 1e-6 or found.start > away
    )


def is_safe(found: Found, settings: PlanningSettings) -> bool:
    """Tell whether a motion keeps all that a certificate asks for, as seen by the checker."""
    s = settings.certificate
    return bool(
        min(found.scene, found.itself) >= SAFE
        and found.limits <= 1
        and found.start <= s.start_tolerance
        and found.pose <= s.pose_tolerance
        and found.turn <= s.turn_tolerance
        and found.longest <= s.longest_step
        and found.manipulability >= settings.robot.min_manipulability
    )


def measure_scene(
    number: int, motions: int, planner: KnowingPlanner, checker: DenseChecker
) -> list[dict[str, object]]:
    """Certify and judge the motions of one scene."""
    rng = np.random.default_rng([number, 5])
    world = draw_cabinet(number) if number % 2 else draw_tabletop(rng)
    planner.known = known = seen(world, planner.settings)
    starts = [c for c in (plan(rng, planner, world), unplanned(rng, planner, world)) if c]
    if not starts:
        return []
    rows, shown = [], None
    for k in range(motions):
        case = starts[k] if k < len(starts) else None
        if case is None:  # three in four from the planned one, which is safe
            start = starts[0] if rng.random() < 0.75 else starts[-1]
            case = spoiled(rng, start, planner.model)
        if case.world is not shown:
            shown = case.world
            obstacles = known if shown is world else seen(shown, planner.settings)
            planner.prepare(obstacles, keypoints_of(shown))
            checker.set_scene(shown.solids)
        rows.append(_measure(case, planner, checker))
    return rows


def _measure(case: Case, planner: KnowingPlanner, checker: DenseChecker) -> dict[str, object]:
    s = planner.settings
    start = time.process_time()
    certificate = planner.certifier.certify(case.motion, case.joints, case.gripper)
    seconds = time.process_time() - start
    # a voxel is excepted by its centre: half of its diagonal belongs to the exception
    radius = s.obstacles.contact_radius + s.obstacles.voxel_size
    contacts = Contacts(case.world.keypoints, radius, s.contact_length)
    found = checker.check(case.motion, case.joints, case.gripper, contacts)
    failure = certificate.failure
    return {
        "mistake": case.mistake,
        "certified": certificate.passed,
        "kind": failure.kind if failure else "",
        "why": failure.text if failure else "",
        "seconds": seconds,
        "checks": certificate.checks,
        "clearance": certificate.clearance,
        "unsafe": is_unsafe(found, s),
        "safe": is_safe(found, s),
        **asdict(found),
    }


def collect(scenes: int, motions: int, minutes: float) -> list[dict[str, object]]:
    """Measure the scenes that are not there yet, as long as there is time; return all there are."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(scenes) if not _file(n, motions).exists()]
    end = time.process_time() + 60 * minutes
    if missing:
        planner, checker = KnowingPlanner(PlanningSettings()), DenseChecker()
        for count, number in enumerate(missing, start=1):
            if time.process_time() > end:
                break
            rows = measure_scene(number, motions, planner, checker)
            text = "".join(json.dumps({"number": number, **row}) + "\n" for row in rows)
            temporary = _file(number, motions).with_suffix(".tmp")
            temporary.write_text(text)
            temporary.replace(_file(number, motions))
            wrong = sum(bool(r["certified"] and r["unsafe"]) for r in rows)
            note = f", {wrong} unsafe ones certified" if wrong else ""
            console.print(f"scene {number}: {len(rows)} motions{note} ({count}/{len(missing)})")
    files = [_file(n, motions) for n in range(scenes)]
    return [json.loads(ln) for f in files if f.exists() for ln in f.read_text().splitlines()]


def _file(number: int, motions: int) -> Path:
    return FOLDER / f"{motions}_{number:04d}.jsonl"


def rows_of(found: list[dict]) -> list[Row]:
    """Return the figures of all motions."""
    accepted = [m for m in found if m["certified"]]
    safe = [m for m in found if m["safe"]]
    unsafe = [m for m in found if m["unsafe"]]
    wrong = [m for m in accepted if m["unsafe"]]
    refused = [m for m in safe if not m["certified"]]
    about = ", ".join(f"{n} {kind}" for kind, n in Counter(m["kind"] for m in refused).items())
    nearest = min((m["scene"] for m in accepted), default=float("nan"))
    shown = [
        share(
            "certificate/unsafe_accepted",
            len(wrong),
            len(found),
            f"{len(unsafe)} of the motions are unsafe; points of all surfaces, "
            f"nearest certified {1e3 * nearest:.1f} mm from the scene",
        ),
        share(
            "certificate/safe_refused",
            len(refused),
            len(safe),
            f"safe: {1e3 * SAFE:.1f} mm clear at least; refused for: {about or 'nothing'}",
        ),
    ]
    spent = np.array([m["seconds"] for m in accepted])
    note = "processor time of one thread, certified motions alone (refused ones end earlier)"
    for name, percentile in (("p50", 50), ("p95", 95)):
        value = float(np.percentile(1e3 * spent, percentile)) if len(spent) else None
        shown.append(Row(f"certificate/{name}_ms", value, "ms", len(spent), note=note))
    for mistake, n in sorted(Counter(m["mistake"] for m in found).items()):
        of_it = [m for m in unsafe if m["mistake"] == mistake]
        caught = sum(not m["certified"] for m in of_it)
        name = f"certificate/refused/{mistake.replace(' ', '_')}"
        shown.append(share(name, caught, len(of_it), f"of the unsafe ones among {n}"))
    return shown


def main(
    scenes: Annotated[int, typer.Option(min=1, help="scenes")] = SCENES,
    motions: Annotated[int, typer.Option(min=2, help="motions in a scene")] = MOTIONS,
    minutes: Annotated[float, typer.Option(help="processor time after which to stop")] = 1e6,
) -> None:
    """Measure what is missing, and write the results."""
    found = collect(scenes, motions, minutes)
    results = Results(
        "certificate", "make bench-certificate", full=len(found) >= SCENES * MOTIONS // 4
    )
    for row in rows_of(found):
        results.add(row)
        value = "no case" if row.value is None else f"{row.value:.4g} {row.unit}"
        console.print(f"{row.id}: {value} (n {row.n}) {row.note}", highlight=False)
    console.print(f"written: {results.write()}")


if __name__ == "__main__":
    typer.run(main)
