"""Which policy a skill gets: none is better than the best of the simple ones until it shows it.

All candidates predict demonstrations that they were not made of, group by group. Their errors are
compared by the root of the mean square, which one bad miss spoils: a robot that misses once in ten
is no good. The record of it goes into the skill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kalm_core.errors import GoalError
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
_ADVANTAGE = {"mean": 1.0, "linear": 0.95, "rigid": 0.7, "diffusion": 0.95}
"""A candidate takes over when its error is below this share of the best before it. One replayed
demonstration repeats what that hand did by chance; the mean does not, so it has to be clearly
nearer."""


@dataclass(frozen=True)
class Comparison:
    """How well each candidate predicted demonstrations that it was not made of.

    Attributes:
        chosen: name of the policy that the skill gets.
        scores: candidate -> root mean square over the demonstrations of position error plus 0.1 m
            times rotation error [m].
        errors: candidate -> median errors.
        roughness: candidate -> how much more its predictions bend from pose to pose than the
            roughest demonstration, median; above 1.5 a candidate is not taken.
        reason: one sentence.
    """

    chosen: str
    scores: dict[str, float]
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
        training: of the diffusion model on all demonstrations; None when it was not trained.
        fit: errors of the policy on the demonstrations that it was made of.
        seconds: wall time.
    """

    policy: Policy
    arrangement: Arrangement
    comparison: Comparison
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

    One demonstration is moved rigidly; there is nothing to compare. From two on, the mean and the
    most similar demonstration are compared; the diffusion model too, where every group that is
    left out leaves it two or more.

    Args:
        examples: demonstrations of one skill, one or more.
        settings: of the diffusion model and the comparison; None takes the defaults. With `folds`
            0 nothing is compared, and the diffusion model is taken where it can be trained.
        seed: see `train`.
        progress: stage "train".
        folder: see `train`.

    Raises:
        KeypointsNotFoundError: an example has fewer than three keypoints that fit together.
        GoalError: no example.
        CancelledError: the caller asked to stop.
    """
    settings, progress = settings or PolicySettings(), progress or Progress()
    if not examples:
        raise GoalError("a policy needs at least one demonstration")
    start = time.perf_counter()
    folds = min(settings.folds, len(examples)) if len(examples) > 1 else 0
    if folds == 1:
        folds = 2
    comparison = _compare(examples, folds, settings, seed, progress)
    training = None
    if comparison.chosen == "diffusion":
        share = Share(progress, folds / (folds + 1), 1.0)
        policy: Policy
        policy, training = train(examples, settings, seed, share, folder)
        arrangement = policy.arrangement
    else:
        arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
        policy = SIMPLE[comparison.chosen](examples, arrangement)
    progress.step("train", 1.0, comparison.reason)
    fitted = median_errors(policy, examples)
    seconds = time.perf_counter() - start
    return LearnedPolicy(policy, arrangement, comparison, training, fitted, seconds)


SIMPLE: dict[str, Callable[[Sequence[Example], Arrangement], Policy]] = {
    "mean": lambda examples, arrangement: RegressionPolicy.from_examples(
        examples, arrangement, linear=False
    ),
    "linear": RegressionPolicy.from_examples,
    "rigid": RigidTransferPolicy.from_examples,
}
"""The policies that need no training, by name."""


def _compare(
    examples: Sequence[Example],
    folds: int,
    settings: PolicySettings,
    seed: int,
    progress: Progress,
) -> Comparison:
    """Leave out each group in turn and choose."""
    if folds == 0:
        trains = len(examples) > MIN_EXAMPLES
        chosen = "diffusion" if trains else "mean"
        why = "nothing was compared" if trains else "of one demonstration nothing can be compared"
        return Comparison(chosen, {}, {}, {}, why)
    largest_group = -(-len(examples) // folds)
    trains = len(examples) - largest_group >= MIN_EXAMPLES
    names = [*SIMPLE, "diffusion"] if trains else list(SIMPLE)
    predicted: dict[str, list[TrajectoryErrors]] = {name: [] for name in names}
    bends: dict[str, list[float]] = {name: [] for name in names}
    for fold in range(folds):
        seen = [e for i, e in enumerate(examples) if i % folds != fold]
        unseen = examples[fold::folds]
        arrangement = Arrangement.from_demonstrations([e.keypoints for e in seen])
        made = {name: make(seen, arrangement) for name, make in SIMPLE.items()}
        if trains:
            share = Share(progress, fold / (folds + 1), (fold + 1) / (folds + 1))
            made["diffusion"], _ = train(seen, settings, seed, share)
        for name, policy in made.items():
            for example in unseen:
                sample = policy.sample(example.keypoints, 5, seed)[0]
                predicted[name].append(trajectory_errors(sample, example.trajectory))
                bends[name].append(roughness(sample))
    scores = {name: _score(errors) for name, errors in predicted.items()}
    roughest = max(_SMOOTH, *(roughness(e.trajectory) for e in examples))
    rough = {name: float(np.median(values)) / roughest for name, values in bends.items()}
    chosen = "mean"
    for name, share_needed in _ADVANTAGE.items():
        smooth = rough.get(name, np.inf) <= _ROUGHEST
        if smooth and scores[name] < share_needed * scores[chosen]:
            chosen = name
    listed = ", ".join(
        f"{name} {1e3 * score:.1f} mm" + ("" if rough[name] <= _ROUGHEST else " (too rough)")
        for name, score in scores.items()
    )
    return Comparison(
        chosen,
        scores,
        {name: _median(errors) for name, errors in predicted.items()},
        rough,
        f"{chosen} is taken; errors on demonstrations left out: {listed}",
    )


def _score(errors: Sequence[TrajectoryErrors]) -> float:
    each = np.array([e.position + _LEVER * e.rotation for e in errors])
    return float(np.sqrt(np.mean(each**2)))


def _median(errors: Sequence[TrajectoryErrors]) -> TrajectoryErrors:
    columns = np.array([[e.position, e.first, e.grasp, e.rotation] for e in errors])
    return TrajectoryErrors(*(float(v) for v in np.median(columns, axis=0)))
