"""Time from a cancel to standstill, over the graph, at full speed scale.

The clock on the wall starts before the cancel is sent and stops at the first sample of the
simulator's truth (100 Hz) after which no joint is faster than 0.02 rad/s. Two ways: a goal of
`/execute_skill` is cancelled while the arm approaches, the cancel goes through two nodes; and a
free motion of `robot/execute_trajectory` is cancelled directly.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.execution_graph import NEW_SCENES, Bench, Reached, load_note
from benchmarks.results import Row
from kalm_core.errors import KalmError, Outcome

FAST = 0.5
"""What an approach reaches at full speed scale [rad/s, fastest joint]."""

FREE_PACE = 1.0
"""Of the joint of the base in a free motion [rad/s]."""

Sample = tuple[float, float, float]
"""From the cancel to standstill [s, wall], [s, simulated], and the speed at the cancel [rad/s]."""


def cancelled(bench: Bench, handle: Any) -> Sample | None:
    """Cancel a goal whose arm moves; None where it did not move."""
    begin = time.time()
    answer = handle.cancel_goal_async()
    bench.client.wait(answer, 10.0, "the cancel")
    ended = bench.end(handle)
    if ended.outcome is not Outcome.CANCELLED:
        raise KalmError(f"a cancelled goal ended in {ended.outcome.name}: {ended.message}")
    time.sleep(0.3)
    took = bench.standstill(begin)
    speed = max(
        (s for wall, _, s in list(bench.speeds) if begin - 0.03 < wall < begin + 0.03), default=0.0
    )
    return None if took is None else (*took, speed)


def cancel_skill(bench: Bench, fraction: float) -> Sample | None:
    """Cancel the skill once its approach is faster than a share of `FAST`."""
    bench.look()

    def moving(feedback: Any) -> bool:
        return feedback.phase == "execute" and bench.speeds[-1][2] > fraction * FAST

    reached = Reached(moving)
    handle = bench.start(hear=reached)
    if not reached.event.wait(60.0):
        raise KalmError(f"the arm was never as fast as that: {bench.end(handle).message}")
    return cancelled(bench, handle)


def cancel_motion(bench: Bench, fraction: float) -> Sample | None:
    """Cancel a free motion of the base's joint once it is faster than a share of its pace."""
    target = bench.joints()
    target[0] += 1.2 if target[0] < 0.0 else -1.2
    target[3] += 0.3 if target[3] < -1.6 else -0.3
    handle = bench.move(target, FREE_PACE)
    end = time.monotonic() + 20.0
    while bench.speeds[-1][2] < fraction * FREE_PACE and time.monotonic() < end:
        time.sleep(0.005)
    return cancelled(bench, handle)


def measure(bench: Bench, count: int, say: Any) -> list[Row]:
    """Cancel `count` goals each way, and return the rows."""
    rows = []
    load = load_note()
    bench.begin(NEW_SCENES)
    for name, cancel in (("", cancel_skill), ("robot/", cancel_motion)):
        samples: list[Sample] = []
        for number in range(count):
            try:
                if name == "robot/" and number == 0:
                    bench.operator.go_ready()
                sample = cancel(bench, 0.3 + 0.6 * number / count)
            except KalmError as error:
                say(f"cancel: {error}")
                if not name:
                    bench.begin(NEW_SCENES)
                continue
            if sample is not None:
                samples.append(sample)
                wall, simulated, speed = (1e3 * s for s in sample)
                text = f"{wall:.0f} ms, {simulated:.0f} simulated"
                say(f"{name}cancel at {speed / 1e3:.2f} rad/s: {text}")
        rows += _rows(name, samples, load)
    return rows


def _rows(name: str, samples: list[Sample], load: str) -> list[Row]:
    if not samples:
        return [Row(f"cancel/{name}p95_ms", None, "ms", 0, note="no goal was cancelled in motion")]
    wall, simulated, speed = (np.array(column) for column in zip(*samples, strict=True))
    way = "robot/execute_trajectory" if name else "execute_skill, through skill_node"
    note = (
        f"wall time, {way}; median {np.median(wall) * 1e3:.0f} ms, largest {wall.max() * 1e3:.0f}; "
        f"joint speed at the cancel {speed.min():.2f} to {speed.max():.2f} rad/s; {load}"
    )
    count = len(samples)
    p95 = float(np.percentile(wall, 95)) * 1e3
    of_robot = float(np.percentile(simulated, 95)) * 1e3
    return [
        Row(f"cancel/{name}p95_ms", round(p95, 1), "ms", count, note=note),
        Row(
            f"cancel/{name}p95_simulated_ms",
            round(of_robot, 1),
            "ms",
            count,
            note=f"the same on the robot's clock, which ran at "
            f"{float(np.median(simulated / wall)):.2f} of the wall's (median)",
        ),
    ]
