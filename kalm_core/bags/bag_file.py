"""Open a rosbag2 of any storage, with every failure as one clear error that names the file."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from kalm_core.bags.message_types import message_types
from kalm_core.errors import DemonstrationError, KalmError

STORAGE_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
METADATA = "metadata.yaml"


def storage_files(path: Path) -> list[Path]:
    """Return the data files of the bag at `path` (a folder or a single file), in order."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.iterdir() if file.name.endswith(STORAGE_SUFFIXES))


def checksum(path: Path) -> str:
    """Return the SHA-256 of the bag's data files, read one after the other."""
    digest = hashlib.sha256()
    for file in storage_files(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def header_stamp(raw: bytes | memoryview) -> int:
    """Return the header's stamp [ns] of a serialized message whose first field is a Header.

    Reads eight bytes, so that images need not be decoded to be put in order.
    """
    order = "<" if raw[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", raw, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


class BagFile:
    """An open bag; made by `open_bag`."""

    def __init__(self, path: Path, reader: AnyReader) -> None:
        self.path = path
        self._reader = reader
        self.types: dict[str, str] = {c.topic: c.msgtype for c in reader.connections}
        self.promised: dict[str, int] = {}
        for connection in reader.connections:
            count = self.promised.get(connection.topic, 0)
            self.promised[connection.topic] = count + connection.msgcount

    def messages(
        self, topics: tuple[str, ...], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, receive time [ns], serialized message) in receive order.

        Args:
            topics: only these.
            start: only receive times from this one [ns] on.
            stop: only receive times before this one [ns].

        Raises:
            DemonstrationError: the file is damaged here.
        """
        connections: list[Connection] = [c for c in self._reader.connections if c.topic in topics]
        if not connections:
            return
        with damage_of(self.path):
            for connection, stamp, raw in self._reader.messages(connections, start, stop):
                yield connection.topic, stamp, raw

    def decode(self, topic: str, raw: bytes) -> Any:
        """Return the message, with numpy arrays for its sequences of numbers."""
        with damage_of(self.path):
            return self._reader.deserialize(raw, self.types[topic])


@contextmanager
def open_bag(path: Path) -> Iterator[BagFile]:
    """Open the bag at `path` (folder, `.mcap` or `.db3`) for reading; nothing is ever written.

    Raises:
        DemonstrationError: there is no bag, its metadata is missing, or it is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise DemonstrationError(f"there is no bag at {path}", "check the path")
    if path.is_dir():
        files = storage_files(path)
        if not files:
            raise DemonstrationError(
                f"{path} is not a rosbag2: it holds no .mcap or .db3 file",
                "give the folder that `ros2 bag record -o` or the recorder wrote",
            )
        if not (path / METADATA).exists():
            rescue = f"`kalm demonstrations {path.parent} --rescue` or "
            raise DemonstrationError(
                f"{path / METADATA} is missing: the recording was not finished",
                f"run {rescue if files[0].suffix == '.mcap' else ''}`ros2 bag reindex {path}`",
            )
    for file in storage_files(path):
        _check_length(file)
    with damage_of(path):
        reader = AnyReader([path], default_typestore=message_types())
        reader.open()
    try:
        yield BagFile(path, reader)
    finally:
        reader.close()


def _check_length(file: Path) -> None:
    """Refuse an SQLite file shorter than its header says; SQLite itself may not notice."""
    if file.suffix != ".db3":
        return
    with file.open("rb") as stream:
        header = stream.read(100)
    if len(header) == 100 and header[24:28] == header[92:96]:  # else the page count is stale
        (page,), (pages,) = (
            struct.unpack_from(">H", header, 16),
            struct.unpack_from(">I", header, 28),
        )
        expected = (65536 if page == 1 else page) * pages
        if file.stat().st_size < expected:
            raise DemonstrationError(
                f"{file} is cut short: it has {file.stat().st_size} bytes of {expected}",
                "copy it again from where it was recorded",
            )


@contextmanager
def damage_of(path: Path) -> Iterator[None]:
    """Turn whatever the parser of a damaged file raises into one error naming the file.

    A cut file makes a parser fail in many ways (its own errors, struct, zstd, SQLite, Unicode);
    all of them mean the same to the reader of the message.
    """
    try:
        yield
    except KalmError:
        raise
    except PermissionError as error:
        raise DemonstrationError(
            f"{error.filename or path} may not be read by this user", "change its permissions"
        ) from error
    except Exception as error:
        names = ", ".join(file.name for file in storage_files(path))
        raise DemonstrationError(
            f"{path} ({names}) cannot be read: it is damaged or cut short"
            f" ({type(error).__name__}: {str(error).rstrip('.')})",
            "copy it again from where it was recorded, or recover what is readable of an mcap with "
            f"`kalm demonstrations {path.parent} --rescue`",
        ) from error
