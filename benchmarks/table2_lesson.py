"""The demonstrations of a task and the skills learned from them, as Table II needs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from kalm_core.bags import read_demonstration
from kalm_core.correspondence_settings import CorrespondenceSettings
from kalm_core.demonstration import Demonstration
from kalm_core.distillation_settings import DistillationSettings
from kalm_core.errors import DemonstrationError, DistillationError, RobotError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.learning import LearningSettings, learn_skill
from kalm_core.progress import Progress
from kalm_core.skill import Skill, load_skill
from kalm_core.vlm.settings import VlmSettings
from kalm_ros.demo import laboratory
from kalm_sim.posed_scene import PosedScene
from kalm_sim.scene import SceneParameters, draw_scene
from kalm_sim.tasks.base import Task
from kalm_sim.true_masks import part_distance
from kalm_sim.vlm_answers import Rates
from kalm_sim.vlm_server import VlmServer
from kalm_sim.vlm_truth import TruthTable, demonstration_truth

DEMONSTRATIONS = 10
ON_PART = 0.01
"""A keypoint this near to the true part is on it [m]."""

console = Console()


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: of the row.
        verify: whether keypoints are verified.
        wrong: how often each answer of the test VLM is wrong; None asks no VLM.
        true_keypoints: take the simulator's keypoints at run time, the ceiling.
        search: look from higher up when keypoints are not found (`skill_node`'s `search`).
        skills: learned with different seeds of the VLM's chance; episodes take turns.
        demonstrations: to learn from.
    """

    name: str
    verify: bool = True
    wrong: float | None = None
    true_keypoints: bool = False
    search: bool = False
    skills: int = 1
    demonstrations: int = DEMONSTRATIONS

    @property
    def learned_as(self) -> str:
        """Name of the folder of its skills: methods that differ at run time alone share them."""
        return "kalm" if self.true_keypoints or self.search else self.name

    def settings(self, url: str = "") -> LearningSettings:
        """Return what it learns with; `url` is that of the test VLM."""
        correspondence = CorrespondenceSettings(verify=self.verify)
        distillation = DistillationSettings(verify=self.verify, correspondence=correspondence)
        if self.wrong is not None:
            asked = {
                "region_backend": "vlm",
                "mask_chooser": "vlm",
                "vlm": VlmSettings(base_url=url, key_variable="", max_calls=200),
            }
            distillation = distillation.model_copy(update=asked)
        return LearningSettings(distillation=distillation)


@dataclass(frozen=True)
class Learned:
    """A skill with what only evaluation knows of it.

    Attributes:
        skill: from the bags.
        reference_scene: in which its keypoints were chosen.
        on_part: share of them that are on the true part there.
    """

    skill: Skill
    reference_scene: SceneParameters
    on_part: float


class Lesson:
    """The demonstrations of a task, seeds 0 to 9, recorded through the graph.

    Args:
        root: folder of the task; bags that are there are used.
        task: of the laboratory.
    """

    def __init__(self, root: Path, task: Task) -> None:
        self.root, self.task = root, task

    def bags(self) -> list[Path]:
        """Return the folders of the demonstrations, after recording those that are missing.

        A bag is named by the seed of its scene. A demonstration in which the arm is held up is
        shown again in another scene, as a person would do.
        """
        folder = self.root / "demonstrations"
        folder.mkdir(parents=True, exist_ok=True)
        there = _bags(folder)
        if len(there) < DEMONSTRATIONS:
            skills = self.root / "skills"
            with laboratory(folder, skills, self.task, _silent) as (_, operator):
                seed = int(there[-1].name) + 1 if there else 0
                while len(_bags(folder)) < DEMONSTRATIONS:
                    try:
                        show = partial(operator.demonstrate, seed, f"{seed:02d}", "train")
                        operator.persistently(show)
                    except RobotError as error:
                        console.print(f"{self.task.name} {seed} is not shown: {error}")
                    seed += 1
        return _bags(folder)[:DEMONSTRATIONS]

    def skills(self, method: Method, number: int = 0) -> Path:
        """Return the folder that holds a method's skill."""
        return self.root / method.learned_as / f"skill_{number}"

    def is_learned(self, method: Method, number: int = 0) -> bool:
        """Tell whether a method's skill is there."""
        return (self.skills(method, number) / self.task.skill).is_dir()

    def learn(self, method: Method, number: int = 0) -> Learned:
        """Return a method's skill, learned where it is missing.

        Args:
            method: how.
            number: which of its skills: the seed of the VLM's chance.

        Raises:
            DistillationError: it cannot be learned; that is kept too, the same call fails at once.
        """
        root, bags = self.skills(method, number), self.bags()[: method.demonstrations]
        if not self.is_learned(method, number):
            refused = root / "refused.txt"
            if refused.exists():
                raise DistillationError(refused.read_text())
            with self._vlm(method, bags, number) as url, console.status(f"learning {root}"):
                try:
                    self._learn(method, bags, root, url)
                except (DistillationError, DemonstrationError) as error:
                    root.mkdir(parents=True, exist_ok=True)
                    refused.write_text(str(error))
                    raise DistillationError(error.problem, error.remedy) from error
        skill = load_skill(root / self.task.skill)
        name = str(skill.record["reference_demonstration"])
        scene = self._scene(name)
        return Learned(skill, scene, self._on_part(root, skill, scene, bags[0].parent / name))

    def _learn(self, method: Method, bags: list[Path], root: Path, url: str) -> None:
        task, settings = self.task, method.settings(url)
        learn_skill(task.skill, task.sentence, bags, root, settings, progress=Progress())

    def _scene(self, bag: str) -> SceneParameters:
        return draw_scene(int(bag), task=self.task.name, instances="train")

    def _on_part(self, root: Path, skill: Skill, scene: SceneParameters, bag: Path) -> float:
        known = root / "on_part.json"
        if not known.exists():
            posed = PosedScene(scene)
            posed.pose(_read(bag).joints[0])
            near = part_distance(posed, skill.reference.positions) <= ON_PART
            known.write_text(json.dumps(float(near.mean())))
        return float(json.loads(known.read_text()))

    @contextmanager
    def _vlm(self, method: Method, bags: list[Path], seed: int) -> Iterator[str]:
        """Serve the test VLM where a method asks one; gives its address."""
        if method.wrong is None:
            yield ""
            return
        table = TruthTable()
        for bag in bags:
            demonstration = _read(bag)
            make = partial(demonstration_truth, demonstration, self._scene(bag.name))
            table.add_later(demonstration.initial.color, make)
        rates = Rates(wrong_region=method.wrong, wrong_mask=method.wrong)
        with VlmServer(table, rates, seed=seed) as server:
            yield server.url


def _bags(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.isdigit())


def _read(bag: Path) -> Demonstration:
    return read_demonstration(bag, HandEyeSettings().T_ee_cam)


def _silent(line: str) -> None:
    """Drop what the nodes print: the outcome says it."""
