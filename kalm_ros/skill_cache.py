"""Skills loaded when they are first asked for, and again when they changed on the disk."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from kalm_core.skill import Skill, load_skill, skill_folder


class SkillCache:
    """The skills of one folder.

    A skill's `skill.yaml` holds the checksums of all its files, so its own checksum stands for the
    whole skill.

    Args:
        root: the skill folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[str, Skill]] = {}

    def get(self, name: str) -> Skill:
        """Return a skill by name.

        Raises:
            GoalError: it cannot be a name.
            UnknownSkillError: there is no such skill.
            BundleError: its folder is incomplete or altered.
        """
        folder = skill_folder(self._root, name)
        with self._lock:
            checksum = _checksum(folder / "skill.yaml")
            known = self._loaded.get(name)
            if known is None or not checksum or known[0] != checksum:
                known = (checksum, load_skill(folder))
                self._loaded[name] = known
            return known[1]


def _checksum(record: Path) -> str:
    """Return the checksum of a skill's record; empty when there is none."""
    try:
        return hashlib.sha256(record.read_bytes()).hexdigest()
    except OSError:
        return ""  # `load_skill` says what is wrong
