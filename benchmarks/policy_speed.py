"""What training and sampling of the policy cost, beside a network of the published size.

The published network is rebuilt with our blocks from its published sizes (width 256, multipliers
1 2 4 8, 714 numbers per keypoint), which gives fewer parameters than the 312 million published, so
that the comparison favours it; weights are random, on which speed does not depend. A few of its
denoising steps are timed and multiplied up to the published number. Run it with
`make bench-policy_speed` on a machine that does nothing else.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from benchmarks.results import Results, Row
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.base import Example
from kalm_core.policy.network import TrajectoryUNet
from kalm_core.policy.selection import learn_policy
from kalm_core.policy.settings import NetworkSettings, PolicySettings
from kalm_core.policy.threads import torch_threads
from kalm_core.policy.training import train
from kalm_core.se3 import make_pose, rotation_about_z, transform_points
from kalm_core.trajectory import POSES, EndEffectorTrajectory

_STEPS = 140  # denoising steps of the published sampler: 100, and 40 more at the end
_SAMPLES, _KEYPOINTS = 5, 8
_TOLD = 716  # published numbers per keypoint, 714 and three for its position, to a multiple of 4

console = Console()


def examples(count: int, keypoints: int = _KEYPOINTS) -> list[Example]:
    """Draw made-up demonstrations: speed does not depend on what they show."""
    rng = np.random.default_rng(0)
    shape = rng.uniform(-0.1, 0.1, (keypoints, 3))
    found = []
    for i in range(count):
        T = rotation_about_z(rng.uniform(-0.5, 0.5))
        path = np.linspace(-0.1, 0.1, POSES)[:, None] * [1.0, 0.0, 0.0]
        poses = T @ make_pose(np.diag([1.0, -1.0, -1.0]), path + rng.normal(0.0, 0.005, 3))
        points = transform_points(T, shape) + rng.normal(0.0, 0.003, shape.shape)
        detected = DetectedKeypoints(points, np.ones(keypoints, bool), np.ones(keypoints))
        gripper, stamps = np.full(POSES, 0.08), np.arange(POSES) * 0.1
        found.append(Example(str(i), detected, EndEffectorTrajectory(poses, gripper, stamps)))
    return found


def timed(run: Callable[[], object], count: int) -> list[float]:
    """Return the seconds of `count` runs, after one that is not counted."""
    run()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def _learn(queue: multiprocessing.Queue) -> None:
    """Learn one task in a process of its own, whose memory is measured."""
    settings = PolicySettings()
    learned = learn_policy(examples(10), settings)
    once = []
    for _ in range(settings.folds + 1):
        start = time.perf_counter()
        train(examples(10), settings)
        once.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    queue.put((sum(once), float(np.median(once)), learned.seconds, peak))


@torch.no_grad()
def published_seconds(steps: int) -> tuple[float, float]:
    """Return the time of one step of the published size for five samples [s], and millions."""
    # The range of our settings ends below the published fourth level: not validated here.
    settings = NetworkSettings.model_construct(
        channels=(256, 512, 1024, 2048), kernel=5, condition=1024
    )
    network = TrajectoryUNet(_TOLD // 4 * _KEYPOINTS, settings).eval()
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    x = torch.randn(_SAMPLES, POSES, 10)
    told = torch.randn(_SAMPLES, _TOLD // 4 * 4 * _KEYPOINTS)
    level = torch.full((_SAMPLES,), 50)
    with torch_threads(2):
        return float(np.median(timed(lambda: network(x, level, told), steps))), millions


def main(
    repeats: Annotated[int, typer.Option(min=3, help="samplings timed")] = 50,
    published_steps: Annotated[int, typer.Option(min=1, help="steps timed")] = 3,
) -> None:
    """Measure, and write the results."""
    results = Results("policy_speed", "make bench-policy_speed", full=repeats >= 50)
    queue: multiprocessing.Queue = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=_learn, args=(queue,))
    process.start()
    seconds, once, usual, peak = queue.get()
    process.join()
    shown = [
        Row(
            "policy/train_s",
            seconds,
            "s",
            note="ten demonstrations; the longest case: the diffusion model is ahead in all three "
            "groups, and is then trained on all",
        ),
        Row(
            "policy/train_behind_s",
            usual,
            "s",
            note="where it is behind in the first group; a simple policy is taken",
        ),
        Row("policy/train_once_s", once, "s", note="the diffusion model alone, all demonstrations"),
        Row("policy/train_gb", peak, "GB", note="peak of the whole process"),
    ]
    given = examples(10)
    policy, _ = train(given, PolicySettings(steps=2, folds=0))
    ours = timed(lambda: policy.sample(given[0].keypoints, _SAMPLES, 0), repeats)
    median = float(np.median(ours))
    shown.append(Row("policy/sample5_ms", 1e3 * median, "ms", repeats, note="median"))
    shown.append(Row("policy/sample5_p95_ms", 1e3 * float(np.percentile(ours, 95)), "ms", repeats))
    step, millions = published_seconds(published_steps)
    note = (
        f"{millions:.0f} million parameters (published: 312), {_STEPS} steps, {published_steps} "
        f"of them timed ({step:.3f} s each, two threads) and multiplied up, random weights"
    )
    shown.append(Row("policy/published_sample5_s", step * _STEPS, "s", published_steps, note=note))
    ratio = step * _STEPS / median
    shown.append(Row("policy/speedup_over_published_size", ratio, "times", note=note))
    shown.extend(_growth(repeats))
    for row in shown:
        results.add(row)
        console.print(f"{row.id}: {row.value:.4g} {row.unit}", highlight=False)
    console.print(f"written: {results.write()}")


def _growth(repeats: int) -> list[Row]:
    """Time against the number of samples, keypoints, and denoising steps."""
    rows = []
    for keypoints in (8, 16, 32):
        given = examples(10, keypoints)
        policy, _ = train(given, PolicySettings(steps=2, folds=0))
        for count in (1, 5, 10, 20) if keypoints == _KEYPOINTS else (_SAMPLES,):
            spent = timed(
                lambda p=policy, g=given, c=count: p.sample(g[0].keypoints, c, 0), repeats
            )
            name = f"policy/cost/keypoints{keypoints}/samples{count}"
            rows.append(Row(name, 1e3 * float(np.median(spent)), "ms", repeats))
    network = TrajectoryUNet(_KEYPOINTS, NetworkSettings()).eval()
    with torch.no_grad(), torch_threads(1):
        for poses in (24, 48, 96, 192):
            x, told = torch.randn(_SAMPLES, poses, 10), torch.zeros(_SAMPLES, 4 * _KEYPOINTS)
            level = torch.zeros(_SAMPLES)
            spent = timed(lambda x=x, t=told, v=level: network(x, v, t), repeats)
            name = f"policy/cost/poses{poses}/step"
            rows.append(Row(name, 1e3 * float(np.median(spent)), "ms", repeats))
    return rows


if __name__ == "__main__":
    typer.run(main)
