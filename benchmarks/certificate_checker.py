"""A slow and dense check of a motion by MuJoCo; it shares nothing with the planner but its values.

The arm is that of franky-sim with every mesh of it, the visible ones as well as those for contacts,
each as its convex hull; where two hulls of links overlap, their triangles decide
(`certificate_meshes`). Postures are at most `STEP` apart at the fastest point of the arm. Where
MuJoCo says that nothing is near, the next posture may be farther away, by no more than what is
certain to stay farther than `NEAR` from everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mujoco
import numpy as np

from benchmarks.certificate_arm import KINDS, PREFIX, SLOTS, compile_arm
from benchmarks.certificate_meshes import LinkMeshes
from benchmarks.certificate_scenes import Solid
from kalm_core import fr3_limits
from kalm_core.planning.motion import Motion
from kalm_core.se3 import Array, make_pose, rotation_angle
from kalm_core.trajectory import JointPath
from kalm_sim.camera import T_hand_ee

STEP = 0.001
NEAR = 0.01
"""Distances from the scene below this are found exactly [m]."""
_SEEN = 0.04  # [m], MuJoCo reports what is nearer


@dataclass(frozen=True)
class Contacts:
    """What is excepted: fingers near the keypoints, as the certificate's own settings say.

    Attributes:
        keypoints: (K, 3) [m].
        radius: of the excepted balls around them [m].
        length: of the approach's first and last part in which the exception holds [m].
    """

    keypoints: Array
    radius: float
    length: float


@dataclass(frozen=True)
class Found:
    """The truth about a motion.

    Attributes:
        scene: least distance from the scene outside the contact [m], exact below `NEAR`.
        itself: least distance between two links that may not touch [m], exact where negative.
        where: what is nearest, in words.
        limits: largest share of a joint's limits; positions count as 1 plus [rad] beyond.
        start: largest jump between the arm and the motion, or between two parts [rad].
        pose, turn: by how much joints miss their poses [m], [rad].
        longest: time step [s].
        manipulability: least of the execution.
        postures: number of postures checked.
    """

    scene: float
    itself: float
    where: str
    limits: float
    start: float
    pose: float
    turn: float
    longest: float
    manipulability: float
    postures: int


class DenseChecker:
    """MuJoCo's collision detection, a posture after the other.

    Args:
        uniform: never step farther than `STEP`.
    """

    def __init__(self, uniform: bool = False) -> None:
        self._uniform = uniform
        self._model = m = compile_arm()
        self._data = mujoco.MjData(m)
        bodies = [m.body(int(b)).name for b in m.geom_bodyid]
        self._names = [name.removeprefix(PREFIX) for name in bodies]
        self._slot = np.array([name.startswith("slot_") for name in bodies])
        self._finger = np.array([name.endswith("_finger") for name in bodies])
        m.geom_margin[~self._slot] = _SEEN
        joints = [m.joint(f"{PREFIX}fr3_joint{i}") for i in range(1, 8)]
        self._q = [int(j.qposadr[0]) for j in joints]
        self._v = [int(j.dofadr[0]) for j in joints]
        self._range = np.array([j.range for j in joints])
        self._w = [int(m.joint(f"{PREFIX}finger_joint{i}").qposadr[0]) for i in (1, 2)]
        self._hand = m.body(f"{PREFIX}hand").id
        self._camera = int(np.flatnonzero(m.geom_dataid == m.mesh("camera").id)[0])
        self._meshes = LinkMeshes()
        self._posture = (np.zeros(7), 0.0)
        self._corners = self._body_corners()
        self.set_scene(())

    def _body_corners(self) -> list[tuple[int, Array]]:
        """Return (body, (8 K, 3) corners of the boxes around its K shapes in its frame [m])."""
        m, found = self._model, []
        signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3), axis=-1).reshape(-1, 3)
        for body in np.unique(m.geom_bodyid[~self._slot]):
            corners = []
            for g in np.flatnonzero(m.geom_bodyid == body):
                turn = np.zeros(9)
                mujoco.mju_quat2Mat(turn, m.geom_quat[g])
                local = m.geom_aabb[g, :3] + signs * m.geom_aabb[g, 3:]
                corners.append(local @ turn.reshape(3, 3).T + m.geom_pos[g])
            both = np.concatenate(corners)
            low, high = both.min(axis=0), both.max(axis=0)
            found.append((int(body), (low + high) / 2 + signs * (high - low) / 2))
        return found

    def set_scene(self, solids: tuple[Solid, ...]) -> None:
        """Put solids in their places, all others far away."""
        m, d = self._model, self._data
        free = {kind: iter(range(SLOTS)) for kind in KINDS}
        d.mocap_pos[:] = [0.0, 0.0, -50.0]
        for solid in solids:
            body = m.body(f"slot_{solid.kind}_{next(free[solid.kind])}")
            geom, mocap = int(body.geomadr[0]), int(body.mocapid[0])
            m.geom_size[geom] = solid.size
            a, b, _ = solid.size
            half = {"box": solid.size, "cylinder": (a, a, b), "capsule": (a, a, a + b)}[solid.kind]
            m.geom_aabb[geom] = [0.0, 0.0, 0.0, *half]
            m.geom_rbound[geom] = np.linalg.norm(half)
            d.mocap_pos[mocap] = solid.T_base_solid[:3, 3]
            mujoco.mju_mat2Quat(d.mocap_quat[mocap], solid.T_base_solid[:3, :3].ravel())

    def check(self, motion: Motion, joints: Array, gripper: float, contacts: Contacts) -> Found:
        """Look at every part of a motion that starts at joints (7,) [rad]."""
        scene = itself = np.inf
        where, postures = "", 0
        for name, path in motion.parts:
            widths = _widths(name, motion, gripper)
            for found, is_scene, text in self._walk(name, path.positions, widths, contacts):
                postures += 1
                if is_scene and found < scene:
                    scene, where = found, text
                elif not is_scene and found < itself:
                    itself = found
                    where = text if found < min(scene, 0.0) else where
        end, start = joints, 0.0
        for _, path in motion.parts:
            start = max(start, float(np.abs(path.positions[0] - end).max()))
            end = path.positions[-1]
        off, turn, least = self._execution(motion)
        return Found(
            scene=float(scene),
            itself=float(itself),
            where=where,
            limits=max(self._limit_share(path) for _, path in motion.parts),
            start=start,
            pose=off,
            turn=turn,
            longest=max(float(np.diff(path.stamps).max()) for _, path in motion.parts),
            manipulability=least,
            postures=postures,
        )

    def _put(self, q: Array, width: float) -> None:
        self._posture = (q, width)
        self._data.qpos[self._q] = q
        self._data.qpos[self._w] = width / 2
        mujoco.mj_kinematics(self._model, self._data)

    def _tool(self) -> Array:
        d = self._data
        hand = make_pose(d.xmat[self._hand].reshape(3, 3), d.xpos[self._hand])
        return np.asarray(hand @ T_hand_ee)

    def _cloud(self) -> Array:
        d = self._data
        parts = [c @ d.xmat[b].reshape(3, 3).T + d.xpos[b] for b, c in self._corners]
        return np.concatenate(parts)

    def _walk(
        self, name: str, path: Array, widths: Array, contacts: Contacts
    ) -> Iterator[tuple[float, bool, str]]:
        """Yield (distance, whether from the scene, words) twice for every posture."""
        excepted = self._excepted(name, path, widths, contacts)
        at, piece = 0.0, 1.0
        self._put(path[0], widths[0])
        before = self._cloud()
        scene, itself, text, text_self = self._nearest(excepted(0.0), contacts)
        while True:
            yield scene, True, text
            yield itself, False, text_self
            if at >= len(path) - 1:
                return
            allowed = STEP
            if not self._uniform:
                allowed = max(STEP, min(scene - NEAR, itself / 2, (_SEEN - NEAR)))
            knot = np.floor(at + 1e-9) + 1.0
            piece = min(2.0 * piece, knot - at)
            while True:
                to = knot if at + piece > knot - 1e-9 else at + piece
                k, share = (int(knot) - 1, to - (knot - 1.0))
                q = path[k] + share * (path[k + 1] - path[k])
                self._put(q, widths[k] + share * (widths[k + 1] - widths[k]))
                cloud = self._cloud()
                way = float(np.sqrt(((cloud - before) ** 2).sum(axis=1).max()))
                if way <= allowed:
                    break
                piece *= max(0.1, 0.95 * allowed / way)
            at, before = to, cloud
            scene, itself, text, text_self = self._nearest(excepted(at), contacts)

    def _excepted(
        self, name: str, path: Array, widths: Array, contacts: Contacts
    ) -> Callable[[float], bool]:
        """Return a function that tells whether the fingers may touch at a place on the path.

        It is asked with the arm put there.
        """
        if name != "approach":
            return lambda _: True
        tools = []
        for q, width in zip(path, widths, strict=True):
            self._put(q, width)
            tools.append(self._tool()[:3, 3])
        away_start = np.linalg.norm(np.array(tools) - tools[0], axis=1) > contacts.length
        away_end = np.linalg.norm(np.array(tools) - tools[-1], axis=1) > contacts.length
        first = np.flatnonzero(away_start)[0] if away_start.any() else len(path)
        last = np.flatnonzero(away_end)[-1] if away_end.any() else -1

        def asked(at: float) -> bool:
            tool = self._tool()[:3, 3]
            starts = at <= first and np.linalg.norm(tool - tools[0]) <= contacts.length + STEP
            ends = at >= last and np.linalg.norm(tool - tools[-1]) <= contacts.length + STEP
            return bool(starts or ends)

        return asked

    def _nearest(self, excepted: bool, contacts: Contacts) -> tuple[float, float, str, str]:
        m, d = self._model, self._data
        mujoco.mj_collision(m, d)
        if d.ncon == 0:
            return np.inf, np.inf, "", ""
        pair, distance = d.contact.geom, d.contact.dist
        with_scene = self._slot[pair].any(axis=1)
        if excepted and with_scene.any():
            finger = with_scene & self._finger[pair].any(axis=1)
            if finger.any():
                gap = np.linalg.norm(d.contact.pos[:, None] - contacts.keypoints[None], axis=-1)
                with_scene = with_scene & ~(finger & (gap.min(axis=1) <= contacts.radius))
                pair, distance = pair[with_scene | ~finger], distance[with_scene | ~finger]
                with_scene = self._slot[pair].any(axis=1)
        scene, text = self._least(distance, pair, with_scene)
        itself, text_self = self._least(self._confirmed(distance, pair), pair, ~with_scene)
        return scene, itself, text, text_self

    def _confirmed(self, distance: Array, pair: Array) -> Array:
        """Return the distances with those of hulls that overlap where the links do not, exact."""
        exact = distance.copy()
        for k in np.flatnonzero((distance < 0) & ~self._slot[pair].any(axis=1)):
            if self._camera in pair[k]:  # a box, which is its own hull
                continue
            names = (self._names[int(g)] for g in pair[k])
            apart = self._meshes.distance(*names, *self._posture)
            exact[k] = apart if apart > 0 else distance[k]
        return exact

    def _least(self, distance: Array, pair: Array, mask: Array) -> tuple[float, str]:
        if not mask.any():
            return np.inf, ""
        k = int(np.argmin(np.where(mask, distance, np.inf)))
        return float(distance[k]), " and ".join(sorted(self._names[int(g)] for g in pair[k]))

    def _limit_share(self, path: JointPath) -> float:
        """Divided differences: any smooth curve through the samples has derivatives that large."""
        q, t = path.positions, path.stamps
        low, high = self._range.T
        beyond = float(np.maximum(low - q, q - high).max())
        worst = 1.0 + beyond if beyond > 1e-9 else 0.0
        value = q
        for order, limit in enumerate(
            (fr3_limits.velocity(), fr3_limits.acceleration(), fr3_limits.jerk()), start=1
        ):
            if len(value) < 2:
                break
            span = (t[order:] - t[:-order])[:, None]
            value = order * np.diff(value, axis=0) / span
            worst = max(worst, float((np.abs(value) / limit).max()))
        return worst

    def _execution(self, motion: Motion) -> tuple[float, float, float]:
        off = turn = 0.0
        least = np.inf
        jacobian = np.zeros((6, self._model.nv))
        for q, pose in zip(motion.execution_joints, motion.execution.T_base_ee, strict=True):
            self._put(q, 0.0)
            mujoco.mj_comPos(self._model, self._data)
            tool = self._tool()
            off = max(off, float(np.linalg.norm(tool[:3, 3] - pose[:3, 3])))
            turn = max(turn, float(rotation_angle(tool, pose)))
            mujoco.mj_jac(
                self._model, self._data, jacobian[:3], jacobian[3:], tool[:3, 3], self._hand
            )
            J = jacobian[:, self._v]
            least = min(least, float(np.sqrt(max(np.linalg.det(J @ J.T), 0.0))))
        return off, turn, least


def _widths(name: str, motion: Motion, gripper: float) -> Array:
    """Return how far the fingers are open [m] at each sample of a part."""
    given = motion.execution.gripper
    if name == "execution":
        return given
    if name == "approach":
        return np.linspace(gripper, given[0], len(motion.approach.stamps))
    assert motion.retreat is not None
    return np.full(len(motion.retreat.stamps), given[-1])
