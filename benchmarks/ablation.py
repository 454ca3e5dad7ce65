"""What perception costs: verified keypoints, unverified ones, and the simulator's true ones.

The same ten bags, the same scenes and seeds for all three. Run it with `make bench-ablation` after
`make demo`, whose bags it uses. The episodes run in one process, without the ROS graph and faster
than real time; core, franky client and simulated arm are those of the graph.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.results import Results, share
from kalm_core.correspondence import CorrespondenceSettings, KeypointDetector, require_found
from kalm_core.distillation import DistillationSettings
from kalm_core.distillation_settings import detection_as_learned
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.learning import LearningSettings, learn_skill
from kalm_core.planning.planner import make_planner
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.skill import Skill, load_skill
from kalm_sim.episode import Attempt, EpisodeRunner
from kalm_sim.scene import SceneParameters, draw_scene
from kalm_sim.true_keypoints import true_keypoints

FIRST_SCENE = 2000
"""Seed of the first scene: neither a demonstration nor a scene of the demo."""

OPEN_ENOUGH = 0.10
"""A drawer that is out by this much counts as open [m]."""

console = Console()


def learn(bags: list[Path], folder: Path, verify: bool) -> Skill:
    """Learn the skill from the bags, with or without verification of the keypoints."""
    correspondence = CorrespondenceSettings(verify=verify)
    settings = LearningSettings(
        distillation=DistillationSettings(verify=verify, correspondence=correspondence)
    )
    name = "verified" if verify else "unverified"
    progress = Progress(lambda stage, fraction, text: None)
    path = learn_skill(name, "open the top drawer", bags, folder, settings, progress=progress)
    return load_skill(path)


def detect(skill: Skill, frame: RgbdFrame) -> DetectedKeypoints:
    """Find the skill's keypoints with the settings that it was learned with."""
    settings = detection_as_learned(skill.perception, skill.name)
    found = KeypointDetector(settings).detect(frame, skill.reference)
    require_found(found, settings)
    return found


def one(
    runner: EpisodeRunner, skill: Skill, scene: SceneParameters, truth_from: SceneParameters | None
) -> Attempt:
    """Run one episode; with `truth_from`, the scene of the reference image, keypoints are true."""
    frame = runner.begin(scene, np.random.default_rng([scene.seed, 5]))

    def find(image: RgbdFrame) -> DetectedKeypoints:
        if truth_from is None:
            return detect(skill, image)
        return true_keypoints(skill.reference, truth_from, scene)

    return runner.attempt(skill.policy, find, frame, scene.seed)


def main(
    bags: Annotated[
        Path, typer.Option(help="demonstrations 00, 01, ... of `make demo`, seeds 0, 1, ...")
    ] = Path("out/demo/demonstrations"),
    scenes: Annotated[int, typer.Option(min=1, help="per row")] = 30,
) -> None:
    """Measure the three rows on the same scenes."""
    folders = sorted(bags.glob("[0-9][0-9]"))
    if len(folders) < 3:
        console.print(
            f"[red]{bags} holds {len(folders)} demonstrations. Run `make demo` first.[/red]"
        )
        raise typer.Exit(1)
    results = Results("ablation", "make demo && make bench-ablation", full=scenes >= 30)
    drawn = [draw_scene(FIRST_SCENE + i) for i in range(scenes)]
    with tempfile.TemporaryDirectory() as folder:
        verified = learn(folders, Path(folder), verify=True)
        unverified = learn(folders, Path(folder), verify=False)
    reference = draw_scene(int(verified.record["reference_demonstration"]))
    rows = (
        ("ablation/verified", verified, None),
        ("ablation/unverified", unverified, None),
        ("ablation/oracle_keypoints", verified, reference),
    )
    with EpisodeRunner(make_planner(), drawn[0]) as runner:
        for row, skill, truth_from in rows:
            attempts = []
            for scene in drawn:
                attempts.append(one(runner, skill, scene, truth_from))
                last = attempts[-1]
                console.print(
                    f"{row} scene {scene.seed}: {last.outcome.name.lower()}, "
                    f"{last.opening * 100:.1f} cm {last.message}",
                    highlight=False,
                    markup=False,
                )
            opened = sum(attempt.opening >= OPEN_ENOUGH for attempt in attempts)
            results.add(share(row, opened, len(attempts), _endings(attempts)))
    console.print(f"written: {results.write()}")


def _endings(attempts: list[Attempt]) -> str:
    """Count how the attempts ended that left the drawer closed."""
    closed = [a.outcome.name.lower() for a in attempts if a.opening < OPEN_ENOUGH]
    counts = ", ".join(f"{closed.count(name)} {name}" for name in sorted(set(closed)))
    return f"not open: {counts}" if counts else "all open"


if __name__ == "__main__":
    typer.run(main)
