"""The words of a diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Status(str, Enum):
    """How it stands with one thing."""

    OK = "ok"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        status: whether it is there.
        text: what was found, in a few words.
        remedy: what to do when it is missing; also an advice when it is there.
    """

    status: Status
    text: str
    remedy: str = ""


def ok(text: str, advice: str = "") -> Finding:
    """Return the finding that the thing is there."""
    return Finding(Status.OK, text, advice)


def missing(text: str, remedy: str) -> Finding:
    """Return the finding that the thing is not there."""
    return Finding(Status.MISSING, text, remedy)


@dataclass(frozen=True)
class Check:
    """One line of `kalm doctor`.

    Attributes:
        section: heading below which it stands.
        name: the thing.
        needed: whether the embedded default (simulator, no accounts, no weights) needs it.
        look: finds out; it may raise or take long, `run_checks` copes.
    """

    section: str
    name: str
    needed: bool
    look: Callable[[], Finding]
