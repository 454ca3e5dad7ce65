"""One piece of the measurement: skills from one set of demonstrations, at every rate.

A piece is a file in `out/verification`; trials that are there, made with the same settings, are
not made again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
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
from kalm_core.progress import Progress
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
SKILLS = 100
"""Skills of a set at most: no two sets share the VLM's chance."""
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
    """Return the trials of a piece; those in its file are not made again."""
    mark = f"{settings_of(True).model_dump_json()} {NEAR} {ON_PART}"
    made_with = hashlib.sha256(mark.encode()).hexdigest()[:16]
    path = FOLDER / f"{task}_{index}.json"
    done: list[Trial] = []
    if path.exists():
        content = json.loads(path.read_text())
        if content["made_with"] == made_with:
            done = [Trial(**item) for item in content["trials"]]
    seeds = range(SKILLS * index, SKILLS * index + skills)
    wanted = list(product(seeds, RATES, (True, False)))
    made = {(item.seed, item.percent, item.verify) for item in done}
    left = [item for item in wanted if item not in made]
    if left:
        FOLDER.mkdir(parents=True, exist_ok=True)
    for trial in _measure(task, index, left) if left else ():
        done.append(trial)
        content = {"made_with": made_with, "trials": [asdict(item) for item in done]}
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.replace(path)
    return [item for item in done if (item.seed, item.percent, item.verify) in wanted]


def _measure(task: str, index: int, which: list[tuple[int, int, bool]]) -> Iterator[Trial]:
    """Distil once for every seed, rate, and whether to verify."""
    lesson = make_lesson(task, index)
    table = TruthTable()
    for demonstration, scene in zip(lesson.demonstrations, lesson.scenes, strict=True):
        make = partial(demonstration_truth, demonstration, scene)
        table.add_later(demonstration.initial.color, make)
    masks = RememberedMasks()
    with VlmServer(table) as server:
        verifying = RememberingExaminer(lesson.demonstrations, settings_of(True, server.url))
        verifying.prepare(Progress())
        trusting = RememberingExaminer(
            lesson.demonstrations, settings_of(False, server.url), verifying.views
        )
        for seed, percent, verify in which:
            server.restart(Rates(wrong_region=percent / 100, wrong_mask=percent / 100), seed)
            examiner = verifying if verify else trusting
            trial = _try(lesson, server, (index, seed, percent), masks, examiner)
            if verify and not trial.right:
                console.print(f"  {trial}", markup=False)
            yield trial


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
