"""Write a rosbag2 that is either finished and safe on the disk, or plainly unfinished."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from kalm_core.bags.bag_file import METADATA
from kalm_core.bags.message_types import message_types
from kalm_core.bags.topics import RECORDED_TOPICS, RecordedTopic
from kalm_core.errors import DemonstrationError

UNFINISHED = ".recording"
"""What the name of a recording ends in until it is finished."""

_NO_LIMIT = QosTime(0, 0)
_RELIABLE = Qos(
    QosHistory.KEEP_LAST,
    10,
    QosReliability.RELIABLE,
    QosDurability.VOLATILE,
    _NO_LIMIT,
    _NO_LIMIT,
    QosLiveliness.AUTOMATIC,
    _NO_LIMIT,
    False,
)


class BagWriter:
    """Records one demonstration into the bag `folder` (mcap, uncompressed, depth bit for bit).

    Everything goes to `NAME.recording/NAME/` first. `finish` closes it, has the disk confirm every
    file and renames it to `NAME/`: what carries its final name is complete, whatever is killed
    afterwards. As a context manager it discards the recording on an exception and finishes it
    otherwise, unless it was left for a rescue. `write` may be called from several threads.

    Args:
        folder: where the finished bag is to lie; must not exist.
        topics: what will be written.

    Raises:
        DemonstrationError: the folder exists, or an unfinished recording of that name does.
    """

    def __init__(self, folder: Path, topics: Iterable[RecordedTopic] = RECORDED_TOPICS) -> None:
        self.folder = Path(folder)
        self.unfinished = self.folder.with_name(self.folder.name + UNFINISHED)
        self.counts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._open = False
        if self.folder.exists():
            raise DemonstrationError(f"{self.folder} exists already", "choose another name")
        try:
            self.unfinished.mkdir(parents=True)
        except FileExistsError:
            raise DemonstrationError(
                f"{self.unfinished} exists already: a recording of that name was not finished",
                "rescue it with `kalm demonstrations FOLDER --rescue`, or delete it",
            ) from None
        except OSError as error:
            raise DemonstrationError(
                f"cannot create {self.unfinished}: {error.strerror}", "choose another folder"
            ) from error
        # A lock on the folder tells a recording under way from one whose recorder died.
        self._guard = os.open(self.unfinished, os.O_RDONLY)
        fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            self._writer = Writer(
                self.unfinished / self.folder.name, version=9, storage_plugin=StoragePlugin.MCAP
            )
            self._writer.set_custom_data("recorder", "kalm")
            self._writer.open()
            self._open = True
            self._connections = {}
            for topic in topics:
                self._connections[topic.name] = self._writer.add_connection(
                    topic.name,
                    topic.type,
                    typestore=message_types(),
                    offered_qos_profiles=[_RELIABLE],
                )
                self.counts[topic.name] = 0
        except OSError as error:
            os.close(self._guard)
            shutil.rmtree(self.unfinished, ignore_errors=True)
            raise DemonstrationError(
                f"cannot write to {self.unfinished}: {error.strerror}",
                "free some space on the disk",
            ) from error

    @property
    def messages(self) -> int:
        """Number of messages written so far, all topics together."""
        return sum(self.counts.values())

    def write(self, topic: str, stamp_ns: int, cdr: bytes) -> None:
        """Append one serialized message.

        Args:
            topic: one of the topics given to the constructor.
            stamp_ns: time at which it was received [ns].
            cdr: the message as `rclpy.serialization.serialize_message` gives it.

        Raises:
            DemonstrationError: the topic is unknown, the bag is closed, or the disk refused.
        """
        with self._lock:
            if not self._open:
                raise DemonstrationError(f"{self.folder} is not being recorded any more")
            if topic not in self._connections:
                known = ", ".join(self._connections)
                raise DemonstrationError(f"{topic} is not among the recorded topics: {known}")
            try:
                self._writer.write(self._connections[topic], stamp_ns, cdr)
            except OSError as error:
                self._open = False
                self._writer.abort()
                os.close(self._guard)
                raise DemonstrationError(
                    f"cannot write to {self.unfinished}: {error.strerror}",
                    "free some space on the disk; `kalm demonstrations FOLDER --rescue` then "
                    "recovers what was recorded",
                ) from error
            self.counts[topic] += 1

    def finish(self) -> Path:
        """Close the bag, have the disk confirm it, give it its final name and return that.

        Raises:
            DemonstrationError: nothing was recorded (the recording is discarded), or the disk
                refused (what there is stays in `NAME.recording`).
        """
        with self._lock:
            if not self._open:
                raise DemonstrationError(f"{self.folder} is not being recorded any more")
            if self.messages == 0:
                self._discard()
                raise DemonstrationError(
                    f"no message arrived for {self.folder}",
                    "check that camera and robot publish the topics that `kalm topics` names",
                )
            self._open = False
            try:
                self._writer.close()
                self._publish()
            except OSError as error:
                raise DemonstrationError(
                    f"cannot finish {self.unfinished}: {error.strerror}",
                    "free some space on the disk; `kalm demonstrations FOLDER --rescue` then "
                    "recovers what was recorded",
                ) from error
            finally:
                os.close(self._guard)
        return self.folder

    def leave(self) -> None:
        """Stop recording; all that was written stays in `NAME.recording`, for a rescue.

        Raises:
            DemonstrationError: the disk refused; up to 1 MB at the end is lost.
        """
        with self._lock:
            if not self._open:
                return
            self._open = False
            try:
                self._writer.close()
                # without it this is no bag to anybody, as when the recorder was killed
                (self.unfinished / self.folder.name / METADATA).unlink()
            except OSError as error:
                raise DemonstrationError(
                    f"cannot write the end of {self.unfinished}: {error.strerror}",
                    "free some space on the disk",
                ) from error
            finally:
                os.close(self._guard)

    def discard(self) -> None:
        """Throw the recording away; nothing of it stays. Does nothing after `finish`."""
        with self._lock:
            if self._open:
                self._discard()

    def _publish(self) -> None:
        inner = self.unfinished / self.folder.name
        for file in inner.iterdir():
            _sync(file)
        _sync(inner)
        inner.rename(self.folder)
        _sync(self.folder.parent)
        self.unfinished.rmdir()

    def _discard(self) -> None:
        self._open = False
        self._writer.abort()
        os.close(self._guard)
        shutil.rmtree(self.unfinished)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.discard()
        elif self._open:
            self.finish()


def _sync(path: Path) -> None:
    """Return when the disk holds the file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
