"""The arm's motion from joint states and tool poses, on one clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.bags.scan import BagScan, Stamps
from kalm_core.bags.settings import BagSettings
from kalm_core.bags.topics import ARM_JOINTS, FINGER_JOINTS
from kalm_core.errors import DemonstrationError
from kalm_core.se3 import Array, interpolate_poses, pose_from_quaternion

Ns = 1e-9


@dataclass(frozen=True)
class PoseTrack:
    """Tool poses in time.

    Attributes:
        stamps: (N,) [ns], strictly increasing.
        T_base_ee: (N, 4, 4) poses of `fr3_hand_tcp` in the base frame.
    """

    stamps: Stamps
    T_base_ee: Array

    def at(self, query: Stamps) -> Array:
        """Return the (M, 4, 4) poses interpolated at (M,) stamps [ns]."""
        zero = self.stamps[0]
        return interpolate_poses((self.stamps - zero) * Ns, self.T_base_ee, (query - zero) * Ns)

    def covers(self, query: Stamps, gap: float) -> NDArray[np.bool_]:
        """Return which (M,) stamps [ns] lie between two poses at most `gap` [s] apart."""
        return _covered(self.stamps, query, gap)


@dataclass(frozen=True)
class Motion:
    """The recorded motion, sampled when the joints were read.

    Attributes:
        stamps: (T,) [ns], strictly increasing.
        joints: (T, 7) arm positions [rad].
        T_base_ee: (T, 4, 4) tool poses, interpolated.
        gripper: (T,) opening between the fingers [m].
        track: the tool poses as recorded.
    """

    stamps: Stamps
    joints: Array
    T_base_ee: Array
    gripper: Array
    track: PoseTrack

    def still_until(self, tolerance: float) -> int:
        """Return the last stamp [ns] before any joint is `tolerance` [rad] from its start."""
        moved = np.abs(self.joints - self.joints[0]).max(axis=1) > tolerance
        return int(self.stamps[-1] if not moved.any() else self.stamps[max(0, moved.argmax() - 1)])

    @property
    def reach(self) -> float:
        """Largest distance of the tool from where it started [m]."""
        positions = self.T_base_ee[:, :3, 3]
        return float(np.linalg.norm(positions - positions[0], axis=1).max())

    def gripper_switches(self, least: float) -> int:
        """Return how often the gripper went between open and closed.

        Args:
            least: an opening that changes by less than this [m] overall has not switched.
        """
        low, high = float(self.gripper.min()), float(self.gripper.max())
        if high - low < least:
            return 0
        third = (high - low) / 3
        states = np.where(
            self.gripper > high - third, 1, np.where(self.gripper < low + third, -1, 0)
        )
        states = states[states != 0]  # the middle third keeps noise from counting
        return int(np.count_nonzero(np.diff(states)))


def read_motion(scan: BagScan) -> Motion:
    """Build the motion of a bag.

    Args:
        scan: of a bag that has joint states and tool poses.

    Raises:
        DemonstrationError: joints are missing, the fingers for too long, poses are in another
            frame or not finite, a clock jumped back, or poses and joints do not overlap in time.
    """
    settings = scan.settings
    track = _pose_track(scan)
    joint_stamps, joints = _named_joints(scan, ARM_JOINTS)
    finger_stamps, fingers = _named_joints(scan, FINGER_JOINTS)
    covered = track.covers(joint_stamps, settings.pose_gap)
    if np.count_nonzero(covered) < 2:
        raise DemonstrationError(
            f"{scan.path}: {settings.joint_states_topic} and {settings.ee_pose_topic} do not "
            f"overlap in time ({_span(joint_stamps)} and {_span(track.stamps)})",
            "let one clock stamp both (both nodes with the same use_sim_time)",
        )
    stamps, joints = joint_stamps[covered], joints[covered]
    _check_fingers(scan, finger_stamps, stamps)
    zero = stamps[0]
    opening = np.interp(
        (stamps - zero) * Ns, (finger_stamps - zero) * Ns, np.maximum(fingers.sum(axis=1), 0.0)
    )
    return Motion(stamps, joints, track.at(stamps), opening, track)


def _covered(known: Stamps, query: Stamps, gap: float) -> NDArray[np.bool_]:
    """Return which stamps [ns] lie between two of (N,) known ones at most `gap` [s] apart."""
    after = np.searchsorted(known, query, side="left").clip(1, len(known) - 1)
    narrow = known[after] - known[after - 1] <= gap * 1e9
    inside = (query >= known[0]) & (query <= known[-1])
    return np.asarray(inside & (narrow | np.isin(query, known)))


def _check_fingers(scan: BagScan, fingers: Stamps, motion: Stamps) -> None:
    """Refuse a motion [ns] in which the opening is guessed: a grasp there would be misplaced.

    A stall of all joint states is no such gap: the arm does not move in samples that are not there.
    """
    gap = scan.settings.finger_gap
    beside = round(gap * 1e9)
    known = np.concatenate([[fingers[0] - beside], fingers, [fingers[-1] + beside]])
    unknown = motion[~_covered(known, motion, gap)]
    if len(unknown):
        before = fingers[fingers < unknown[0]]
        since = (before[-1] - motion[0]) * Ns if len(before) else 0.0
        raise DemonstrationError(
            f"{scan.path}: the hand did not answer while the arm did, from {max(since, 0.0):.1f} s "
            f"after the start for longer than {gap:g} s",
            "check the hand's connection, then record again",
        )


def in_order(stamps: Stamps, late: float, where: str) -> NDArray[np.intp]:
    """Return the indices that put stamps [ns] in strictly increasing order, one of equals kept.

    Args:
        stamps: (N,) in the order of arrival.
        late: a message may be this much older than one that came before it [s].
        where: bag and topic, for the error.

    Raises:
        DemonstrationError: the clock jumped back further than that: two motions would be mixed.
    """
    behind = np.maximum.accumulate(stamps) - stamps
    if (behind > late * 1e9).any():
        raise DemonstrationError(
            f"{where}: the clock of the stamps jumps back by {behind.max() * Ns:.2f} s",
            "record again without restarting the robot's node or the simulator in between",
        )
    return np.asarray(np.unique(stamps, return_index=True)[1])


def _pose_track(scan: BagScan) -> PoseTrack:
    settings: BagSettings = scan.settings
    where = f"{scan.path}: {settings.ee_pose_topic}"
    frames = {str(message.header.frame_id).lstrip("/") for message in scan.ee_poses}
    if frames - {settings.base_frame}:
        raise DemonstrationError(
            f"{where} is given in {', '.join(sorted(frames))!r}, expected {settings.base_frame!r}",
            "let robot_node publish it",
        )
    poses = [message.pose for message in scan.ee_poses]
    positions = np.array([(p.position.x, p.position.y, p.position.z) for p in poses])
    quaternions = np.array(
        [(p.orientation.x, p.orientation.y, p.orientation.z, p.orientation.w) for p in poses]
    )
    norm = np.linalg.norm(quaternions, axis=1)
    if not np.isfinite(positions).all() or not (np.abs(norm - 1.0) < 0.01).all():
        raise DemonstrationError(f"{where} holds positions or quaternions that are no pose")
    stamps = scan.stamps[settings.ee_pose_topic].header
    order = in_order(stamps, settings.late, where)
    if len(order) < 2:
        raise DemonstrationError(f"{where} has only {len(order)} pose", "record the motion")
    return PoseTrack(stamps[order], pose_from_quaternion(positions, quaternions)[order])


def _named_joints(scan: BagScan, names: tuple[str, ...]) -> tuple[Stamps, Array]:
    """Return (stamps [ns], positions) of the messages that carry all of `names`."""
    where = f"{scan.path}: {scan.settings.joint_states_topic}"
    rows, kept = [], []
    for i, message in enumerate(scan.joint_states):
        index = {name: k for k, name in enumerate(message.name)}
        if all(name in index for name in names) and len(message.position) == len(index):
            rows.append([message.position[index[name]] for name in names])
            kept.append(i)
    if not rows:
        seen = sorted({name for message in scan.joint_states for name in message.name})
        raise DemonstrationError(
            f"{where} never carries {', '.join(names)} together; its names are "
            f"{', '.join(seen) or 'none'}",
            "record the joint states of arm and gripper",
        )
    positions = np.array(rows, dtype=np.float64)
    if not np.isfinite(positions).all():
        raise DemonstrationError(f"{where} holds positions that are not finite")
    stamps = scan.stamps[scan.settings.joint_states_topic].header[kept]
    order = in_order(stamps, scan.settings.late, where)
    return stamps[order], positions[order]


def _span(stamps: Stamps) -> str:
    return f"{stamps[0] * Ns:.2f} to {stamps[-1] * Ns:.2f} s"
