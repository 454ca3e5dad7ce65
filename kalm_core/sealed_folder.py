"""A folder whose every byte is accounted for: checksums of all files, and a sealed YAML file.

It is written to a hidden folder beside its place and renamed, so that no reader ever sees half of
it. Reading changes nothing on disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from kalm_core.errors import BundleError

_SEAL = "# sha256 of the lines above: "


def write_sealed_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as YAML whose last line is the checksum of those above."""
    text = yaml.safe_dump(
        dict(values), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    seal = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(f"{text}{_SEAL}{seal}\n", encoding="utf-8")


def read_sealed_yaml(path: Path, remedy: str) -> dict[str, Any]:
    """Return the values of a sealed YAML file.

    Raises:
        BundleError: it is missing, altered or no YAML mapping; ends in `remedy`.
    """
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing", remedy) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}", remedy) from error
    body, mark, seal = text.rpartition(_SEAL)
    if not mark or seal != hashlib.sha256(body.encode()).hexdigest() + "\n":
        raise BundleError(f"{path} was altered: its last line is not its checksum", remedy)
    try:
        values = yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise BundleError(f"{path} is not YAML: {error}", remedy) from error
    if not isinstance(values, dict):
        raise BundleError(f"{path} holds a {type(values).__name__}, expected entries", remedy)
    return values


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in the folder by its path relative to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def verify(folder: Path, files: Mapping[str, str], remedy: str) -> None:
    """Compare files with their checksums.

    Args:
        folder: that holds the files.
        files: path relative to the folder -> SHA-256.
        remedy: end of every error text.

    Raises:
        BundleError: a path leaves the folder, or a file is missing, unreadable or altered.
    """
    for name, checksum in files.items():
        path = folder / name
        outside = PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
        if outside or not path.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"{folder}: the listed file {name!r} lies outside of it", remedy)
        if not path.is_file():
            raise BundleError(f"{path} is missing", remedy)
        try:
            found = _sha256(path)
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}", remedy) from error
        if found != checksum:
            raise BundleError(f"{path} was altered: its SHA-256 is not the listed one", remedy)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Make a hidden folder beside `target` that takes its place when the block ends well.

    A former folder at `target` is kept under a hidden name until the new one is in place. When the
    block raises, the hidden folder is removed and `target` is as before.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        folder.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        yield folder
        _sync(folder)
        _put_in_place(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def former_folders(target: Path) -> list[Path]:
    """Return the hidden folders that an interrupted replacement of `target` left behind."""
    return sorted(target.parent.glob(f".{target.name}.old-*")) if target.parent.is_dir() else []


def _put_in_place(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; what is there is moved away first and removed afterwards."""
    former = folder.with_name(folder.name.replace(".new-", ".old-"))
    if target.exists():
        target.rename(former)
    try:
        folder.rename(target)
    except OSError:
        if former.exists():
            former.rename(target)
        raise
    _sync_one(target.parent)
    shutil.rmtree(former, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Wait until the folder and all in it are on the disk."""
    for path in folder.rglob("*"):
        _sync_one(path)
    _sync_one(folder)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
