"""One piece of the measurement: skills from one set of demonstrations, at every rate.

A piece is a file in `out/verification`; one that is there, made with the same settings, is not
made again.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.verification_lesson import (
    Lesson,
    RememberedMasks,
    RememberingExaminer,
    make_lesson,
)
from kalm_core.distillation import Distillation, DistillationSettings, distill
from kalm_core.errors import DistillationError
from kalm_core.vlm.settings import VlmSettings
from kalm_sim.tasks.registry import TASKS
from kalm_sim.vlm_answers import Rates
from kalm_sim.vlm_server import VlmServer
from kalm_sim.vlm_truth import TruthTable, demonstration_truth

RATES = (0, 20, 40, 60)
NEAR = 0.01
ON_PART = 0.875
"""Seven of eight keypoints."""
FOLDER = Path("out/verification")
_CALLS = 1000
"""Calls that a skill may take here: what the loop finds is measured, not what a budget allows."""

console = Console()


@dataclass(frozen=True)
class Trial:
    """One skill that was learned or tried.

    Attributes:
        task: of the laboratory.
        set: of demonstrations.
        seed: of the VLM's chance.
        percent: how often each of its answers is wrong.
        verify: whether there was verification.
        on_part: share of the keypoints that lie within `NEAR` of the true part; None when failure
            was declared.
        calls: of the VLM.
        attempts: masks tried; 0 when failure was declared.
        what: where the keypoints came from, or why there are none.
        seconds: processor time, without what was known from trials before.
    """

    task: str
    set: int
    seed: int
    percent: int
    verify: bool
    on_part: float | None
    calls: int
    attempts: int
    what: str
    seconds: float

    @property
    def right(self) -> bool:
        """Whether the keypoints are on the right part."""
        return self.on_part is not None and self.on_part >= ON_PART


def settings_of(verify: bool, url: str = "") -> DistillationSettings:
    """Return the defaults with the VLM asked for regions and masks."""
    vlm = VlmSettings(base_url=url, key_variable="", max_calls=_CALLS) if url else VlmSettings()
    return DistillationSettings(region_backend="vlm", mask_chooser="vlm", vlm=vlm, verify=verify)


def piece(task: str, index: int, skills: int) -> list[Trial]:
    """Return the trials of a piece, from its file where there is one."""
    mark = f"{settings_of(True).model_dump_json()} {NEAR} {ON_PART}"
    made_with = hashlib.sha256(mark.encode()).hexdigest()[:16]
    path = FOLDER / f"{task}_{index}_{skills}.json"
    if path.exists():
        content = json.loads(path.read_text())
        if content["made_with"] == made_with:
            return [Trial(**item) for item in content["trials"]]
    trials = _measure(task, index, range(skills * index, skills * (index + 1)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = {"made_with": made_with, "trials": [asdict(item) for item in trials]}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)
    return trials


def _measure(task: str, index: int, seeds: range) -> list[Trial]:
    """Distil with every rate and seed, with and without verification."""
    lesson = make_lesson(task, index)
    table = TruthTable()
    for demonstration, scene in zip(lesson.demonstrations, lesson.scenes, strict=True):
        make = partial(demonstration_truth, demonstration, scene)
        table.add_later(demonstration.initial.color, make)
    masks = RememberedMasks()
    trials = []
    with VlmServer(table) as server:
        views = None
        for verify in (True, False):
            settings = settings_of(verify, server.url)
            examiner = RememberingExaminer(lesson.demonstrations, settings, views)
            for percent in RATES:
                for seed in seeds:
                    server.restart(
                        Rates(wrong_region=percent / 100, wrong_mask=percent / 100), seed
                    )
                    trial = _try(lesson, server, (index, seed, percent), masks, examiner)
                    trials.append(trial)
                    if verify and not trial.right:
                        console.print(f"  {trial}", markup=False)
            views = examiner.views
    return trials


def _try(
    lesson: Lesson,
    server: VlmServer,
    which: tuple[int, int, int],
    masks: RememberedMasks,
    examiner: RememberingExaminer,
) -> Trial:
    """Distil once and judge."""
    index, seed, percent = which
    settings, started = examiner.settings, time.process_time()
    on_part, attempts = None, 0
    try:
        result = distill(
            lesson.demonstrations,
            settings,
            task=TASKS[lesson.task].sentence,
            mask_proposer=masks,
            examiner=examiner,
        )
    except DistillationError as error:
        what = error.problem
    else:
        on_part, attempts = _share_on_part(lesson, result), len(result.attempts)
        name = lesson.demonstrations[result.reference_demonstration].name
        what = f"{result.region.description} in {name}, mask {result.attempts[-1].mask + 1}"
    seconds = round(time.process_time() - started, 2)
    return Trial(
        lesson.task,
        index,
        seed,
        percent,
        settings.verify,
        on_part,
        server.requests,
        attempts,
        what,
        seconds,
    )


def _share_on_part(lesson: Lesson, result: Distillation) -> float:
    """Return the share of the keypoints near the part of the reference image."""
    away = lesson.away(result.reference_demonstration, result.reference.positions)
    return float((away <= NEAR).mean())
