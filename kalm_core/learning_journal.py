"""What is written down while a skill is learned: where the time went, and who was left out."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from kalm_core.errors import DemonstrationError, KalmError
from kalm_core.progress import Progress

MIN_DEMONSTRATIONS = 3
"""Of this many or more, this many must remain; of fewer, all: one alone is already a skill."""

_log = logging.getLogger(__name__)


@dataclass
class Journal:
    """Seconds per stage, and why which demonstration was left out."""

    seconds: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, KalmError] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _stage: str = ""
    _since: float = 0.0

    def follow(self, progress: Progress) -> Progress:
        """Return a progress that measures the stages and passes everything on."""

        def report(stage: str, fraction: float, text: str) -> None:
            self.clock(stage)
            progress.report(stage, fraction, text)

        return Progress(report, progress.should_stop)

    def clock(self, stage: str) -> None:
        """Count the time since the last report for the stage that ran until now."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def leave_out(self, name: str, reason: KalmError) -> None:
        """Note a demonstration that cannot teach."""
        self.left_out[name] = reason

    def problems(self) -> dict[str, str]:
        """Return what is wrong with each demonstration that was left out."""
        return {
            name: reason.problem.removeprefix(f"{name}: ") for name, reason in self.left_out.items()
        }

    def require(self, remaining: int) -> None:
        """Raise `DemonstrationError` unless enough demonstrations remain; else warn of the others.

        Either way every reason is told once.
        """
        needed = max(1, min(MIN_DEMONSTRATIONS, remaining + len(self.left_out)))
        if remaining < needed:
            reasons = self._reasons()
            raise DemonstrationError(
                f"{remaining} demonstrations can teach, expected {needed} or more"
                + (f" ({reasons})" if reasons else ""),
                "record more, about ten in all",
            )
        for name, reason in self.left_out.items():
            if name not in self._told:
                _log.warning("%s is left out: %s", name, str(reason).removeprefix(f"{name}: "))
                self._told.add(name)

    def _reasons(self) -> str:
        """Tell why demonstrations are left out, and once what to do about those of a kind."""
        kinds: dict[str, list[str]] = {}
        for name, problem in self.problems().items():
            told = problem if problem.startswith(f"{name} ") else f"{name}: {problem}"
            kinds.setdefault(self.left_out[name].remedy, []).append(told)
        return "; ".join(
            "; ".join(told) + (f" - {remedy}" if remedy else "") for remedy, told in kinds.items()
        )
