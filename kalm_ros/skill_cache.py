"""Skills loaded when they are first asked for, and again when they changed on the disk."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from kalm_core.errors import GoalError
from kalm_core.skill import Skill, load_skill


class SkillCache:
    """The skills of one folder.

    A skill's `skill.yaml` holds the checksums of all its files, so its own checksum stands for the
    whole skill.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[str, Skill]] = {}

    def get(self, name: str) -> Skill:
        """Return a skill by name.

        Raises:
            GoalError: the name is empty.
            UnknownSkillError: there is no such skill.
            BundleError: its folder is incomplete or altered.
        """
        if not name.strip():
            raise GoalError("the goal names no skill", "`kalm skills` lists them")
        with self._lock:
            checksum = self._checksum(name)
            known = self._loaded.get(name)
            if known is None or not checksum or known[0] != checksum:
                known = self._loaded[name] = (checksum, load_skill(self._root / name))
            return known[1]

    def _checksum(self, name: str) -> str:
        """Return the checksum of a skill's record; empty when there is none."""
        record = self._root / name / "skill.yaml"
        return hashlib.sha256(record.read_bytes()).hexdigest() if record.is_file() else ""
