"""Success in Meta-World: oracle keypoints, found ones, displaced ones, other shapes, few examples.

Run it with `make bench-metaworld`; `ARGS="--settings shape --tasks lever-pull"` runs one table of
it. Every finished piece (setting, task, seed) is kept in `out/metaworld`, and a run that was cut
goes on with the next one.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.metaworld_figure import draw
from benchmarks.metaworld_piece import BASELINES, OURS, SETTINGS, Piece, run_piece
from benchmarks.results import Results, Row, share
from kalm_sim.metaworld.tasks import TASKS

_PAPER = (0.770, 0.923, 0.797, 0.973, 0.617)  # table I, in the order of TASKS
_FULL_EPISODES, _FULL_SEEDS = 20, 1

console = Console()


def main(  # noqa: PLR0917 - options of a command
    settings: Annotated[str, typer.Option(help="names, comma-separated")] = ",".join(SETTINGS),
    tasks: Annotated[str, typer.Option(help="names, comma-separated")] = ",".join(TASKS),
    seeds: Annotated[int, typer.Option(min=1)] = _FULL_SEEDS,
    episodes: Annotated[int, typer.Option(min=1, help="per piece")] = _FULL_EPISODES,
    folder: Annotated[Path, typer.Option(help="of the finished pieces")] = Path("out/metaworld"),
    finished: Annotated[bool, typer.Option(help="run nothing, take what is finished")] = False,
    update: Annotated[bool, typer.Option(help="keep the other rows of the results")] = False,
) -> None:
    """Run the pieces that are missing and write the results."""
    chosen_settings, chosen_tasks = settings.split(","), tasks.split(",")
    pieces: dict[tuple[str, str], list[Piece]] = {}
    for seed in range(seeds):
        for task in chosen_tasks:
            for setting in chosen_settings:
                known = pieces.setdefault((setting, task), [])
                piece = _piece(folder, setting, task, seed, episodes, not finished)
                if piece is None:
                    continue
                known.append(piece)
                console.print(_line(setting, task, seed, piece), highlight=False)
    full = (
        set(chosen_settings) == set(SETTINGS)
        and set(chosen_tasks) == set(TASKS)
        and seeds >= _FULL_SEEDS
        and episodes >= _FULL_EPISODES
        and all(pieces.values())
    )
    results = Results("metaworld", "make bench-metaworld", full)
    for setting in chosen_settings:
        for policy in (OURS, *BASELINES):
            _add_rows(results, setting, policy, {t: pieces[setting, t] for t in chosen_tasks})
        for task in chosen_tasks:
            _add_perception(results, setting, task, pieces[setting, task])
    written = results.write(update=update)
    console.print(f"written: {written}")
    if (full or update) and not finished:
        console.print(f"drawn: {draw(json.loads(written.read_text()))}")


def _piece(  # noqa: PLR0917 - a piece has four coordinates
    folder: Path, setting: str, task: str, seed: int, episodes: int, run: bool
) -> Piece | None:
    """Return a piece from its file, or run it and write the file.

    When it may not be run, any number of episodes will do; None when there is no file at all.
    """
    path = folder / f"{setting}_{task}_{seed}_{episodes}.json"
    if path.exists():
        return Piece(**json.loads(path.read_text()))
    if not run:
        others = folder.glob(f"{setting}_{task}_{seed}_*.json")
        known = [Piece(**json.loads(other.read_text())) for other in others]
        return max(known, key=lambda piece: len(piece.end[OURS]), default=None)
    piece = run_piece(SETTINGS[setting], task, seed, episodes)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(piece)))
    temporary.replace(path)
    return piece


def _line(setting: str, task: str, seed: int, piece: Piece) -> str:
    shares = ", ".join(
        f"{name} {sum(piece.ever[name])}/{sum(piece.end[name])}" for name in (OURS, *BASELINES)
    )
    total = len(piece.end[OURS])
    return (
        f"{setting} {task} {seed}: of {total}, any time / end: {shares} ({piece.chosen}, "
        f"{piece.seconds:.0f} s, {piece.refused} scenes refused)"
    ) + (f"; keypoints found in {sum(piece.found)}" if piece.found else "")


def _add_rows(results: Results, setting: str, policy: str, by_task: dict[str, list[Piece]]) -> None:
    """Add a policy's rows of one setting: at any time, and at the end."""
    name = f"metaworld/{setting}" if policy == OURS else f"metaworld/{policy}/{setting}"
    for at_end in (False, True):
        ending = "/end" if at_end else ""
        values, successes = [], 0
        for task, pieces in by_task.items():
            done = [x for p in pieces for x in (p.end if at_end else p.ever)[policy]]
            row = share(f"{name}/{task}{ending}", sum(done), len(done), _note(policy, task, pieces))
            results.add(row)
            values.append(row.value or 0.0)
            successes += sum(done)
        if not all(by_task.values()):
            for kind in ("mean", "min"):
                why = "not all tasks were run"
                results.add(Row(f"{name}/{kind}{ending}", None, "share", 0, note=why))
            continue
        counts = {sum(len(p.end[policy]) for p in pieces) for pieces in by_task.values()}
        if len(counts) == 1:  # then the mean over the tasks is that of all episodes
            count = counts.pop() * len(by_task)
            results.add(share(f"{name}/mean{ending}", successes, count, "mean over the tasks"))
        else:
            why = "mean over the tasks, which had different numbers of episodes"
            mean = sum(values) / len(values)
            results.add(Row(f"{name}/mean{ending}", mean, "share", min(counts), note=why))
            count = min(counts)
        results.add(Row(f"{name}/min{ending}", min(values), "share", count, note="worst task"))


def _add_perception(results: Results, setting: str, task: str, pieces: list[Piece]) -> None:
    """Add what became of the keypoints, where they were looked for."""
    found = [x for piece in pieces for x in piece.found]
    if not found:
        return
    name = f"metaworld/{setting}/{task}"
    ends = [x for piece in pieces for x in piece.ever[OURS]]
    missed = sum(there and not done for there, done in zip(found, ends, strict=True))
    views = sum(piece.views_refused for piece in pieces)
    taught = ", ".join(str(piece.taught) for piece in pieces)
    errors = [x for piece in pieces for x in piece.errors]
    about = "distance of the keypoints found from where they are on the object"
    results.add(
        share(
            f"{name}/not_found",
            len(found) - sum(found),
            len(found),
            f"too few keypoints in one picture, counted as a failure; {views} views left out in "
            f"which the object is hidden; {taught} of the demonstrations teach",
        )
    )
    results.add(share(f"{name}/policy_failed", missed, len(found), "though keypoints were found"))
    for kind, percent in (("median", 50), ("p95", 95)):
        value = float(np.percentile(errors, percent)) if errors else None
        results.add(Row(f"{name}/keypoint_error_{kind}", value, "m", len(errors), note=about))
    seconds = float(np.mean([piece.episode_s for piece in pieces]))
    why = "wall time: pictures, detection, all policies, on shared cores"
    results.add(Row(f"{name}/episode_s", seconds, "s", len(found), note=why))


def _note(policy: str, task: str, pieces: list[Piece]) -> str:
    if policy != OURS or not pieces:
        return ""
    paper = dict(zip(TASKS, _PAPER, strict=True))[task]
    taken = ", ".join(piece.chosen for piece in pieces)
    refused = sum(piece.refused for piece in pieces)
    return (
        f"taken: {taken}; {refused} scenes left out in which the expert's own trajectory fails; "
        f"the paper's {paper:.3f} is of other perception, poses and protocol"
    )


if __name__ == "__main__":
    typer.run(main)
