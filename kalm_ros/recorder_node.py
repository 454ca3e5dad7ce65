"""Records demonstrations: one rosbag2 each, as the messages came over the wire."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from kalm_core.bags import RECORDED_TOPICS, BagWriter
from kalm_core.bags.writer import UNFINISHED
from kalm_core.errors import CancelledError, DemonstrationError, GoalError, KalmError, NoImageError
from kalm_core.progress import Progress
from kalm_core.settings import Settings
from kalm_interfaces.action import RecordDemonstration
from kalm_ros.action_server import GoalServer, wait_or_stop
from kalm_ros.parameters import declare_settings
from kalm_ros.recording import Recording
from kalm_ros.run_node import run_node

FINISH_TIMEOUT = 60.0
"""How long closing a bag may take [s]."""


class RecorderSettings(Settings):
    """Parameters of `recorder_node`."""

    folder: Path = Field(Path("demonstrations"), description="where the bags are put")
    max_seconds: float = Field(
        180.0, gt=0, le=3600, description="a recording ends by itself after this [s]"
    )
    silence: float = Field(
        5.0, gt=0, le=60, description="a topic on which nothing comes for this long is silent [s]"
    )


class RecorderNode(Node):
    """Offers the recording of one demonstration at a time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "recorder_node", automatically_declare_parameters_from_overrides=True, **options
        )
        self._settings = declare_settings(self, RecorderSettings)
        self._recording: Recording | None = None
        self._finish_asked = threading.Event()
        self._ended = threading.Condition()
        self._ends = 0  # recordings that have ended
        self._last_end = (False, "no recording has ended")
        self._server = GoalServer(
            self,
            RecordDemonstration,
            "kalm/record_demonstration",
            self._record,
            self._feedback,
            attended=True,  # what nobody ends is no demonstration
        )
        self.create_service(
            Trigger,
            "kalm/finish_recording",
            self._finish,
            callback_group=ReentrantCallbackGroup(),
        )
        self._messages = 0
        self._seconds = 0.0

    def _feedback(self, *_: object) -> RecordDemonstration.Feedback:
        return RecordDemonstration.Feedback(messages=self._messages, seconds=self._seconds)

    def _record(
        self,
        goal: RecordDemonstration.Goal,
        result: RecordDemonstration.Result,
        progress: Progress,
    ) -> str:
        self._finish_asked.clear()
        self._messages, self._seconds = 0, 0.0
        end = (False, "the recording ended with an error")
        try:
            text = self._record_bag(goal, result, progress)
            end = (True, result.bag)
            return text
        except KalmError as error:
            end = (False, str(error))
            raise
        finally:
            with self._ended:
                self._last_end = end
                self._ends += 1
                self._ended.notify_all()

    def _record_bag(
        self,
        goal: RecordDemonstration.Goal,
        result: RecordDemonstration.Result,
        progress: Progress,
    ) -> str:
        folder = self._bag_folder(goal.name)
        seconds = goal.max_seconds or self._settings.max_seconds
        if not 0.0 < seconds <= 3600.0:
            raise GoalError(f"max_seconds is {goal.max_seconds}, expected 0 to 3600")
        self._wait_for_publishers(progress)
        recording = self._listen()
        try:
            if not wait_or_stop(
                recording.complete, self._settings.silence, progress, "the recording"
            ):
                raise _silent(recording.silent)
            with BagWriter(folder) as writer:
                recording.write_to(writer)
                try:
                    self._run(recording, writer, seconds, progress)
                except CancelledError:
                    raise  # thrown away by whoever asked for it
                except Exception:
                    writer.leave()
                    raise
                recording.write_to(None)
                self._check_topics(writer)
                writer.finish()
        finally:
            recording.write_to(None)
        result.bag = str(folder)
        result.messages = writer.messages
        result.seconds = self._seconds
        lost = "".join(f" {count} were lost on {name}." for name, count in recording.lost.items())
        return f"{result.messages} messages in {result.seconds:.1f} s are in {folder}.{lost}"

    def _wait_for_publishers(self, progress: Progress) -> None:
        """Return when every topic has a publisher: only then is known what each one promises."""
        end = time.monotonic() + self._settings.silence
        names = [topic.name for topic in RECORDED_TOPICS]
        while absent := [name for name in names if not self.count_publishers(name.lstrip("/"))]:
            if progress.should_stop():
                raise CancelledError("the recording")
            if time.monotonic() > end:
                raise _silent(absent)
            time.sleep(0.1)

    def _listen(self) -> Recording:
        """Return what listens to the topics and has heard nothing yet."""
        if self._recording is None:
            self._recording = Recording(self, RECORDED_TOPICS)
        else:
            self._recording.start_listening()
        return self._recording

    def _run(
        self, recording: Recording, writer: BagWriter, seconds: float, progress: Progress
    ) -> None:
        """Let messages be written until somebody ends it, or time is up.

        Raises:
            DemonstrationError: a topic fell silent, the disk refused, or the process ends.
            CancelledError: the caller asked to stop.
        """
        start = time.monotonic()
        while self._seconds < seconds and not self._finish_asked.wait(0.05):
            self._seconds = time.monotonic() - start
            self._messages = writer.messages
            recording.check()
            if lost := recording.silent_for(self._settings.silence):
                raise DemonstrationError(
                    f"nothing came on {', '.join(lost)} for {self._settings.silence:g} s; what was "
                    f"recorded is in {writer.unfinished}",
                    "see to the camera and robot_node, then record again; "
                    "`kalm demonstrations FOLDER --rescue` saves the part that there is",
                )
            progress.report("record", min(self._seconds / seconds, 1.0), "recording")
            stop = progress.should_stop()
            if not self.context.ok():
                raise DemonstrationError(
                    f"the recorder was shut down while it wrote to {writer.unfinished}",
                    "`kalm demonstrations FOLDER --rescue` saves the part that there is",
                )
            if stop:
                raise CancelledError("the recording")

    @staticmethod
    def _check_topics(writer: BagWriter) -> None:
        """Refuse a recording so short that a topic has no message in it."""
        silent = [name for name, count in writer.counts.items() if count == 0]
        if silent:
            raise DemonstrationError(
                f"nothing was recorded on {', '.join(silent)}", "record for longer"
            )

    def _bag_folder(self, name: str) -> Path:
        """Return where the bag is put."""
        root = self._settings.folder
        if name:
            if Path(name).name != name or name.startswith(".") or name.endswith(UNFINISHED):
                raise GoalError(f"{name!r} is not a folder name", "use letters, digits, _ and -")
            return root / name
        taken = {path.name.split(".")[0] for path in root.glob("*")} if root.is_dir() else set()
        number = next(i for i in range(1, len(taken) + 2) if f"{i:03d}" not in taken)
        return root / f"{number:03d}"

    def _finish(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        before = self._ends  # read first: it may end by itself while this asks
        if not self._server.busy:
            response.success, response.message = False, "no recording runs"
            return response
        self._finish_asked.set()
        end = time.monotonic() + FINISH_TIMEOUT
        with self._ended:
            while self._ends == before and time.monotonic() < end and self.context.ok():
                self._ended.wait(0.1)
            still = (False, "the bag is still being closed")
            ended = still if self._ends == before else self._last_end
        response.success, response.message = ended
        return response


def _silent(names: Sequence[str]) -> NoImageError:
    return NoImageError(
        f"nothing arrives on {', '.join(names)}; nothing was recorded",
        "start the camera and robot_node",
    )


def main() -> int:
    """Run `recorder_node`."""
    return run_node(RecorderNode)


if __name__ == "__main__":
    sys.exit(main())
