"""A stand-in for moveit_py that has what its stubs and pybind sources have, and nothing else.

Every method takes the arguments of the real one (names, keywords, defaults) and refuses others; an
attribute that the real class lacks is an AttributeError. It plans with the straight joint line.
"""

from __future__ import annotations

import sys
import types
from typing import Any, ClassVar

import numpy as np

NAMES = [f"fr3_joint{i}" for i in range(1, 8)]
FINGERS = ["fr3_finger_joint1", "fr3_finger_joint2"]


class Message:
    """A ROS message: fixed fields, of which none can be added."""

    FIELDS: ClassVar[dict[str, Any]] = {}

    def __init__(self, **values: Any) -> None:
        for name, default in self.FIELDS.items():
            object.__setattr__(self, name, default() if callable(default) else default)
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.FIELDS:
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        object.__setattr__(self, name, value)


class Header(Message):
    FIELDS: ClassVar = {"frame_id": ""}


class CollisionObject(Message):
    ADD, REMOVE = b"\x00", b"\x01"
    FIELDS: ClassVar = {
        "header": Header,
        "id": "",
        "operation": b"\x00",
        "primitives": list,
        "primitive_poses": list,
    }


class SolidPrimitive(Message):
    BOX = 1
    FIELDS: ClassVar = {"type": 0, "dimensions": list}


class Duration(Message):
    FIELDS: ClassVar = {"sec": 0, "nanosec": 0}


class Point(Message):
    FIELDS: ClassVar = {"positions": list, "time_from_start": Duration}


class JointTrajectory(Message):
    FIELDS: ClassVar = {"joint_names": list, "points": list}


class RobotTrajectoryMsg(Message):
    FIELDS: ClassVar = {"joint_trajectory": JointTrajectory}


class ErrorCode(Message):
    FIELDS: ClassVar = {"val": 1}


class RobotModel:
    """Handed to RobotState only."""


class RobotState:
    def __init__(self, robot_model: RobotModel) -> None:
        assert isinstance(robot_model, RobotModel)
        self._positions = dict.fromkeys([*NAMES, *FINGERS], 0.0)
        self._fresh = True

    @property
    def joint_positions(self) -> dict[str, float]:
        return dict(self._positions)

    @joint_positions.setter
    def joint_positions(self, values: dict[str, float]) -> None:
        assert set(values) <= set(self._positions), values
        assert all(type(v) is float for v in values.values())
        self._positions.update(values)
        self._fresh = False

    def update(self, force: bool = False, type: str = "all") -> None:
        self._fresh = True


class RobotTrajectory:
    def __init__(self, corners: np.ndarray) -> None:
        self._corners = corners
        self._stamps = np.zeros(len(corners))

    def apply_totg_time_parameterization(
        self,
        velocity_scaling_factor: float,
        acceleration_scaling_factor: float,
        *,
        path_tolerance: float = 0.1,
        resample_dt: float = 0.1,
        min_angle_change: float = 0.001,
    ) -> bool:
        start, end = self._corners[0], self._corners[-1]
        seconds = max(float(np.abs(end - start).max()) / (0.3 * velocity_scaling_factor), 0.2)
        self._stamps = np.append(np.arange(0.0, seconds, resample_dt), seconds)
        x = self._stamps / seconds
        blend = x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
        self._corners = start + blend[:, None] * (end - start)
        return True

    def get_robot_trajectory_msg(self, joint_filter: list[str] | None = None) -> RobotTrajectoryMsg:
        order = [6, 0, 1, 2, 3, 4, 5]  # MoveIt's order is its model's, not ours
        points = [
            Point(
                positions=list(q[order]),
                time_from_start=Duration(sec=int(t), nanosec=round((t - int(t)) * 1e9)),
            )
            for q, t in zip(self._corners, self._stamps, strict=True)
        ]
        names = [NAMES[i] for i in order]
        return RobotTrajectoryMsg(
            joint_trajectory=JointTrajectory(joint_names=names, points=points)
        )


class PlanResponse:
    def __init__(self, trajectory: RobotTrajectory | None) -> None:
        self.trajectory = trajectory
        self.planning_time, self.planner_id, self.start_state = 0.1, "", None
        self.error_code = ErrorCode(val=1 if trajectory else 99999)

    def __bool__(self) -> bool:
        return self.trajectory is not None


class PlanRequestParameters:
    __slots__ = (
        "max_acceleration_scaling_factor",
        "max_velocity_scaling_factor",
        "planner_id",
        "planning_attempts",
        "planning_pipeline",
        "planning_time",
    )

    def __init__(self, moveit_py: Any, ns: str) -> None:
        assert isinstance(moveit_py, MoveItPy)


class PlanningComponent:
    def __init__(self, moveit: Any) -> None:
        self._moveit = moveit
        self._start: RobotState | None = None
        self._goal: RobotState | None = None

    def set_start_state(self, configuration_name: Any = None, robot_state: Any = None) -> bool:
        if (configuration_name is None) == (robot_state is None):
            raise ValueError("exactly one of them")
        assert robot_state._fresh, "update() was not called"
        self._start = robot_state
        return True

    def set_goal_state(
        self,
        configuration_name: Any = None,
        robot_state: Any = None,
        pose_stamped_msg: Any = None,
        pose_link: Any = None,
        motion_plan_constraints: Any = None,
    ) -> bool:
        if robot_state is None:
            raise ValueError("the suite gives a robot state")
        assert robot_state._fresh, "update() was not called"
        self._goal = robot_state
        return True

    def plan(
        self,
        single_plan_parameters: Any = None,
        multi_plan_parameters: Any = None,
        planning_scene: Any = None,
        solution_selection_function: Any = None,
        stopping_criterion_callback: Any = None,
    ) -> PlanResponse:
        assert isinstance(single_plan_parameters, PlanRequestParameters)
        assert single_plan_parameters.planning_pipeline
        assert self._start is not None and self._goal is not None
        if self._moveit.fails:
            return PlanResponse(None)
        ends = [[s.joint_positions[n] for n in NAMES] for s in (self._start, self._goal)]
        return PlanResponse(RobotTrajectory(np.array(ends)))


class PlanningSceneMonitor:
    def __init__(self) -> None:
        self.objects: dict[str, CollisionObject] = {}

    def process_collision_object(
        self, collision_object_msg: CollisionObject, color_msg: Any = None
    ) -> bool:
        assert collision_object_msg.header.frame_id == "fr3_link0"
        if collision_object_msg.operation == CollisionObject.REMOVE:
            return self.objects.pop(collision_object_msg.id, None) is not None
        primitives = collision_object_msg.primitives
        assert len(primitives) == len(collision_object_msg.primitive_poses)
        self.objects[collision_object_msg.id] = collision_object_msg
        return True


class MoveItPy:
    """Only what the suite may use of the real one; `fails` steers the stand-in."""

    refuses = ""

    def __init__(  # noqa: PLR0917 (as the real one)
        self,
        node_name: str = "moveit_py",
        name_space: str = "",
        launch_params_filepaths: Any = None,
        config_dict: Any = None,
        provide_planning_service: bool = True,
        remappings: Any = None,
    ) -> None:
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.fails = False
        self._monitor = PlanningSceneMonitor()
        self._model = RobotModel()

    def get_planning_component(self, planning_component_name: str) -> PlanningComponent:
        assert planning_component_name == "fr3_arm"
        return PlanningComponent(self)

    def get_planning_scene_monitor(self) -> PlanningSceneMonitor:
        return self._monitor

    def get_robot_model(self) -> RobotModel:
        return self._model


def install(monkeypatch: Any) -> None:
    """Make `import moveit` and the messages of MoveIt find the stand-ins."""

    def module(name: str, **contents: Any) -> None:
        made = types.ModuleType(name)
        made.__spec__ = types.SimpleNamespace(name=name)  # type: ignore[assignment]
        vars(made).update(contents)
        monkeypatch.setitem(sys.modules, name, made)

    module("moveit")
    module("moveit.core")
    module("moveit.core.robot_state", RobotState=RobotState)
    module("moveit.planning", MoveItPy=MoveItPy, PlanRequestParameters=PlanRequestParameters)
    module("moveit_msgs")
    module("moveit_msgs.msg", CollisionObject=CollisionObject)
    module("shape_msgs.msg", SolidPrimitive=SolidPrimitive)
