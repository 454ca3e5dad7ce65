"""One episode of Table II, how it is kept on disk, and which part of the suite failed in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.results import Row, share
from kalm_core.errors import KalmError, Outcome
from kalm_sim.tasks.base import Instances

FIRST_SCENE = 3000
"""Seed of the first scene: neither a demonstration nor a scene of another benchmark."""

SETS: dict[str, Instances] = {"view": "train", "cross": "unseen"}
"""The paper's two columns: the objects of the demonstrations' kind, and other ones."""

OUTSIDE = {
    Outcome.BACKEND_UNAVAILABLE,
    Outcome.NO_IMAGE,
    Outcome.CONNECTION_LOST,
    Outcome.CLIENT_GONE,
    Outcome.TOO_SLOW,
    Outcome.INTERNAL_ERROR,
}
"""Endings that say nothing about the method."""

REPEATS = 2
"""How often an episode is done again that ended for reasons outside the method."""

CLASSES = {
    Outcome.DISTILLATION_FAILED: "proposal",
    Outcome.BAD_DEMONSTRATION: "proposal",
    Outcome.KEYPOINTS_NOT_FOUND: "detection",
    Outcome.NO_FEASIBLE_TRAJECTORY: "planning",
    Outcome.PLANNER_FAILED: "planning",
}
"""Who failed by the outcome; what is not here failed in execution."""

ASTRAY = 0.02
"""Keypoints whose median is farther than this from where they belong were not detected [m]."""


@dataclass(frozen=True)
class Episode:
    """One call of a skill.

    Attributes:
        seed: of the scene.
        outcome: name of the code that the last attempt ended with.
        message: its sentence.
        progress: by the simulator's truth, in the unit of `Task.measure`.
        success: whether that is enough.
        repeated: attempts before it that ended for reasons outside the method.
        seconds: phase -> wall time [s].
        looks: views taken.
        off: how far the found keypoints were off [m]; None where the task was done or nobody
            measured it.
        on_part: share of the skill's keypoints that are on the part, in the reference image.
        with_twin: whether it was done with the other one of two objects that look alike.
    """

    seed: int
    outcome: str
    message: str
    progress: float
    success: bool
    repeated: int
    seconds: dict[str, float]
    looks: int = 1
    off: float | None = None
    on_part: float | None = None
    with_twin: bool = False

    @property
    def failed_in(self) -> str:
        """Which part failed; empty where the task was done."""
        if self.success:
            return ""
        outcome = Outcome[self.outcome]
        if outcome in OUTSIDE:
            return "infrastructure"
        if self.on_part is not None and self.on_part < 0.5:
            return "proposal"
        if self.off is not None and self.off > ASTRAY:
            return "detection"
        return CLASSES.get(outcome, "policy" if outcome is Outcome.SUCCEEDED else "execution")


def unlearned(seed: int, error: KalmError) -> Episode:
    """Return the episode of a skill that could not be learned: it fails."""
    return Episode(seed, Outcome.DISTILLATION_FAILED.name, str(error), 0.0, False, 0, {})


class Journal:
    """Episodes on disk, one line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.episodes = [Episode(**json.loads(line)) for line in lines]

    def add(self, episode: Episode) -> None:
        """Write an episode down."""
        self.episodes.append(episode)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(episode)) + "\n")

    def take(self, episodes: Iterable[Episode]) -> None:
        """Add episodes that were done elsewhere, unless they are here."""
        done = {episode.seed for episode in self.episodes}
        for episode in episodes:
            if episode.seed not in done:
                self.add(episode)

    def missing(self, count: int) -> list[int]:
        """Return the seeds of the first `count` scenes that have no episode yet."""
        done = {episode.seed for episode in self.episodes}
        return [seed for seed in range(FIRST_SCENE, FIRST_SCENE + count) if seed not in done]

    def first(self, count: int) -> list[Episode]:
        """Return the episodes of the first `count` scenes."""
        return [e for e in self.episodes if e.seed < FIRST_SCENE + count]


def summary(id_: str, episodes: Iterable[Episode]) -> Row:
    """Return the row of a set of episodes; its note says which parts failed how often."""
    episodes = list(episodes)
    judged = [e for e in episodes if e.failed_in != "infrastructure"]
    if not judged:
        return share(id_, 0, 0)
    failed = Counter(e.failed_in for e in judged if not e.success)
    notes = [", ".join(f"{n} {part}" for part, n in failed.most_common()) or "none failed"]
    repeated, lost = sum(e.repeated for e in episodes), len(episodes) - len(judged)
    spent = [sum(e.seconds.values()) for e in judged if e.seconds]
    if spent:
        notes.append(f"{median(spent):.0f} s each in the median")
    if repeated or lost:
        notes.append(f"{repeated} attempts done again, {lost} episodes lost to infrastructure")
    return share(id_, sum(e.success for e in judged), len(judged), "; ".join(notes))
