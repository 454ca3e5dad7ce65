"""The setting *detected* of the Meta-World benchmark: keypoints by our own pipeline, in pictures.

A demonstration is one RGB-D picture of its scene at its beginning and the hand's motion. Proposal
where the hand works, verification in all demonstrations, distillation and detection are those of
the suite, with settings for a camera that stands 1.5 to 2 m away and looks at bright, plain
objects from anywhere around their front. A test scene gets one picture; what is not found there is
a failure. Where the object really is only judges.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from kalm_core.correspondence import CorrespondenceSettings, KeypointDetector, require_found
from kalm_core.demonstration import Demonstration
from kalm_core.distillation import Distillation, DistillationSettings, distill
from kalm_core.errors import DemonstrationError, KalmError
from kalm_core.examples import make_examples
from kalm_core.features import FeatureSettings
from kalm_core.features.color import ColorSettings
from kalm_core.features.fpfh import FpfhSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.base import Example
from kalm_core.proposal.geometric import GeometricSettings
from kalm_core.proposal.proximity import ProximitySettings
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, invert_pose, make_pose, transform_points
from kalm_core.segmentation import SegmentationSettings
from kalm_sim.metaworld.expert import demonstrate
from kalm_sim.metaworld.replay import replay
from kalm_sim.metaworld.scenes import Scene, draw_scene
from kalm_sim.metaworld.views import Viewer
from kalm_sim.metaworld.world import World

FAR = 2.4
"""Farthest depth that is looked at: the object and the table around it [m]."""

DISTILLATION = DistillationSettings(
    # The hand never closes on the part here: it hooks, pushes or lifts it, and comes to rest.
    proximity=ProximitySettings(radius=0.15, rest=0.04),
    # A pixel is 2 mm, not 0.7 mm as in the hand's camera: steps between pixels are larger, and
    # parts have fewer of them.
    geometric=GeometricSettings(
        depth_step=0.02, preferences=(100.0, 300.0, 1500.0), min_extent=0.04, max_iou=0.8
    ),
    correspondence=CorrespondenceSettings(
        # One and the same object in all scenes, plain and bright: its colours say the most.
        weights={"color": 0.6, "fpfh": 0.4},
        features=FeatureSettings(
            color=ColorSettings(max_range=FAR),
            fpfh=FpfhSettings(radius=0.08, normal_radius=0.03, max_range=FAR),
        ),
        stride=4,
        max_range=FAR,
        search="votes",
        min_score=0.5,
        # Much of the object is hidden in every view, so a quarter of the keypoints is enough.
        min_confidence=0.25,
        min_found=0.25,
    ),
    candidates=60,
    keypoints=12,
    # From anywhere around the front a point is hidden in some of ten views.
    delta=0.4,
    surroundings=16,
    surroundings_reach=0.25,
    # The lever is lifted with the palm and the button pressed with it, 5 to 10 cm off the tips.
    work_slack=0.12,
    work_reach=0.15,
)

_T_PALM_TIPS = make_pose(np.eye(3), (0.0, 0.0, 0.045))
"""Between the fingers' tips, as our robot's tool, in `World`'s tool frame."""
_MEET = 0.02
"""Opening that is measured when the fingers touch each other [m]."""
_STRAY = 0.06
"""As in learning: a grasp farther than this from where most are teaches nothing [m]."""


@dataclass(frozen=True)
class Look:
    """One picture of a scene and what was found in it.

    Attributes:
        keypoints: found, or Null.
        refused: views drawn before that do not show the object.
        errors: distance of each keypoint found from where it is on the object [m].
    """

    keypoints: DetectedKeypoints
    refused: int
    errors: Array


@dataclass(frozen=True)
class Eye:
    """Keypoints distilled from the demonstrations of a task, and how they are found.

    Attributes:
        examples: what the policies learn from.
        distillation: the keypoints and what was tried.
        detector: φ.
        on_object: (K, 3) keypoints in the frame of the object [m]; judges, nothing else.
        left_out: name -> why a demonstration does not teach.
        refused: views of the demonstrations' scenes that do not show the object.
    """

    examples: list[Example]
    distillation: Distillation
    detector: KeypointDetector
    on_object: Array
    left_out: dict[str, KalmError]
    refused: int

    def look(self, world: World, scene: Scene) -> Look:
        """Take one picture of a scene at its beginning, and find the keypoints in it."""
        frame, refused = take_picture(world, scene)
        found = self.detector.detect(frame, self.distillation.reference)
        true = transform_points(scene.T_base_object, self.on_object)
        errors = np.linalg.norm(found.positions - true, axis=1)[found.found]
        return Look(found, refused, errors)

    def require(self, look: Look) -> None:
        """Pass when enough was found.

        Raises:
            KeypointsNotFoundError: it was not.
        """
        require_found(look.keypoints, self.detector.settings)


def take_picture(world: World, scene: Scene) -> tuple[RgbdFrame, int]:
    """Return one picture of a scene before the hand moves, and how many views were left out."""
    world.reset(scene)
    viewer = _viewer(world)
    T_base_cam, refused = viewer.draw(np.random.default_rng([scene.seed, 13]))
    return viewer.frame(T_base_cam), refused


@lru_cache(maxsize=5)
def _viewer(world: World) -> Viewer:
    viewer = Viewer(world)
    atexit.register(viewer.close)  # before the graphics library is gone
    return viewer


def learn_keypoints(world: World, seeds: Sequence[int], cut: SegmentationSettings) -> Eye:
    """Distil keypoints from the demonstrations in the scenes of some seeds.

    Args:
        world: of the task.
        seeds: of scenes in which the expert succeeds.
        cut: where an execution begins.

    Raises:
        DistillationError: no part could be found again in the demonstrations.
    """
    scenes = [draw_scene(world.task, seed) for seed in seeds]
    demonstrations, refused = [], 0
    for scene in scenes:
        motion = demonstrate(world, scene, str(scene.seed))
        frame, others = take_picture(world, scene)
        demonstrations.append(replace(motion, frames=(frame,)))
        refused += others
    result = distill([_as_our_robot(item) for item in demonstrations], DISTILLATION)
    left_out: dict[str, KalmError] = {}
    examples = make_examples(demonstrations, result.detected, cut, _STRAY, left_out.__setitem__)
    examples = _that_replay(world, examples, left_out.__setitem__)
    seed = scenes[result.reference_demonstration]
    return Eye(
        examples,
        result,
        KeypointDetector(DISTILLATION.detection),
        transform_points(invert_pose(seed.T_base_object), result.reference.positions),
        left_out,
        refused,
    )


def _as_our_robot(demonstration: Demonstration) -> Demonstration:
    """Return the demonstration with the tool between the fingers' tips, and closed fingers at 0."""
    gripper = np.where(demonstration.gripper < _MEET, 0.0, demonstration.gripper)
    return replace(demonstration, T_base_ee=demonstration.T_base_ee @ _T_PALM_TIPS, gripper=gripper)


def _that_replay(
    world: World, examples: Sequence[Example], leave_out: Callable[[str, KalmError], None]
) -> list[Example]:
    """Return the examples that do the task when replayed in their own scene."""
    kept = []
    for example in examples:
        world.reset(draw_scene(world.task, int(example.name)))
        if replay(world, example.trajectory).end:
            kept.append(example)
        else:
            failed = DemonstrationError("its execution fails when it is replayed in its own scene")
            leave_out(example.name, failed)
    return kept
