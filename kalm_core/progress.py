"""How long work talks to its caller: a progress callback and a question whether to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kalm_core.errors import CancelledError


def _silent(stage: str, fraction: float, text: str) -> None:
    """Report to nobody."""


def _never() -> bool:
    """Never ask to stop."""
    return False


@dataclass(frozen=True)
class Progress:
    """What a long function is given so that its caller can watch it and stop it.

    Attributes:
        report: called with (stage name, fraction of the stage done in [0, 1], one plain sentence).
        should_stop: asked often; True means the caller wants the work undone and ended.
    """

    report: Callable[[str, float, str], None] = _silent
    should_stop: Callable[[], bool] = _never

    def step(self, stage: str, fraction: float, text: str = "") -> None:
        """Report, and end with `CancelledError` if the caller asked to stop."""
        if self.should_stop():
            raise CancelledError(stage)
        self.report(stage, min(max(fraction, 0.0), 1.0), text)
