"""The physics of one task: the object in its scene, and the hand that a mocap body drags along.

The constants of the control (step, gain, weld) are those of the package's environments. What
differs from them, and why:

- The hand turns about gravity, by at most 3 degrees a step; there it always looks one way.
- The low wall around the table touches nothing. A turned drawer stands in it, and is shoved open.
- The joint starts at its value and at rest in every scene.
- The hand's range is that of the arm, not a box that fits one way of turning.
"""

from __future__ import annotations

import mujoco
import numpy as np

from kalm_core.se3 import Array, make_pose
from kalm_sim.metaworld.scenes import Scene, Shape
from kalm_sim.metaworld.tasks import Point, Task, model_path, place

_SKIP = 5  # physics steps per control step, of 2.5 ms
_STEP = 0.01  # farthest that the mocap body goes per control step and axis [m]
_TURN = np.deg2rad(3.0)  # ... and how far it turns
_WELD = np.array([0.0, 0, 0, 0, 0, 0, -1.0, 0, 0, 0, 5.0])  # the package's, relative pose and scale
_LOW, _HIGH = np.array([-0.7, 0.2, 0.02]), np.array([0.7, 1.1, 0.7])  # of the mocap body [m]
_GAIN = 25.0  # of the experts: a distance of 4 cm is full speed

T_hand_tool = make_pose(np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), np.zeros(3))
"""Our tool frame, z out of the fingers and y from one to the other, in the package's hand body.

The origin stays that of the hand, 4.5 cm behind the fingers' tips: the lever is lifted with the
palm.
"""


class World:
    """One task's model; `reset` puts it into a scene.

    Args:
        task: which.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.model = mujoco.MjModel.from_xml_path(str(model_path(task)))
        self.data = mujoco.MjData(self.model)
        model = self.model
        model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD] = _WELD
        wall = model.geom_bodyid == model.body("RetainingWall").id
        model.geom_contype[wall] = model.geom_conaffinity[wall] = 0
        # Its boxes around bodies do not follow when an object is reshaped.
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
        self._root = model.body(task.root).id
        self._root_quat = model.body_quat[self._root].copy()
        self._bodies = _subtree(model, self._root)
        self._joint = model.joint(task.joint)
        self._hand = model.body("hand").id
        self._plain = {name: getattr(model, name).copy() for name in _SHAPED}
        self.scene = Scene(np.array([0.0, 5.0, 0.0]), 0.0)  # out of the hand's way
        self._place(self.scene)
        self._home()
        self._state = (self.data.qpos.copy(), self.data.mocap_pos.copy())

    def _home(self) -> None:
        """Bring the hand to where it waits, as the package does."""
        for _ in range(120):
            self.data.mocap_pos[0] = self.task.home
            self.data.mocap_quat[0] = _mocap_quat(0.0)
            self._step(self.task.closed)

    def reset(self, scene: Scene) -> None:
        """Put the object into a scene, its joint at its start, and the hand at its home."""
        self.scene = scene
        mujoco.mj_resetData(self.model, self.data)
        self._place(scene)
        self.data.qpos[:] = self._state[0]
        start = self.task.start
        if self.task.slide is not None:
            start *= float(scene.shape.scale[self.task.slide])
        self.data.qpos[self._joint.qposadr[0]] = start
        self.data.mocap_pos[:] = self._state[1]
        self.data.mocap_quat[0] = _mocap_quat(0.0)
        self._yaw = 0.0
        mujoco.mj_forward(self.model, self.data)

    def act(self, action: Array, yaw: float, closed: bool) -> None:
        """Advance by one control step.

        Args:
            action: (3,) of the mocap body along x, y, z, in [-1, 1]; clipped.
            yaw: to turn the hand to [rad].
            closed: whether the fingers press together.
        """
        moved = self.data.mocap_pos[0] + _STEP * np.clip(action, -1.0, 1.0)
        self.data.mocap_pos[0] = np.clip(moved, _LOW, _HIGH)
        self._yaw += float(np.clip(self.turn_left(yaw), -_TURN, _TURN))
        self.data.mocap_quat[0] = _mocap_quat(self._yaw)
        self._step(closed)

    def drive(self, position: Array, yaw: float, closed: bool) -> None:
        """Advance by one control step towards a position (3,) of the hand [m] and a yaw [rad]."""
        self.act(_GAIN * (position - self.hand), yaw, closed)

    def turn_left(self, yaw: float) -> float:
        """Return the turn [rad] from the yaw that the hand is held at to another."""
        return float((yaw - self._yaw + np.pi) % (2 * np.pi) - np.pi)

    @property
    def mocap(self) -> Array:
        """Position (3,) of the body that drags the hand [m]."""
        return np.array(self.data.mocap_pos[0])

    def _step(self, closed: bool) -> None:
        self.data.ctrl[:] = (1.0, -1.0) if closed else (-1.0, 1.0)
        mujoco.mj_step(self.model, self.data, nstep=_SKIP)

    @property
    def hand(self) -> Array:
        """Position (3,) of the hand [m]."""
        return np.array(self.data.xpos[self._hand])

    @property
    def T_base_tool(self) -> Array:
        """Pose (4, 4) of the tool."""
        rotation = self.data.xmat[self._hand].reshape(3, 3)
        return make_pose(rotation, self.data.xpos[self._hand]) @ T_hand_tool

    @property
    def joints(self) -> Array:
        """The arm's (7,) positions [rad]."""
        return np.array(self.data.qpos[:7])

    @property
    def opening(self) -> float:
        """Between the fingers [m], 0 where they meet."""
        right, left = self.data.qpos[7:9]
        return float(np.clip(0.088 - right + left, 0.0, 0.088))

    @property
    def travel(self) -> float:
        """How far the joint is from its start, at scale 1 [m or rad]."""
        return abs(self._value() - self.task.start)

    @property
    def error(self) -> float:
        """Distance from the goal as a share of what the package tolerates; 1 or less succeeds."""
        return self.task.error(self._value()) / self.task.tolerance

    @property
    def succeeded(self) -> bool:
        """Whether the package would call it a success now."""
        return self.error <= 1.0

    def _value(self) -> float:
        value = float(self.data.qpos[self._joint.qposadr[0]])
        axis = self.task.slide
        return value if axis is None else value / float(self.scene.shape.scale[axis])

    def position(self, point: Point) -> Array:
        """Return where a point of the object is now, (3,) [m]."""
        shape = self.scene.shape
        body = self.model.body(point.body).id
        # A part that is a body of its own has its shift in the body's position.
        shift = np.zeros(3) if self._shifts_body() else shape.part
        local = place(point, shape.scale, shift)
        return np.asarray(self.data.xpos[body] + self.data.xmat[body].reshape(3, 3) @ local)

    def _shifts_body(self) -> bool:
        return self.task.part_geoms[1] == 0

    def _place(self, scene: Scene) -> None:
        """Write a scene into the model."""
        model = self.model
        for name, values in self._plain.items():
            getattr(model, name)[:] = values
        model.body_pos[self._root] = scene.position
        turn = np.array([np.cos(scene.yaw / 2), 0.0, 0.0, np.sin(scene.yaw / 2)])
        mujoco.mju_mulQuat(model.body_quat[self._root], turn, self._root_quat)
        self._reshape(scene.shape)

    def _reshape(self, shape: Shape) -> None:
        """Scale the object and shift its part; the physics' geoms are boxes, rods and balls."""
        model, scale = self.model, shape.scale
        inner = self._bodies[self._bodies != self._root]
        model.body_pos[inner] *= scale
        geoms = np.flatnonzero(np.isin(model.geom_bodyid, self._bodies))
        model.geom_pos[geoms] *= scale
        for geom in geoms:
            model.geom_size[geom] = _scaled_size(model, geom, scale)
        model.geom_rbound[geoms] *= scale.max()
        sites = np.flatnonzero(np.isin(model.site_bodyid, self._bodies))
        model.site_pos[sites] *= scale
        if self.task.slide is not None:
            model.jnt_range[self._joint.id] *= scale[self.task.slide]
        name, first = self.task.part_geoms
        body = model.body(name).id
        if first == 0:
            model.body_pos[body] += shape.part
        else:
            own = np.flatnonzero(model.geom_bodyid == body)[first:]
            model.geom_pos[own] += shape.part


_SHAPED = ("body_pos", "geom_pos", "geom_size", "geom_rbound", "site_pos", "jnt_range")


def _mocap_quat(yaw: float) -> Array:
    """Return the (w, x, y, z) of a hand that looks down and is turned by yaw [rad]."""
    c, s = np.cos(yaw / 2), np.sin(yaw / 2)
    return np.array([c, -s, c, s]) / np.sqrt(2.0)


def hand_yaw(T_base_tool: Array) -> float:
    """Return how far a tool pose (4, 4) is turned about gravity [rad], 0 in the home pose."""
    return float(np.arctan2(-T_base_tool[0, 1], T_base_tool[1, 1]))


def _subtree(model: mujoco.MjModel, root: int) -> Array:
    """Return the ids of a body and of all that hang on it."""
    bodies = [root]
    for body in range(root + 1, model.nbody):
        if model.body_parentid[body] in bodies:
            bodies.append(body)
    return np.array(bodies)


def _scaled_size(model: mujoco.MjModel, geom: int, scale: Array) -> Array:
    """Return a geom's size on a scaled object; round ones stay round, with the mean radius."""
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
    along = np.linalg.norm(rotation.reshape(3, 3) * scale[:, None], axis=0)
    size = model.geom_size[geom].copy()
    kind = model.geom_type[geom]
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        size *= along
    elif kind in {mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE}:
        size[:2] *= np.array([np.sqrt(along[0] * along[1]), along[2]])
    elif kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        size[0] *= float(np.cbrt(np.prod(along)))
    return size
