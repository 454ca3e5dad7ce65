"""Approach and execution of a demonstration (section II-A), and what the policy learns of it.

The approach is free motion and is planned anew in every scene; only the execution is learned. It
starts where the tool last came near the keypoints before the fingers closed, so that a hand that
wandered over the object first does not teach its wandering; and if it then paused in front of the
object, where it paused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kalm_core.demonstration import Demonstration
from kalm_core.errors import DemonstrationError
from kalm_core.fr3_limits import HAND_OPENING
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.se3 import Array, interpolate_poses, rotation_angle
from kalm_core.settings import Settings
from kalm_core.trajectory import POSES, EndEffectorTrajectory

OPEN = HAND_OPENING
"""Command that opens the fingers [m]."""
CLOSED = 0.0
"""Command that closes the fingers until they hold something [m]."""

_HELD_BELOW = 0.07  # a constant opening below this is a hand that holds something [m]
_METRES_PER_RADIAN = 0.1  # how much path a rotation counts for: that of a point 0.1 m off
_FRONT = 0.6  # a pause this share of the radius off the contact is before the execution
_HESITATION = 0.25  # ... when the tool is slower there than this share of its usual speed
_FINGER_REST = 0.25  # the width of the hand is read some ten times a second [s]
_SHORTEST_STEP = 0.005  # between the stamps of two poses [s]


class SegmentationSettings(Settings):
    """Where the execution begins, and what counts as motion."""

    radius: float = Field(
        0.10, ge=0.02, le=0.5, description="tool to closest keypoint at the execution's start [m]"
    )
    tool_length: float = Field(
        0.25,
        ge=0.0,
        le=1.0,
        description="what the hand holds from the start works up to this much farther away [m]",
    )
    finger_travel: float = Field(
        0.008, ge=0.002, le=0.05, description="least change of opening that is a command [m]"
    )
    still_speed: float = Field(
        0.005, ge=0.0, le=0.1, description="slower than this the tool does not move [m/s]"
    )
    still_time: float = Field(
        0.25, ge=0.05, le=10.0, description="shorter rests are kept as part of the motion [s]"
    )


@dataclass(frozen=True)
class _Switch:
    """A change of the gripper's command: when it shows, and where the new opening is reached."""

    stamp: float
    command: float


def execution_part(
    demonstration: Demonstration,
    keypoints: DetectedKeypoints,
    settings: SegmentationSettings | None = None,
) -> EndEffectorTrajectory:
    """Cut the execution out of a demonstration, as 48 poses (sections II-A and II-E).

    Rests are cut out of the time axis. The poses lie at even path lengths between the switches
    of the gripper, and every stretch between two switches gets the same number of poses, so that
    the fingers close at the same pose in all demonstrations of a task. `stamps` keep the pace of
    the demonstration, rests left out.

    Args:
        demonstration: with its motion in the base frame.
        keypoints: of the skill, in the demonstration's first image.
        settings: see `SegmentationSettings`; None takes the defaults.

    Returns:
        48 poses of `fr3_hand_tcp`; `gripper` is a command: 0 from the pose where the fingers
        closed on something, else 0.08 m.

    Raises:
        DemonstrationError: no keypoint was found, the tool never comes near them, it does not
            move there, or a sample of the motion is not finite.
    """
    settings = settings or SegmentationSettings()
    name = demonstration.name
    if not keypoints.found.any():
        raise DemonstrationError(f"{name}: none of the {len(keypoints)} keypoints was found in it")
    _check_finite(demonstration)
    initial, switches = gripper_commands(
        demonstration.stamps, demonstration.gripper, settings.finger_travel
    )
    start, end = _cut(demonstration, keypoints, initial, switches, settings)
    stamps, poses = demonstration.stamps[start:end], demonstration.T_base_ee[start:end]
    if end - start < 3:
        raise DemonstrationError(f"{name}: it ends {settings.radius} m from the keypoints")
    inner = [s for s in switches if stamps[0] < s.stamp < stamps[-1]]
    before = [s for s in switches if s.stamp <= stamps[0]]
    command = before[-1].command if before else initial

    pace = _time_without_rests(stamps, poses, settings)
    if pace[-1] < 2 * _SHORTEST_STEP * POSES:
        raise DemonstrationError(
            f"{name}: the tool moves for only {pace[-1]:.2f} s near the keypoints",
            "record the whole task, or leave this bag out",
        )
    commands = np.array([command, *(s.command for s in inner)])
    borders = np.array([stamps[0], *(s.stamp for s in inner), stamps[-1]])
    counts = _share(POSES, len(commands))
    travelled = _travelled(stamps, poses, pace)
    query = np.concatenate(
        [
            _even_path(travelled, stamps, (borders[i], borders[i + 1]), n, i == len(counts) - 1)
            for i, n in enumerate(counts)
        ]
    )
    resampled = np.interp(query, stamps, pace)
    return EndEffectorTrajectory(
        interpolate_poses(stamps, poses, query),
        np.repeat(commands, counts),
        _strictly_increasing(resampled - resampled[0]),
    )


def _check_finite(demonstration: Demonstration) -> None:
    """Refuse a motion with a value that is no number."""
    whole = np.isfinite(demonstration.stamps) & np.isfinite(demonstration.gripper)
    whole &= np.isfinite(demonstration.T_base_ee).all(axis=(1, 2))
    if not whole.all():
        raise DemonstrationError(
            f"{demonstration.name}: {int((~whole).sum())} of {len(whole)} samples of its motion "
            f"are not finite, the first is sample {int(np.argmin(whole))}",
            "record it again, or leave this bag out",
        )


def gripper_commands(
    stamps: Array, opening: Array, finger_travel: float
) -> tuple[float, list[_Switch]]:
    """Read the commands off a measured opening.

    A command is a change by more than `finger_travel` from the last plateau; it counts from the
    time when the fingers rest, for that is where they hold. They may creep on while the arm moves
    on with what they hold, so it is not their last position that tells.

    Args:
        stamps: (T,) [s].
        opening: (T,) measured opening [m].
        finger_travel: least change that is a command [m].

    Returns:
        The command at the start [m] and the switches after it, in time order.
    """
    turns: list[tuple[int, float]] = []
    low = high = opening[0]
    state = 0.0  # +1 after opening, -1 after closing, 0 before the first change
    for i, value in enumerate(opening):
        low, high = min(low, value), max(high, value)
        if state >= 0 and value < high - finger_travel:
            turns.append((i, CLOSED))
            state, low, high = -1.0, value, value
        elif state <= 0 and value > low + finger_travel:
            turns.append((i, OPEN))
            state, low, high = 1.0, value, value
    if turns:
        initial = OPEN if turns[0][1] == CLOSED else CLOSED
    else:
        initial = CLOSED if float(np.median(opening)) < _HELD_BELOW else OPEN
    switches = []
    for k, (i, command) in enumerate(turns):
        stop = turns[k + 1][0] if k + 1 < len(turns) else len(opening)
        rests = i + _rest_after_motion(stamps[i:stop], opening[i:stop], finger_travel)
        switches.append(_Switch(float(stamps[rests]), command))
    return initial, switches


def _rest_after_motion(stamps: Array, opening: Array, finger_travel: float) -> int:
    """Return the sample at which the fingers rest after the last motion of `finger_travel` [m]."""
    ends = np.searchsorted(stamps, stamps + _FINGER_REST)
    moves = [np.ptp(opening[i : end + 1]) > 0.25 * finger_travel for i, end in enumerate(ends)]
    edges = np.flatnonzero(np.diff([False, *moves, False]))
    rest = 0
    for first, end in edges.reshape(-1, 2):
        last = min(int(end), len(opening) - 1)
        if abs(opening[last] - opening[first]) >= finger_travel or rest == 0:
            rest = last
    return rest


def _cut(
    demonstration: Demonstration,
    keypoints: DetectedKeypoints,
    initial: float,
    switches: list[_Switch],
    settings: SegmentationSettings,
) -> tuple[int, int]:
    """Return the first sample of the execution and the one after its last.

    What a hand holds from the start on is a tool, which works some way off the fingers: there the
    radius counts from the closest that they come.
    """
    positions = demonstration.T_base_ee[:, :3, 3]
    points = keypoints.positions[keypoints.found]
    distance = np.linalg.norm(positions[:, None] - points[None], axis=-1).min(axis=1)
    closest = float(distance.min())
    tool = closest if initial == CLOSED else 0.0
    radius = settings.radius
    near = distance <= radius + min(tool, settings.tool_length)
    if not near.any():
        allowed = radius + (settings.tool_length if tool else 0.0)
        raise DemonstrationError(
            f"{demonstration.name}: the hand stays {closest:.3f} m or more from the "
            f"keypoints, expected {allowed:.2f} m or less",
            "check the hand-eye transform and that the bag shows the task",
        )
    index = {s: int(np.searchsorted(demonstration.stamps, s.stamp)) for s in switches}
    closes = [index[s] for s in switches if s.command == CLOSED and near[index[s]]]
    contact = closes[0] if closes else int(distance.argmin())
    away = np.flatnonzero(~near[:contact])
    start = int(away[-1]) if len(away) else 0
    start = _after_hesitation(demonstration, start, contact, settings)

    end = len(positions)
    releases = [index[s] for s in switches if s.command == OPEN and index[s] > contact]
    if releases and index[switches[-1]] == releases[-1]:
        # The hand goes home after it has let go; that is not part of the task.
        gone = np.linalg.norm(positions[releases[-1] :] - positions[releases[-1]], axis=1) > radius
        end = releases[-1] + int(gone.argmax()) + 1 if gone.any() else end
    return start, end


def _after_hesitation(
    demonstration: Demonstration, start: int, contact: int, settings: SegmentationSettings
) -> int:
    """Return the sample in front of the object where the tool all but stopped, else `start`.

    A hand that has come a long way often pauses before it goes in; the way to that pause differs
    from demonstration to demonstration and is approach.
    """
    positions = demonstration.T_base_ee[start : contact + 1, :3, 3]
    if len(positions) < 3:
        return start
    speed = _speed(
        demonstration.stamps[start : contact + 1],
        demonstration.T_base_ee[start : contact + 1],
        settings.still_time,
    )
    off = np.linalg.norm(positions[:-1] - positions[-1], axis=1) >= _FRONT * settings.radius
    moving = speed > settings.still_speed
    if not off.any() or not moving.any():
        return start
    slowest = np.where(off, speed, np.inf)
    last = len(slowest) - 1 - int(slowest[::-1].argmin())
    return start + last if slowest[last] < _HESITATION * np.median(speed[moving]) else start


def _path_steps(poses: Array) -> Array:
    """Return the (T - 1,) path lengths [m] between successive poses, rotation included."""
    index = np.arange(len(poses))
    return _chord(poses, index[:-1], index[1:])


def _time_without_rests(stamps: Array, poses: Array, settings: SegmentationSettings) -> Array:
    """Return (T,) times [s] from the first, during which the tool moved."""
    moving = _speed(stamps, poses, settings.still_time) > settings.still_speed
    return np.concatenate([[0.0], np.cumsum(np.where(moving, np.diff(stamps), 0.0))])


def _speed(stamps: Array, poses: Array, window: float) -> Array:
    """Return (T - 1,) speeds [m/s] between samples, over a window [s] around each.

    The noise of single samples would look like motion.
    """
    index, middle = np.arange(len(stamps)), (stamps[:-1] + stamps[1:]) / 2
    first = np.floor(np.interp(middle - window / 2, stamps, index)).astype(int)
    last = np.ceil(np.interp(middle + window / 2, stamps, index)).astype(int)
    return np.asarray(_chord(poses, first, last) / (stamps[last] - stamps[first]))


def _chord(poses: Array, first: NDArray[np.int_], last: NDArray[np.int_]) -> Array:
    """Return (M,) straight distances [m], rotation included, between pairs of poses."""
    moved = np.linalg.norm(poses[last, :3, 3] - poses[first, :3, 3], axis=1)
    return np.asarray(moved + _METRES_PER_RADIAN * rotation_angle(poses[first], poses[last]))


def _share(total: int, parts: int) -> list[int]:
    """Split `total` poses as evenly as possible; the first parts take what is left over."""
    return [total // parts + (1 if i < total % parts else 0) for i in range(parts)]


def _even_path(
    travelled: Array, stamps: Array, stretch: tuple[float, float], count: int, last: bool
) -> Array:
    """Return (count,) times [s] at even path lengths in a stretch of time.

    Args:
        travelled: (T,) path length [m], strictly increasing.
        stamps: (T,) [s].
        stretch: start and end [s].
        count: how many.
        last: whether the end is one of them.
    """
    start, end = np.interp(stretch, stamps, travelled).tolist()
    query = np.linspace(start, end, count, endpoint=last)
    return np.asarray(np.interp(query, travelled, stamps))


def _travelled(stamps: Array, poses: Array, pace: Array) -> Array:
    """Return the (T,) path length [m] up to each sample, without the trembling of rests."""
    steps = _path_steps(poses) * (np.diff(pace) > 0)
    # Where the tool rests the path does not grow; a trace of time keeps its inverse defined.
    return np.asarray(np.concatenate([[0.0], np.cumsum(steps)]) + 1e-6 * (stamps - stamps[0]))


def _strictly_increasing(times: Array) -> Array:
    """Return times [s] with every step at least `_SHORTEST_STEP`; other steps keep their length."""
    steps = np.maximum(np.diff(times), _SHORTEST_STEP)
    return np.concatenate([[0.0], np.cumsum(steps)])
