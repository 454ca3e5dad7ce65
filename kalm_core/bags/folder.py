"""Which bags lie in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kalm_core.bags.bag_file import METADATA, storage_files
from kalm_core.bags.writer import UNFINISHED
from kalm_core.errors import DemonstrationError


def find_bags(folder: Path) -> list[Path]:
    """Return the finished bags in `folder` in the order of their names; itself, if it is one."""
    if not folder.is_dir():
        raise DemonstrationError(f"there is no folder {folder}", "check the path")
    if (folder / METADATA).exists():
        return [folder]
    return sorted(
        item
        for item in folder.iterdir()
        if item.is_dir()
        and not item.name.endswith(UNFINISHED)
        and (item / METADATA).exists()
        and storage_files(item)
    )


def expand_bags(paths: Iterable[Path]) -> list[Path]:
    """Return the bags that a command line names; a folder of bags stands for all in it.

    Raises:
        DemonstrationError: a folder holds no bag.
    """
    bags: list[Path] = []
    for path in paths:
        if not path.is_dir() or storage_files(path):
            bags.append(path)
            continue
        found = find_bags(path)
        if not found:
            raise DemonstrationError(
                f"{path} holds no bag", "record demonstrations first; see `kalm topics`"
            )
        bags.extend(found)
    return bags
