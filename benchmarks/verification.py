"""How often the keypoints are on the right part when the VLM is often wrong.

With verification, and without: the effect behind Table II of the paper. Run it with
`python -m benchmarks.verification`. The VLM is the one of `kalm_sim.vlm_server`, reached over HTTP
by the client that talks to GPT-4o. "Wrong NN %" means: each time that it is asked for a region it
names, with that probability, another thing of the image and its cells; and each time that it is
asked for a mask it chooses, with that probability, one that is not on the part. The chances are
independent, so without verification the first choice is right at most (1 - NN %)² of the time.
Where no mask is on the part and it may say so, it says so unless it is wrong again.

A skill counts as right when at least seven of its eight keypoints lie within `NEAR` of the geoms of
the part (handle of the top drawer, lever of the coffee machine, bowl) in the reference image. With
verification, a skill that ends in a declared failure counts as not right. The truth is used by the
test VLM and by this evaluation alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.results import Results, Row, share
from kalm_core.correspondence import KeypointDetector
from kalm_core.demonstration import Demonstration
from kalm_core.distillation import Distillation, DistillationSettings, distill
from kalm_core.errors import DistillationError, NoFeasibleTrajectoryError
from kalm_core.features.view import FeatureView
from kalm_core.proposal import Mask, Region, make_mask_proposer
from kalm_core.rgbd import RgbdFrame
from kalm_core.vlm.settings import VlmSettings
from kalm_sim.posed_scene import PosedScene
from kalm_sim.scene import SceneParameters, draw_scene
from kalm_sim.synthetic import make_demonstration
from kalm_sim.tasks.registry import TASKS
from kalm_sim.true_masks import part_distance
from kalm_sim.vlm_answers import Rates
from kalm_sim.vlm_server import VlmServer
from kalm_sim.vlm_truth import TruthTable, demonstration_truth

DEMONSTRATIONS = 10
RATES = (0, 20, 40, 60)
NEAR = 0.01
ON_PART = 0.875
"""Seven of eight keypoints."""

console = Console()


@dataclass(frozen=True)
class Lesson:
    """Ten demonstrations of one task, with their features and the scenes they were made in."""

    task: str
    demonstrations: list[Demonstration] = field(default_factory=list)
    scenes: list[SceneParameters] = field(default_factory=list)
    views: list[FeatureView] = field(default_factory=list)
    posed: dict[int, PosedScene] = field(default_factory=dict)

    def share_on_part(self, result: Distillation) -> float:
        """Return the share of the keypoints near the part of the reference image."""
        index = result.reference_demonstration
        if index not in self.posed:
            self.posed[index] = PosedScene(self.scenes[index])
            self.posed[index].pose(self.demonstrations[index].joints[0])
        away = part_distance(self.posed[index], result.reference.positions)
        return float((away <= NEAR).mean())


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


def make_lesson(task: str, index: int, detector: KeypointDetector) -> Lesson:
    """Make the demonstrations of a set; a scene that the arm cannot do is replaced by the next."""
    lesson = Lesson(task)
    seed = 1000 * index
    while len(lesson.demonstrations) < DEMONSTRATIONS:
        try:
            demonstration, _ = make_demonstration(seed, frames=2, task=task)
        except NoFeasibleTrajectoryError:
            seed += 1
            continue
        lesson.demonstrations.append(demonstration)
        lesson.scenes.append(draw_scene(seed, task=task))
        lesson.views.append(detector.view(demonstration.initial))
        seed += 1
    return lesson


@dataclass
class Tally:
    """Skills of one rate.

    Attributes:
        right, wrong, failed: on the right part, on another one, declared failure.
        attempts: masks tried.
        calls: of the VLM.
    """

    right: int = 0
    wrong: int = 0
    failed: int = 0
    attempts: int = 0
    calls: int = 0

    @property
    def skills(self) -> int:
        """How many were learned or tried."""
        return self.right + self.wrong + self.failed


def learn(
    lesson: Lesson,
    server: VlmServer,
    percent: int,
    seed: int,
    settings: DistillationSettings,
    *,
    masks: RememberedMasks,
) -> Distillation | None:
    """Distil with a VLM that is wrong so often; None when failure was declared."""
    server.restart(Rates(wrong_region=percent / 100, wrong_mask=percent / 100), seed)
    try:
        return distill(
            lesson.demonstrations,
            settings,
            task=TASKS[lesson.task].sentence,
            mask_proposer=masks,
            views=lesson.views,
        )
    except DistillationError as error:
        console.print(f"  {percent} %: declared failure: {error.problem[:300]}", markup=False)
        return None


def measure(
    lesson: Lesson, seeds: range, tallies: dict[tuple[int, bool], Tally], rates: tuple[int, ...]
) -> None:
    """Distil with every rate, with and without verification, and count."""
    table = TruthTable(
        demonstration_truth(demonstration, scene)
        for demonstration, scene in zip(lesson.demonstrations, lesson.scenes, strict=True)
    )
    masks = RememberedMasks()
    with VlmServer(table) as server:
        vlm = VlmSettings(base_url=server.url, key_variable="", max_calls=1000)
        for percent in rates:
            for verify in (True, False):
                settings = DistillationSettings(
                    region_backend="vlm", mask_chooser="vlm", vlm=vlm, verify=verify
                )
                tally = tallies.setdefault((percent, verify), Tally())
                for seed in seeds:
                    result = learn(lesson, server, percent, seed, settings, masks=masks)
                    tally.calls += server.requests
                    if result is None:
                        tally.failed += 1
                        continue
                    tally.attempts += len(result.attempts)
                    on_part = lesson.share_on_part(result)
                    right = on_part >= ON_PART
                    tally.right += right
                    tally.wrong += not right
                    if verify and not right:
                        name = lesson.demonstrations[result.reference_demonstration].name
                        console.print(
                            f"  {percent} %, seed {seed}: wrong part in {name}: "
                            f"{result.region.description}, {on_part:.0%} of the keypoints near"
                        )


def distillation_seconds(lesson: Lesson) -> Row:
    """Distil with the embedded default and tell where the time goes."""
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    detector = KeypointDetector(DistillationSettings().detection)
    views = [detector.view(demonstration.initial) for demonstration in lesson.demonstrations]
    seconds["features"] = time.perf_counter() - started
    distill(lesson.demonstrations, views=views)
    total = time.perf_counter() - started
    seconds["regions, masks and verification"] = total - seconds["features"]
    parts = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    return Row("distill/seconds", round(total, 2), "s", 1, note=f"embedded default: {parts}")


def main(
    sets: Annotated[int, typer.Option(min=1, help="sets of ten demonstrations per task")] = 5,
    skills: Annotated[int, typer.Option(min=1, help="skills per set and rate")] = 5,
    tasks: Annotated[str, typer.Option(help="of the laboratory, with commas")] = ",".join(TASKS),
) -> None:
    """Measure, and write benchmarks/results/verification.json."""
    names = tasks.split(",")
    full = sets * skills * len(names) >= 60 and set(names) == set(TASKS)
    results = Results("verification", "python -m benchmarks.verification", full=full)
    detector = KeypointDetector(DistillationSettings().detection)
    tallies: dict[tuple[int, bool], Tally] = {}
    timing: Row | None = None
    for index in range(sets):
        for task in names:
            console.print(f"set {index} of {task}")
            lesson = make_lesson(task, index, detector)
            timing = timing or distillation_seconds(lesson)
            measure(lesson, range(skills * index, skills * (index + 1)), tallies, RATES)
            for (percent, verify), tally in sorted(tallies.items()):
                if verify:
                    console.print(f"  {percent} % with: {tally}")
    note = f"{sets} sets of {DEMONSTRATIONS} demonstrations of {tasks}, {skills} skills of each"
    for (percent, verify), tally in sorted(tallies.items()):
        name = f"verification/vlm{percent:02d}/{'with' if verify else 'without'}"
        results.add(share(name, tally.right, tally.skills, note))
        if verify:
            results.add(share(f"{name}/declared_failure", tally.failed, tally.skills))
            results.add(share(f"{name}/wrong_part", tally.wrong, tally.skills))
            calls = tally.calls / max(tally.skills, 1)
            results.add(Row(f"{name}/calls", round(calls, 2), "calls", tally.skills))
    if timing:
        results.add(timing)
    for row in results.rows:
        console.print(f"{row.id}: {row.value} {row.unit} (n = {row.n}) {row.note}", markup=False)
    console.print(f"written: {results.write()}")


if __name__ == "__main__":
    typer.run(main)
