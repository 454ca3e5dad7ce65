"""Faults during goals of `/execute_skill`: each must end in its own outcome.

After each one the arm must be still, and the next goals must work without restarting a node: the
motion back to the view and a goal that detects, predicts and plans. What is injected is said in
`kalm_sim/faults.py` and `benchmarks/execution_planner.py`. A client is killed for real: a second
`skill_node` in a process of its own is the client of `robot/execute_motion`, and gets SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.execution_graph import Bench, Ended, Reached
from benchmarks.results import Row, share
from kalm_core.errors import KalmError, Outcome
from kalm_ros.node_process import NodeProcess
from kalm_ros.node_table import NodeEntry
from kalm_sim.laboratory import STILL_SPEED

RECOVERED = (Outcome.REFLEX, Outcome.CONNECTION_LOST, Outcome.GRIPPER_BLOCKED)
"""After these a person looks and calls `robot/recover`."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: of the kind, in the results.
        injections: names of what is injected, used in turn.
        outcome: that it must end in.
        when: "before" the goal, at the "start" of its execution, or while the arm is "moving".
        moves: the arm may have touched the scene, which must be set up again then.
    """

    name: str
    injections: tuple[str, ...]
    outcome: Outcome
    when: str
    moves: bool = False


KILL = "kill"

FAULTS = (
    Fault("reflex_push", ("push",), Outcome.REFLEX, "moving"),
    Fault("reflex_contact", ("jam_object",), Outcome.REFLEX, "start", moves=True),
    Fault("gripper_blocked", ("jam_fingers",), Outcome.GRIPPER_BLOCKED, "start", moves=True),
    Fault("gripper_empty", ("hollow_part",), Outcome.GRIPPER_EMPTY, "start", moves=True),
    Fault("connection", ("drop_connection",), Outcome.CONNECTION_LOST, "moving"),
    Fault("client_killed", (KILL,), Outcome.CLIENT_GONE, "moving"),
    Fault("planner_exception", ("planner_exception",), Outcome.PLANNER_FAILED, "before"),
    Fault("stale_image", ("freeze_camera",), Outcome.NO_IMAGE, "before"),
    Fault(
        "hand_eye",
        ("shift_camera_y", "shift_camera_z", "shift_camera_x"),
        Outcome.CALIBRATION_MISMATCH,
        "before",
        moves=True,
    ),
)


@dataclass
class Tally:
    """What became of the faults of one kind."""

    tried: int = 0
    named: int = 0
    still: int = 0
    next_works: int = 0
    others: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class SecondClient:
    """A `skill_node` in a process of its own that can be killed."""

    ACTION = "second/execute_skill"

    def __init__(self, bench: Bench, skills: Path) -> None:
        entry = NodeEntry("second_skill_node", "a client to be killed")
        remapped = (
            "__node:=second_skill_node",
            f"execute_skill:={self.ACTION}",
            "kalm/list_skills:=second/list_skills",
        )
        command = [sys.executable, "-m", "kalm_ros.tether", "kalm_ros.skill_node", "--ros-args"]
        for rule in remapped:
            command += ["-r", rule]
        command += ["-p", f"skills:={skills}"]
        self._bench = bench
        self._process = NodeProcess(entry, command, os.environ, lambda _: None)
        if not self._process.ready.wait(60.0):
            self.close()
            raise KalmError("the second client did not start")

    def kill(self) -> float:
        """Kill the process with SIGKILL, and return the wall time [s]."""
        now = time.time()
        os.kill(self._process.process.pid, signal.SIGKILL)
        return now

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.close()


class FaultRuns:
    """Runs faults one after the other.

    Args:
        bench: the running graph, before a scene in which the skill works.
        seeds: of such scenes.
        skills: their folder.
        say: prints a line.
    """

    def __init__(self, bench: Bench, seeds: list[int], skills: Path, say: Callable[[str], None]):
        self._bench, self._seeds, self._skills, self._say = bench, seeds, skills, say
        self._scene = 0
        self.tallies: dict[str, Tally] = {fault.name: Tally() for fault in FAULTS}
        self.by_injection: dict[str, Tally] = {}

    def run(self, fault: Fault, number: int) -> None:
        """Bring one fault about, judge how it ended, and set everything right again."""
        bench = self._bench
        injection = fault.injections[number % len(fault.injections)]
        try:
            bench.look()
            ended, took = self._ended(fault, injection)
        except KalmError as error:
            self._say(f"{injection}: not reached: {error}")
            self._restore(fault, None)
            return
        still = bench.is_still()
        works = self._restore(fault, ended.outcome)
        for tally in (self.tallies[fault.name], self.by_injection.setdefault(injection, Tally())):
            tally.tried += 1
            tally.named += ended.outcome is fault.outcome
            tally.still += still
            tally.next_works += works
            if took is not None:
                tally.seconds.append(took)
            if ended.outcome is not fault.outcome:
                tally.others.append(ended.outcome.name)
        self._say(
            f"{injection}: {ended.outcome.name}, {'still' if still else 'NOT STILL'}, next goal "
            f"{'works' if works else 'FAILS'}"
            + (f", stopped after {took:.2f} s" if took is not None else "")
            + (f": {ended.message}" if ended.outcome is not fault.outcome else "")
        )

    def _ended(self, fault: Fault, injection: str) -> tuple[Ended, float | None]:
        """Send a goal, inject, and return how it ended, with the time to standstill [s, wall]."""
        bench = self._bench
        if injection == KILL:
            return self._killed()
        if fault.when == "before":
            bench.fault(injection)
            return bench.end(bench.start()), None
        moving = fault.when == "moving"
        reached = Reached(lambda f: f.phase == "execute" and (not moving or _under_way(bench)))
        handle = bench.start(hear=reached)
        self._await(reached, handle)
        begin = time.time()
        bench.fault(injection)
        ended = bench.end(handle)
        time.sleep(0.3)
        took = bench.standstill(begin) if moving else None
        return ended, took[0] if took else None

    def _killed(self) -> tuple[Ended, float | None]:
        bench = self._bench
        client = SecondClient(bench, self._skills)
        try:
            reached = Reached(lambda f: f.phase == "execute" and _under_way(bench))
            handle = bench.start(hear=reached, action=client.ACTION)
            self._await(reached, handle)
            begin = client.kill()
        finally:
            client.close()
        end = time.monotonic() + 20.0
        while time.monotonic() < end:
            for wall, line in list(bench.lines):
                if wall > begin and line.startswith("[robot_node]") and "execute_motion:" in line:
                    name, _, said = line.partition("robot/execute_motion: ")[2].partition(": ")
                    time.sleep(0.3)
                    took = bench.standstill(begin)
                    return Ended(Outcome[name], said, {}), took[0] if took else None
            time.sleep(0.05)
        raise KalmError("robot_node said nothing after its client was killed")

    def _await(self, reached: Reached, handle: Any) -> None:
        answer = handle.get_result_async()
        while not reached.event.wait(0.05):
            if answer.done():
                result = answer.result().result.outcome
                raise KalmError(f"the goal ended before the fault: {result.message}")

    def _restore(self, fault: Fault, outcome: Outcome | None) -> bool:
        """Take the fault back; return whether the next goals work."""
        bench = self._bench
        try:
            bench.fault("clear")
            if outcome is None or outcome in RECOVERED:
                recovered = bench.trigger("robot/recover")
                if not recovered.success:
                    raise KalmError(f"recover failed: {recovered.message}")
            if outcome is None or (fault.moves and not bench.at_view()):
                self.next_scene()
            else:
                bench.look()
            ended = bench.plan_only()
            if ended.outcome is not Outcome.SUCCEEDED:
                self._say(f"  the next goal: {ended.outcome.name}: {ended.message}")
            return ended.outcome is Outcome.SUCCEEDED
        except KalmError as error:
            self._say(f"  not restored: {error}")
            with suppress(KalmError):
                bench.trigger("robot/recover")
                self.next_scene()
            return False

    def warm_up(self) -> None:
        """Call every service once while the arm rests: the first call of each takes its time."""
        for fault in FAULTS:
            for injection in fault.injections:
                if injection not in (KILL, "planner_exception"):
                    self._bench.fault(injection)
        self._bench.fault("clear")
        self._bench.trigger("robot/recover")

    def next_scene(self) -> None:
        """Put the next scene before the arm; the laboratory refuses while the arm still swings."""
        for attempt in range(3):
            self._scene += 1
            try:
                self._bench.begin(self._seeds[self._scene % len(self._seeds)])
                return
            except KalmError as error:
                self._say(f"  the scene: {error}")
                if attempt == 2:
                    raise
                time.sleep(2.0)

    def kept(self) -> dict[str, Any]:
        """Return what was counted, to go on with it in another run."""
        return {
            "kinds": {name: asdict(tally) for name, tally in self.tallies.items()},
            "injections": {name: asdict(tally) for name, tally in self.by_injection.items()},
        }

    def go_on(self, kept: dict[str, Any]) -> None:
        """Add to what an earlier run counted."""
        self.tallies.update({name: Tally(**t) for name, t in kept["kinds"].items()})
        self.by_injection.update({name: Tally(**t) for name, t in kept["injections"].items()})

    @property
    def tried(self) -> int:
        """How many faults were brought about."""
        return sum(tally.tried for tally in self.tallies.values())

    def rows(self) -> list[Row]:
        """Return the shares, over all and by kind."""
        every = list(self.tallies.values())
        tried = self.tried
        kinds = ", ".join(f"{t.tried} {name}" for name, t in self.tallies.items())
        rows = [
            share("faults/named", sum(t.named for t in every), tried, kinds),
            share(
                "faults/still",
                sum(t.still for t in every),
                tried,
                "by the simulator's truth, from half a second after the result",
            ),
            share(
                "faults/next_goal_works",
                sum(t.next_works for t in every),
                tried,
                "back to the view, then detect, predict and plan; no node was restarted",
            ),
        ]
        for name, tally in self.by_injection.items():
            others = ", ".join(sorted(set(tally.others)))
            note = f"other outcomes: {others}" if others else ""
            if tally.seconds:
                note += "; " if note else ""
                note += f"still after {np.median(tally.seconds):.2f} s (median)"
                note += f", {max(tally.seconds):.2f} s at most, wall"
            rows.append(share(f"faults/{name}/named", tally.named, tally.tried, note))
        return rows


def _under_way(bench: Bench) -> bool:
    """Tell whether the arm moves fast."""
    return bool(bench.speeds) and bench.speeds[-1][2] > 10 * STILL_SPEED
