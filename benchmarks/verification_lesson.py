"""Ten demonstrations of one task, what is known of them, and what was found out about them.

All that does not depend on the VLM's answers is computed once: features, masks of a region, the
examination of a mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from kalm_core.demonstration import Demonstration
from kalm_core.distillation import Attempt, Distillation, DistillationSettings, Examiner
from kalm_core.errors import NoFeasibleTrajectoryError
from kalm_core.evidence import Evidence
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.proposal import Mask, Region, make_mask_proposer
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.verification import CandidateMatches, Verifier
from kalm_sim.posed_scene import PosedScene
from kalm_sim.scene import SceneParameters, draw_scene
from kalm_sim.synthetic import make_demonstration
from kalm_sim.true_masks import part_distance

DEMONSTRATIONS = 10


class RememberedMasks:
    """The default masks; a region that was segmented before is not segmented again."""

    def __init__(self) -> None:
        self._proposer = make_mask_proposer(DistillationSettings().mask_backend)
        self._known: dict[tuple[int, bytes], list[Mask]] = {}

    def propose(self, frame: RgbdFrame, region: Region) -> list[Mask]:
        """See `MaskProposer.propose`."""
        key = (region.demonstration, region.mask.tobytes())
        if key not in self._known:
            self._known[key] = self._proposer.propose(frame, region)
        return self._known[key]


class RememberingExaminer(Examiner):
    """An examiner that does not examine the same pixels twice.

    It leaves out what comes after the verdict, for the verdict and where the keypoints lie is all
    that is judged here: no averaged features, no calibration, no detection.
    """

    def examine(
        self, region: Region, mask: Mask, rank: int, min_span: float
    ) -> Distillation | Attempt:
        """See `Examiner.examine`."""
        known = self.__dict__.setdefault("_known", {})
        key = (region.demonstration, mask.pixels.tobytes(), min_span)
        if key not in known:
            known[key] = super().examine(region, mask, rank, min_span)
        result = known[key]
        if isinstance(result, Distillation):
            last = replace(result.attempts[-1], mask=rank)
            return replace(result, region=region, mask=mask, attempts=(last,))
        evidence = replace(result.evidence or Evidence(region), region=region)
        return replace(result, mask=rank, evidence=evidence)

    def detected(self, reference: ReferenceKeypoints) -> tuple[DetectedKeypoints, ...]:
        """See `Examiner.detected`."""
        return ()

    def learned(
        self, verifier: Verifier, reference: ReferenceKeypoints, matches: CandidateMatches
    ) -> tuple[ReferenceKeypoints, tuple[DetectedKeypoints, ...]]:
        """See `Examiner.learned`."""
        return reference, ()


@dataclass(frozen=True)
class Lesson:
    """Ten demonstrations of one task and the scenes they were made in."""

    task: str
    demonstrations: list[Demonstration] = field(default_factory=list)
    scenes: list[SceneParameters] = field(default_factory=list)
    posed: dict[int, PosedScene] = field(default_factory=dict)

    def away(self, index: int, points: Array) -> Array:
        """Return the distances [m] of (N, 3) points of a demonstration to its true part."""
        if index not in self.posed:
            self.posed[index] = PosedScene(self.scenes[index])
            self.posed[index].pose(self.demonstrations[index].joints[0])
        return part_distance(self.posed[index], points)


def make_lesson(task: str, index: int, frames: int = 2) -> Lesson:
    """Make the demonstrations of a set; a scene that the arm cannot do is replaced by the next.

    Args:
        task: of the laboratory.
        index: of the set; sets share no scene.
        frames: images of each demonstration.
    """
    lesson = Lesson(task)
    seed = 1000 * index
    while len(lesson.demonstrations) < DEMONSTRATIONS:
        try:
            demonstration, _ = make_demonstration(seed, frames=frames, task=task)
        except NoFeasibleTrajectoryError:
            seed += 1
            continue
        lesson.demonstrations.append(demonstration)
        lesson.scenes.append(draw_scene(seed, task=task))
        seed += 1
    return lesson
