"""The paper's own baselines in Meta-World, at a size that a CPU trains in a minute or two.

Run it with `make bench-metaworld_baselines`; `ARGS="--tasks lever-pull"` runs a part. Scenes,
demonstrations and seeds are those of `benchmarks.metaworld`, keypoints the simulator's own. Every
finished piece (baseline, task, seed) is kept in `out/metaworld_baselines`, as are the views.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks import metaworld_piece
from benchmarks.baseline_sight import Sights, sight
from benchmarks.baseline_training import EFFORT, KINDS, train_baseline
from benchmarks.results import Results, Row, share
from kalm_core.policy.base import Example
from kalm_sim.metaworld.replay import replay
from kalm_sim.metaworld.scenes import Scene, draw_scene
from kalm_sim.metaworld.tasks import TASKS
from kalm_sim.metaworld.true_keypoints import true_keypoints
from kalm_sim.metaworld.views import Viewer
from kalm_sim.metaworld.world import World

DEMONSTRATIONS = 10
VIEWS = 8
"""Cameras drawn per demonstration; a test scene has one."""

_NOTHING = "nothing"
_SAMPLES = 5  # trajectories drawn, of which the one nearest to their mean is followed
_TEST, _TRAINING = 13, 14  # streams of a scene's seed from which cameras are drawn
_FULL_EPISODES, _FULL_SEEDS = 20, 1
_PAPER = {
    "diffuser_rgb": (0.300, 0.500, 0.327, 0.190, 0.107),
    "diffuser_rgb_keypoints": (0.620, 0.833, 0.497, 0.280, 0.213),
    "actor3d": (0.300, 0.537, 0.377, 0.210, 0.087),
    "actor3d_keypoints": (0.293, 0.507, 0.387, 0.210, 0.103),
}
"""Table I, in the order of TASKS."""

console = Console()


@dataclass(frozen=True)
class Piece:
    """What one baseline did in one task and seed.

    Attributes:
        ever, end: success of each episode, at any time and at the end.
        seconds: of training, processor time.
        loss: mean of the last fifty steps.
        refused: scenes left out, for the expert's own trajectory fails when replayed there.
    """

    ever: list[bool]
    end: list[bool]
    seconds: float
    loss: float
    refused: int


def main(  # noqa: PLR0917 - options of a command
    kinds: Annotated[str, typer.Option(help="names, comma-separated")] = ",".join(KINDS),
    tasks: Annotated[str, typer.Option(help="names, comma-separated")] = ",".join(TASKS),
    seeds: Annotated[int, typer.Option(min=1)] = _FULL_SEEDS,
    episodes: Annotated[int, typer.Option(min=1, help="per piece")] = _FULL_EPISODES,
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    folder: Annotated[Path, typer.Option(help="of the finished pieces")] = Path(
        "out/metaworld_baselines"
    ),
    finished: Annotated[bool, typer.Option(help="run nothing, take what is finished")] = False,
    update: Annotated[bool, typer.Option(help="keep the other rows of the results")] = False,
) -> None:
    """Run the pieces that are missing and write the results."""
    chosen_kinds, chosen_tasks = [_NOTHING, *kinds.split(",")], tasks.split(",")
    pieces: dict[tuple[str, str], list[Piece]] = {}
    for seed in range(first_seed, first_seed + seeds):
        for task in chosen_tasks:
            for kind in chosen_kinds:
                known = pieces.setdefault((kind, task), [])
                path = folder / f"{kind}_{task}_{seed}_{episodes}.json"
                if not path.exists():
                    if finished:
                        continue
                    piece = run_piece(kind, task, seed, episodes, folder)
                    _write(path, json.dumps(asdict(piece)))
                piece = Piece(**json.loads(path.read_text()))
                known.append(piece)
                console.print(
                    f"{kind} {task} {seed}: {sum(piece.ever)} at any time, {sum(piece.end)} at "
                    f"the end of {len(piece.end)}; trained {piece.seconds:.0f} s, loss "
                    f"{piece.loss:.4f}",
                    highlight=False,
                )
    full = (
        set(chosen_kinds) >= set(KINDS)
        and set(chosen_tasks) == set(TASKS)
        and first_seed == 0
        and seeds >= _FULL_SEEDS
        and episodes >= _FULL_EPISODES
        and all(pieces.values())
    )
    results = Results("metaworld_baselines", "make bench-metaworld_baselines", full)
    if finished:  # what was trained before: its processor time
        results.started -= sum(piece.seconds for known in pieces.values() for piece in known)
    for kind in chosen_kinds:
        _add_rows(results, kind, {task: pieces[kind, task] for task in chosen_tasks})
    console.print(f"written: {results.write(update=update)}")


def run_piece(kind: str, task: str, seed: int, episodes: int, folder: Path) -> Piece:
    """Train one baseline on the demonstrations of a seed and run it in the test scenes."""
    scenes, refused = test_scenes(task, seed, episodes)
    world = metaworld_piece.world_of(task)
    outcomes, seconds, loss = [], 0.0, 0.0
    if kind == _NOTHING:
        outcomes = [metaworld_piece.do_nothing(task, scene.seed, False) for scene in scenes]
    else:
        examples = metaworld_piece.demonstrations(task, seed, DEMONSTRATIONS, False)
        seen = list(_training_views(task, examples, folder))
        trained = train_baseline(kind, seen, [e.trajectory for e in examples], seed)
        seconds, loss = round(trained.seconds, 1), float(np.mean(trained.losses[-50:]))
        for scene, view in zip(scenes, _views(task, scenes, 1, _TEST, folder), strict=True):
            trajectory = trained.sample(view, _SAMPLES, seed)[0]
            world.reset(scene)
            outcomes.append(replay(world, trajectory))
    return Piece([o.ever for o in outcomes], [o.end for o in outcomes], seconds, loss, refused)


def test_scenes(task: str, seed: int, episodes: int) -> tuple[list[Scene], int]:
    """Return the test scenes of a seed, those of `benchmarks.metaworld`, and how many are left out.

    As there, scenes in which the expert's own trajectory fails when replayed are left out.
    """
    world = metaworld_piece.world_of(task)
    scenes: list[Scene] = []
    number = 0
    while len(scenes) < episodes:
        first = 100_000 * seed + metaworld_piece.FIRST_TEST
        scene = draw_scene(world.task, first + number)
        number += 1
        if metaworld_piece.expert_example(world, scene) is not None:
            scenes.append(scene)
    return scenes, number - len(scenes)


def _training_views(task: str, examples: list[Example], folder: Path) -> Iterator[Sights]:
    """Yield the views of each demonstration's scene."""
    world = metaworld_piece.world_of(task)
    scenes = [draw_scene(world.task, int(example.name)) for example in examples]
    yield from _views(task, scenes, VIEWS, _TRAINING, folder)


def _views(task: str, scenes: list[Scene], count: int, stream: int, folder: Path) -> list[Sights]:
    """Return `count` views of each scene, from their files where they exist."""
    world = metaworld_piece.world_of(task)
    paths = [folder / "views" / f"{task}_{scene.seed}_{stream}_{count}.npz" for scene in scenes]
    missing = [(s, p) for s, p in zip(scenes, paths, strict=True) if not p.exists()]
    if missing:
        with Viewer(world) as viewer:
            for scene, path in missing:
                path.parent.mkdir(parents=True, exist_ok=True)
                seen = look(world, viewer, scene, count, stream)
                temporary = path.with_suffix(".tmp.npz")
                np.savez(temporary, **{f.name: getattr(seen, f.name) for f in fields(Sights)})
                temporary.replace(path)
    read = []
    for path in paths:
        with np.load(path, allow_pickle=False) as stored:
            read.append(Sights(**{f.name: stored[f.name] for f in fields(Sights)}))
    return read


def look(world: World, viewer: Viewer, scene: Scene, count: int, stream: int) -> Sights:
    """Render `count` views of a scene; the scene's seed and the stream decide on the cameras."""
    rng = np.random.default_rng([scene.seed, stream])
    world.reset(scene)
    keypoints = true_keypoints(world).positions
    cameras = [viewer.draw(rng)[0] for _ in range(count)]
    return Sights.joined([sight(viewer.frame(T), keypoints, rng) for T in cameras])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _add_rows(results: Results, kind: str, by_task: dict[str, list[Piece]]) -> None:
    """Add a baseline's rows: at any time, and at the end."""
    name = f"metaworld/{kind}/oracle"
    for ending in ("", "/end"):
        rows = []
        for task, pieces in by_task.items():
            done = [x for p in pieces for x in (p.end if ending else p.ever)]
            note = _note(kind, task, pieces)
            rows.append(share(f"{name}/{task}{ending}", sum(done), len(done), note))
        for row in rows:
            results.add(row)
        values = [row.value for row in rows if row.value is not None]
        if len(values) < len(TASKS):
            for which in ("mean", "min"):
                why = "not all tasks were run"
                results.add(Row(f"{name}/{which}{ending}", None, "share", 0, note=why))
            continue
        count = sum(row.n for row in rows)
        successes = round(sum(v * row.n for v, row in zip(values, rows, strict=True)))
        results.add(share(f"{name}/mean{ending}", successes, count, "mean over the tasks"))
        fewest = min(row.n for row in rows)
        results.add(Row(f"{name}/min{ending}", min(values), "share", fewest, note="worst task"))
    seconds = [piece.seconds for pieces in by_task.values() for piece in pieces]
    if kind != _NOTHING and seconds:
        note = f"longest training; processor time of one core, {EFFORT[kind].steps} steps"
        results.add(Row(f"{name}/train_s", max(seconds), "s", len(seconds), note=note))


def _note(kind: str, task: str, pieces: list[Piece]) -> str:
    if not pieces:
        return "not run"
    if kind == _NOTHING:
        return "must be 0"
    paper = dict(zip(TASKS, _PAPER[kind], strict=True))[task]
    seconds = np.mean([piece.seconds for piece in pieces])
    return (
        f"trained {EFFORT[kind].steps} steps, {seconds:.0f} s of one core; the paper's "
        f"{paper:.3f} is of larger networks, longer training, other poses and protocol"
    )


if __name__ == "__main__":
    typer.run(main)
