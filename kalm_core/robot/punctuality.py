"""Whether targets came in time: an arm that is fed late holds still, or lags behind its path."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Punctuality:
    """Counts the gaps between two targets, on the robot's clock.

    Attributes:
        allowed: a longer gap is late [s].
        targets: how many were sent.
        late: how many of them came late.
        longest: the longest gap [s].
    """

    allowed: float
    targets: int = 0
    late: int = 0
    longest: float = 0.0

    def note(self, gap: float) -> None:
        """Count a target that came `gap` [s] after the one before."""
        self.targets += 1
        self.late += gap > self.allowed
        self.longest = max(self.longest, gap)

    def __str__(self) -> str:
        """Return a sentence; empty when every target came in time."""
        if not self.late:
            return ""
        return (
            f"{self.late} of {self.targets} targets came late (longest gap "
            f"{self.longest * 1000:.0f} ms, expected up to {self.allowed * 1000:.0f} ms): free the "
            "processor for robot_node."
        )
