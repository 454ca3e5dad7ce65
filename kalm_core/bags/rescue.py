"""Recordings that were not finished: find them, and save what can be read."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from rosbags.rosbag2.storage_mcap import McapReader

from kalm_core.bags.bag_file import METADATA, damage_of
from kalm_core.bags.topics import RecordedTopic
from kalm_core.bags.writer import UNFINISHED, BagWriter
from kalm_core.errors import DemonstrationError

RESCUED = "_rescued"
"""What is appended to the name of the bag that a rescue writes."""

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _DATA_END = 0x02, 0x0F


@dataclass(frozen=True)
class Leftover:
    """A recording that was not finished, or lost its end.

    Attributes:
        path: its folder.
        files: its mcap files that hold anything.
        active: whether a recorder still writes to it.
    """

    path: Path
    files: tuple[Path, ...]
    active: bool

    @property
    def rescued(self) -> Path:
        """Where `rescue` puts what is readable of it."""
        return self.path.with_name(self.path.name.removesuffix(UNFINISHED) + RESCUED)

    @property
    def sentence(self) -> str:
        """What it is and what can be done, in one sentence."""
        if self.active:
            return "is being recorded right now"
        if not self.files:
            return "was not finished and holds no data; delete it"
        size = sum(file.stat().st_size for file in self.files) / 1e6
        return (
            f"was not finished or is cut short: {size:.1f} MB, of which --rescue saves what it can"
        )


def find_leftovers(folder: Path) -> list[Leftover]:
    """Return the unfinished recordings in `folder`, ours and those of `ros2 bag record` (mcap).

    A bag whose mcap file does not end as one is among them, although it has its metadata.
    """
    found = []
    for path in sorted(item for item in folder.iterdir() if item.is_dir()):
        ours = path.name.endswith(UNFINISHED)
        files = sorted(path.glob("*/*.mcap" if ours else "*.mcap"))
        unfinished = bool(files) and not (path / METADATA).exists()
        if ours or unfinished or any(not _ends_properly(file) for file in files):
            filled = tuple(file for file in files if file.stat().st_size)
            found.append(Leftover(path, filled, _is_active(path)))
    return found


def rescue(leftover: Leftover) -> tuple[Path, int]:
    """Write what is readable of an unfinished recording as a new bag beside it.

    The leftover itself stays as it is. Messages after the last complete record are lost; about
    1 MB had not reached the file when the recorder was killed.

    Returns:
        The new bag `NAME_rescued`, and how many bytes at the end of the files were unreadable.

    Raises:
        DemonstrationError: it is still being recorded, or holds no message.
    """
    if leftover.active:
        raise DemonstrationError(f"{leftover.path} is being recorded", "finish the recording")
    target = leftover.rescued
    lost = 0
    with TemporaryDirectory(dir=leftover.path.parent, prefix=".rescue") as scratch:
        closed = [Path(scratch) / f"{i}.mcap" for i in range(len(leftover.files))]
        for source, copy in zip(leftover.files, closed, strict=True):
            lost += _close_cut_mcap(source, copy)
        _copy_messages(leftover.path, closed, target)
    return target, lost


def _copy_messages(source: Path, files: list[Path], target: Path) -> None:
    """Write the messages of properly ended mcap files into the new bag `target`."""
    with ExitStack() as stack:
        readers = [McapReader(file) for file in files]
        for reader in readers:
            with damage_of(source):
                reader.open()
            stack.callback(reader.close)
        connections = [c for reader in readers for c in reader.connections]
        if not any(c.msgcount for c in connections):
            raise DemonstrationError(f"{source} holds no complete message", "delete it")
        topics = {
            c.topic: RecordedTopic(c.topic, c.msgtype, "", required=False) for c in connections
        }
        with BagWriter(target, topics.values()) as writer, damage_of(source):
            for reader in readers:
                for connection, stamp, raw in reader.messages_scan(reader.connections):
                    writer.write(connection.topic, stamp, raw)


def _close_cut_mcap(source: Path, target: Path) -> int:
    """Copy the complete records of an mcap file and end them properly.

    Returns:
        The bytes lost: none of a file that ends properly, after its messages comes their index.
    """
    with source.open("rb") as old, target.open("wb") as new:
        if old.read(len(_MAGIC)) != _MAGIC:
            raise DemonstrationError(f"{source} is not an mcap file", "delete it")
        new.write(_MAGIC)
        end = old.tell()
        for record in _complete_records(old):
            new.write(record)
            end = old.tell()
        new.write(struct.pack("<BQI", _DATA_END, 4, 0))
        new.write(struct.pack("<BQQQI", _FOOTER, 20, 0, 0, 0) + _MAGIC)
    return 0 if _ends_properly(source) else source.stat().st_size - end


def _complete_records(stream: BinaryIO) -> Iterator[bytes]:
    """Yield each record (opcode, length, content) until the data ends or is cut."""
    while True:
        head = stream.read(9)
        if len(head) < 9 or head[0] in (0, _FOOTER, _DATA_END):
            return
        (size,) = struct.unpack_from("<Q", head, 1)
        left = os.fstat(stream.fileno()).st_size - stream.tell()
        if size > left:
            return
        yield head + stream.read(size)


def _ends_properly(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - len(_MAGIC)))
        return stream.read() == _MAGIC


def _is_active(path: Path) -> bool:
    """Return whether a `BagWriter` holds the folder's lock."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
