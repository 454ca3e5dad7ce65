"""Which policy a skill gets: none is better than the best of the simple ones until it shows it.

All candidates predict demonstrations that they were not made of. The simple ones cost nothing, so
each demonstration is left out by itself. The diffusion model is trained anew for every group that
is left out, as long as it is ahead of the best of the simple ones there. Errors are compared by
the root of the mean square, which one bad miss spoils: a robot that misses once in ten is no good.
But not to do what a stray demonstration did is no miss: each counts by its trust. The record of it
goes into the skill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kalm_core.errors import GoalError
from kalm_core.policy.alignment import AlignedDemonstrations
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.base import Example, Policy
from kalm_core.policy.evaluation import TrajectoryErrors, median_errors, trajectory_errors
from kalm_core.policy.regression_policy import RegressionPolicy
from kalm_core.policy.rigid import RigidTransferPolicy
from kalm_core.policy.settings import PolicySettings
from kalm_core.policy.smoothness import roughness
from kalm_core.policy.training import MIN_EXAMPLES, Share, TrainingRecord, train
from kalm_core.progress import Progress

_LEVER = 0.1  # how much error a rotation counts for: that of a point 0.1 m off [m/rad]
_SMOOTH = 0.0005  # a demonstration that bends less than this per pose counts as this rough [m]
_ROUGHEST = 1.5  # a candidate that bends this much more than the demonstrations is not taken
_MOST_LEFT_OUT = 20  # demonstrations; of more, as many are, evenly spread
_REPEATED = 2  # so few demonstrations are repeated
_LEAST_SAY = 0.25  # what a stray counts for here: a minority may be right about its own objects
_ADVANTAGE = {"linear": 1.0, "mean": 0.8, "rigid": 0.5, "diffusion": 0.85}
"""A candidate takes over when its error is below this share of the best before it. That the hand
goes along with the keypoints is known beforehand, so the linear map comes first, though ten errors
cannot always show it. One replayed demonstration repeats what that hand did by chance, on its way
to the object too, which is most of the error; so it has to be clearly nearer."""


@dataclass(frozen=True)
class Comparison:
    """How well each candidate predicted demonstrations that it was not made of.

    Attributes:
        chosen: name of the policy that the skill gets.
        scores: candidate -> root mean square over the demonstrations, weighted by their trust, of
            position error plus 0.1 m times rotation error [m].
        rival: that of the best simple candidate in the groups in which the diffusion model was
            compared [m]; NaN when it was not.
        errors: candidate -> median errors.
        roughness: candidate -> how much more its predictions bend from pose to pose than the
            roughest demonstration, median; above 1.5 a candidate is not taken.
        reason: one sentence.
    """

    chosen: str
    scores: dict[str, float]
    rival: float
    errors: dict[str, TrajectoryErrors]
    roughness: dict[str, float]
    reason: str


@dataclass(frozen=True)
class LearnedPolicy:
    """A policy and how it was come by.

    Attributes:
        policy: what the skill gets.
        arrangement: of the keypoints, in which it predicts.
        comparison: with the other candidates.
        trust: name of a demonstration -> how much it counts, 1 is as much as on average.
        training: of the diffusion model on all demonstrations; None when it was not trained.
        fit: errors of the policy on the demonstrations that it was made of.
        seconds: wall time.
    """

    policy: Policy
    arrangement: Arrangement
    comparison: Comparison
    trust: dict[str, float]
    training: TrainingRecord | None
    fit: TrajectoryErrors
    seconds: float


def learn_policy(
    examples: Sequence[Example],
    settings: PolicySettings | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> LearnedPolicy:
    """Make all candidates, compare them, and return the best.

    One demonstration or two are repeated: of one nothing can be left out, of two that leaves one,
    from which all candidates predict the same, and a mean of two is what neither did. From three
    on, the linear map, the mean and the most similar demonstration are compared; the diffusion
    model too, where every group that is left out leaves it two or more.

    Args:
        examples: demonstrations of one skill, one or more.
        settings: of the diffusion model and the comparison; None takes the defaults. With `folds`
            0 nothing is compared, and the diffusion model is taken where it can be trained.
        seed: see `train`.
        progress: stage "train".
        folder: see `train`; trainings without some demonstrations have folders of their own in it.

    Raises:
        KeypointsNotFoundError: an example has fewer than three keypoints that fit together.
        GoalError: no example.
        CancelledError: the caller asked to stop.
    """
    settings, progress = settings or PolicySettings(), progress or Progress()
    if not examples:
        raise GoalError("a policy needs at least one demonstration")
    start = time.perf_counter()
    folds = min(settings.folds, len(examples))
    if folds == 1:
        folds = 2
    comparison = _compare(examples, folds, settings, seed=seed, progress=progress, folder=folder)
    training = None
    if comparison.chosen == "diffusion":
        last = Share(progress, folds / (folds + 1), 1.0)
        policy: Policy
        policy, training = train(examples, settings, seed, last, folder)
        arrangement = policy.arrangement
    else:
        arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
        policy = SIMPLE[comparison.chosen](examples, arrangement)
    progress.step("train", 1.0, comparison.reason)
    trust = {example.name: say for example, say in _trusted(examples)}
    fitted = median_errors(policy, examples)
    seconds = time.perf_counter() - start
    return LearnedPolicy(policy, arrangement, comparison, trust, training, fitted, seconds)


SIMPLE: dict[str, Callable[[Sequence[Example], Arrangement], Policy]] = {
    "linear": RegressionPolicy.from_examples,
    "mean": lambda examples, arrangement: RegressionPolicy.from_examples(
        examples, arrangement, linear=False
    ),
    "rigid": RigidTransferPolicy.from_examples,
}
"""The policies that need no training, by name."""


def _compare(
    examples: Sequence[Example],
    folds: int,
    settings: PolicySettings,
    *,
    seed: int,
    progress: Progress,
    folder: Path | None,
) -> Comparison:
    """Leave out each group in turn and choose."""
    if settings.folds == 0 and len(examples) >= MIN_EXAMPLES:
        return Comparison("diffusion", {}, np.nan, {}, {}, "nothing was compared")
    if len(examples) <= _REPEATED:
        count = ("one demonstration", "two demonstrations")[len(examples) - 1]
        why = f"of {count} nothing can be compared: the most similar is repeated"
        return Comparison("rigid", {}, np.nan, {}, {}, why)
    found = _left_out(examples, seed)
    scores = {name: held.score for name, held in found.items()}
    roughest = max(_SMOOTH, *(roughness(e.trajectory) for e in examples))
    rough = {name: float(np.median(held.bends)) / roughest for name, held in found.items()}
    smooth = [name for name in SIMPLE if rough[name] <= _ROUGHEST] or [
        min(rough, key=rough.__getitem__)
    ]
    chosen = smooth[0]
    for name in smooth:
        if scores[name] < _ADVANTAGE[name] * scores[chosen]:
            chosen = name
    rival = np.nan
    largest_group = -(-len(examples) // folds)
    if len(examples) - largest_group >= MIN_EXAMPLES:
        trained, simple = _race(
            examples, folds, SIMPLE[chosen], settings, seed=seed, progress=progress, folder=folder
        )
        rival = simple.score
        found["diffusion"] = trained
        scores["diffusion"] = trained.score
        rough["diffusion"] = float(np.median(trained.bends)) / roughest
        better = scores["diffusion"] < _ADVANTAGE["diffusion"] * rival
        if better and rough["diffusion"] <= _ROUGHEST:
            chosen = "diffusion"
    listed = ", ".join(
        f"{name} {1e3 * score:.1f} mm" + ("" if rough[name] <= _ROUGHEST else " (too rough)")
        for name, score in scores.items()
    )
    if np.isfinite(rival):
        listed += f" (the best simple one in the same groups {1e3 * rival:.1f} mm)"
    return Comparison(
        chosen,
        scores,
        rival,
        {name: _median(held.errors) for name, held in found.items()},
        rough,
        f"{chosen} is taken; errors on demonstrations left out: {listed}",
    )


@dataclass
class _Held:
    """Of each demonstration left out: its trust, errors of the first sample, how that bends."""

    trust: list[float] = field(default_factory=list)
    errors: list[TrajectoryErrors] = field(default_factory=list)
    bends: list[float] = field(default_factory=list)

    def add(self, policy: Policy, unseen: Sequence[tuple[Example, float]], seed: int) -> None:
        for example, trust in unseen:
            sample = policy.sample(example.keypoints, 5, seed)[0]
            self.trust.append(trust)
            self.errors.append(trajectory_errors(sample, example.trajectory))
            self.bends.append(roughness(sample))

    @property
    def score(self) -> float:
        """The error that `Comparison.scores` has."""
        each = np.array([e.position + _LEVER * e.rotation for e in self.errors])
        say = np.maximum(self.trust, _LEAST_SAY)
        return float(np.sqrt(np.average(each**2, weights=say)))


def _trusted(examples: Sequence[Example]) -> list[tuple[Example, float]]:
    """Return each demonstration with how much it counts, 1 is as much as on average."""
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    trust = AlignedDemonstrations.from_examples(examples, arrangement).trust
    return list(zip(examples, (len(examples) * trust).tolist(), strict=True))


def _left_out(examples: Sequence[Example], seed: int) -> dict[str, _Held]:
    """Predict each demonstration with the simple policies made of the others."""
    held = {name: _Held() for name in SIMPLE}
    trusted, count = _trusted(examples), min(len(examples), _MOST_LEFT_OUT)
    for index in np.linspace(0, len(examples) - 1, count).round().astype(int):
        seen = [e for i, e in enumerate(examples) if i != index]
        arrangement = Arrangement.from_demonstrations([e.keypoints for e in seen])
        for name, make in SIMPLE.items():
            held[name].add(make(seen, arrangement), [trusted[index]], seed)
    return held


def _race(
    examples: Sequence[Example],
    folds: int,
    make: Callable[[Sequence[Example], Arrangement], Policy],
    settings: PolicySettings,
    *,
    seed: int,
    progress: Progress,
    folder: Path | None,
) -> tuple[_Held, _Held]:
    """Predict each group with the network trained on the others, and with a simple policy.

    A network that is behind after a group is not trained for the next one.
    """
    trained, simple = _Held(), _Held()
    trusted = _trusted(examples)
    for fold in range(folds):
        seen = [e for i, e in enumerate(examples) if i % folds != fold]
        unseen = trusted[fold::folds]
        share = Share(progress, fold / (folds + 1), (fold + 1) / (folds + 1))
        own = None if folder is None else folder / f"without_group_{fold}"
        policy, _ = train(seen, settings, seed, share, own)
        trained.add(policy, unseen, seed)
        arrangement = Arrangement.from_demonstrations([e.keypoints for e in seen])
        simple.add(make(seen, arrangement), unseen, seed)
        if trained.score >= simple.score:
            break
    return trained, simple


def _median(errors: Sequence[TrajectoryErrors]) -> TrajectoryErrors:
    columns = np.array([[e.position, e.first, e.grasp, e.rotation] for e in errors])
    return TrajectoryErrors(*(float(v) for v in np.median(columns, axis=0)))
