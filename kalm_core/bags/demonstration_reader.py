"""A recording to a `Demonstration`: first image, video frames, motion."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm_core.bags.bag_file import BagFile, checksum, open_bag
from kalm_core.bags.images import (
    LARGEST_DISTORTION,
    RECTIFY,
    decode_color,
    decode_depth,
    decode_intrinsics,
    distortion_pixels,
    distortion_sentence,
)
from kalm_core.bags.motion import Motion, Ns, read_motion
from kalm_core.bags.scan import BagScan, Stamps, scan_bag
from kalm_core.bags.settings import BagSettings
from kalm_core.bags.topics import record_command
from kalm_core.demonstration import Demonstration
from kalm_core.errors import DemonstrationError, NoImageError
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.se3 import Array

_log = logging.getLogger(__name__)


def read_demonstration(
    path: Path, T_ee_cam: Array, settings: BagSettings | None = None
) -> Demonstration:
    """Read a rosbag2 (mcap or sqlite3, ours or of `ros2 bag record`) as one demonstration.

    All times are header stamps. The first frame is the first usable one while the arm is still;
    a warning is logged when there is none (then the first usable one of all is taken), and when
    the lens distorts visibly. Only the chosen images are decoded.

    Args:
        path: the bag's folder, or its single `.mcap` or `.db3` file.
        T_ee_cam: (4, 4) pose of the colour optical frame in `fr3_hand_tcp`.
        settings: names of the topics and tolerances; None takes the defaults.

    Raises:
        DemonstrationError: the bag is missing, damaged or cut short, lacks a topic, lost the
            hand, or shows no motion; the text names the file or topic and what to do. The bag is
            never changed.
    """
    path, settings = Path(path), settings or BagSettings()
    with open_bag(path) as bag:
        scan = scan_bag(bag, settings)
        if problem := scan.missing():
            raise DemonstrationError(problem, f"record again: `{record_command('NAME')}`")
        motion = read_motion(scan)
        check_motion(path, motion, settings)
        pairs = pair_images(scan, motion)
        chosen = choose_frames(path, pairs, motion, settings)
        frames = read_frames(bag, scan, motion, pairs[chosen], T_ee_cam)
        if sentence := distortion_sentence(scan.camera_infos[0]):
            _log.warning("%s: %s; keypoints near the border will be off", path, sentence)
    return Demonstration(
        name=demonstration_name(path),
        frames=tuple(frames),
        stamps=(motion.stamps - motion.stamps[0]) * Ns,
        joints=motion.joints,
        T_base_ee=motion.T_base_ee,
        gripper=motion.gripper,
        source=path,
        sha256=checksum(path),
    )


def demonstration_name(path: Path) -> str:
    """Return how the demonstration of a bag (its folder or single file) is called."""
    return path.stem if path.is_file() else path.name


def check_motion(path: Path, motion: Motion, settings: BagSettings) -> None:
    """Refuse a recording in which nothing moves.

    Raises:
        DemonstrationError: the tool stays where it is and so does the gripper.
    """
    if motion.reach < settings.min_motion and not motion.gripper_switches(settings.min_switch):
        raise DemonstrationError(
            f"{path} shows no motion: the tool stays within {motion.reach * 1e3:.1f} mm "
            f"(expected at least {settings.min_motion * 1e3:.0f} mm) and the gripper as it is",
            "record again and move the arm while recording",
        )


def pair_images(scan: BagScan, motion: Motion) -> Stamps:
    """Return (P, 2) header stamps [ns] of the colour and depth images that make usable frames.

    Each colour image is paired with the depth image nearest in time; usable are those within the
    tolerance that lie where the tool's pose is known.

    Raises:
        DemonstrationError: there is none; the text says which condition failed.
    """
    settings = scan.settings
    color = np.unique(scan.stamps[settings.color_topic].header)
    depth = np.unique(scan.stamps[settings.depth_topic].header)
    after = np.searchsorted(depth, color).clip(1, max(1, len(depth) - 1))
    candidates = np.stack([depth[after - 1], depth[np.minimum(after, len(depth) - 1)]], axis=1)
    nearest = np.abs(candidates - color[:, None]).argmin(axis=1)
    partner = candidates[np.arange(len(color)), nearest]
    apart = np.abs(partner - color) * Ns
    close = apart <= settings.pair_tolerance
    if not close.any():
        raise DemonstrationError(
            f"{scan.path}: no colour image has a depth image within "
            f"{settings.pair_tolerance * 1e3:.0f} ms (the nearest is {apart.min():.3f} s off)",
            "start the camera with enable_sync and align_depth",
        )
    known = motion.track.covers(color, settings.pose_gap)
    if not (close & known).any():
        raise DemonstrationError(
            f"{scan.path}: no image was taken while the tool's pose is known (images from "
            f"{color[0] * Ns:.2f} to {color[-1] * Ns:.2f} s, poses from "
            f"{motion.track.stamps[0] * Ns:.2f} to {motion.track.stamps[-1] * Ns:.2f} s)",
            "let camera and arm stamp with one clock",
        )
    keep = close & known
    return np.stack([color[keep], partner[keep]], axis=1)


def choose_frames(
    path: Path, pairs: Stamps, motion: Motion, settings: BagSettings
) -> NDArray[np.intp]:
    """Return the indices of the first frame and of evenly spaced later ones, increasing."""
    color = pairs[:, 0]
    still = (color >= motion.stamps[0]) & (color <= motion.still_until(settings.still_joints))
    first = int(still.argmax())
    if not still.any():
        first = 0
        _log.warning(
            "%s: no image was taken before the arm moved; the first one is %.2f s later",
            path,
            (color[0] - motion.stamps[0]) * Ns,
        )
    times = np.linspace(color[first], motion.stamps[-1], settings.video_frames + 1)
    nearest = np.abs(color[None, first:] - times[:, None]).argmin(axis=1) + first
    return np.asarray(np.unique(nearest))


def read_frames(
    bag: BagFile, scan: BagScan, motion: Motion, pairs: Stamps, T_ee_cam: Array
) -> list[RgbdFrame]:
    """Decode the (F, 2) chosen pairs of stamps; other images are skipped as bytes.

    Raises:
        DemonstrationError: an image, the intrinsics or the lens is none that can be used.
    """
    settings = scan.settings
    colors = _decode_at(bag, scan, settings.color_topic, pairs[:, 0])
    depths = _decode_at(bag, scan, settings.depth_topic, pairs[:, 1])
    poses = motion.track.at(pairs[:, 0]) @ np.asarray(T_ee_cam, dtype=np.float64)
    frames = []
    for (color_stamp, depth_stamp), pose in zip(pairs.tolist(), poses, strict=True):
        try:
            frames.append(
                RgbdFrame(
                    decode_color(colors[color_stamp], f"{bag.path}: {settings.color_topic}"),
                    decode_depth(depths[depth_stamp], f"{bag.path}: {settings.depth_topic}"),
                    _intrinsics_at(scan, color_stamp),
                    pose,
                    color_stamp,
                )
            )
        except NoImageError as error:
            raise DemonstrationError(f"{bag.path}: {error.problem}", error.remedy) from error
    info = scan.camera_infos[0]
    if distortion_pixels(info) > LARGEST_DISTORTION:
        raise DemonstrationError(f"{bag.path}: {distortion_sentence(info)}", RECTIFY)
    return frames


def _decode_at(bag: BagFile, scan: BagScan, topic: str, wanted: Stamps) -> dict[int, Any]:
    """Return header stamp -> message of `topic`, for the stamps `wanted` [ns]."""
    stamps = scan.stamps[topic]
    found: dict[int, Any] = {}
    for stamp in wanted.tolist():
        received = int(stamps.received[int((stamps.header == stamp).argmax())])
        for _, _, raw in bag.messages((topic,), received, received + 1):
            message = bag.decode(topic, raw)
            when = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
            found.setdefault(when, message)
    return found


def _intrinsics_at(scan: BagScan, stamp: int) -> Intrinsics:
    topic = scan.settings.camera_info_topic
    nearest = int(np.abs(scan.stamps[topic].header - stamp).argmin())
    return decode_intrinsics(scan.camera_infos[nearest], f"{scan.path}: {topic}")
