"""Run the checks side by side; none of them can end the command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kalm_core.doctor.finding import Check, Finding, missing


@dataclass(frozen=True)
class Line:
    """A check with what it found."""

    check: Check
    finding: Finding


def run_checks(checks: Iterable[Check], workers: int = 4) -> Iterator[Line]:
    """Yield the lines in the order of the table, as soon as each is known."""
    with ThreadPoolExecutor(workers) as pool:
        pending = [(check, pool.submit(_look, check)) for check in checks]
        for check, future in pending:
            yield Line(check, future.result())


def _look(check: Check) -> Finding:
    """Run one check; one that breaks is a line of its own, not the end."""
    try:
        return check.look()
    except Exception as error:
        return missing(
            f"the check itself failed: {type(error).__name__}: {error}", "report this as a bug"
        )
