"""Settings of the arm: where it is, how stiff it follows, how fast, and what counts as wrong."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kalm_core.settings import Settings

_Stiffness = Annotated[float, Field(ge=1.0, le=3000.0)]
_Soft = Annotated[float, Field(ge=0.0, le=100.0)]
_SevenSoft = tuple[_Soft, _Soft, _Soft, _Soft, _Soft, _Soft, _Soft]
_Torque = Annotated[float, Field(ge=0.0, le=5.0)]
_SevenStiffness = tuple[
    _Stiffness, _Stiffness, _Stiffness, _Stiffness, _Stiffness, _Stiffness, _Stiffness
]
_Damping = Annotated[float, Field(ge=1.0, le=100.0)]
_SevenDampings = tuple[_Damping, _Damping, _Damping, _Damping, _Damping, _Damping, _Damping]
_SevenTorques = tuple[_Torque, _Torque, _Torque, _Torque, _Torque, _Torque, _Torque]

SIMULATED_FRICTION = (1.1, 1.1, 1.1, 1.1, 0.7, 0.4, 0.2)
"""Coulomb friction [Nm] that suits franky-sim; its joints have 1.137 x4, 0.763, 0.44, 0.248."""


class GuidingSettings(Settings):
    """How the arm gives way while a person moves it by hand."""

    release: float = Field(
        2.0, ge=0.5, le=10.0, description="time in which the arm lets go [s, robot]"
    )
    damping: _SevenSoft = Field(
        (8.0, 8.0, 8.0, 8.0, 3.0, 2.0, 1.0),
        description="of joints 1 to 7, up to 100, so that it moves calmly [Nms/rad]",
    )
    fastest: float = Field(
        1.5, ge=0.1, le=2.5, description="a joint that is faster stops the arm [rad/s]"
    )
    torque: float = Field(
        60.0, ge=1.0, le=100.0, description="joint torque of the person that stops the arm [Nm]"
    )
    force: float = Field(
        80.0, ge=1.0, le=100.0, description="force of the person that stops the arm [N]"
    )


class RobotSettings(Settings):
    """How `FrankyArm` connects and moves. The defaults are those for a real FR3."""

    host: str = Field("172.16.0.2", description="address of the arm's FCI, or of franky-sim")
    realtime_kernel: bool = Field(
        True,
        description="demand a real-time kernel; true on hardware, false for the simulator",
    )
    connect_timeout: float = Field(
        20.0, ge=1.0, le=120.0, description="longest wait for the connection [s, wall clock]"
    )
    answer_timeout: float = Field(
        5.0,
        ge=1.0,
        le=60.0,
        description="the arm's clock may stand still this long before it counts as dead "
        "[s, wall clock]",
    )
    collision_torque: float = Field(
        20.0, ge=1.0, le=100.0, description="joint torque that stops the arm [Nm]"
    )
    collision_force: float = Field(
        30.0, ge=1.0, le=100.0, description="tool force that stops the arm [N]"
    )

    period: float = Field(
        0.01, ge=0.002, le=0.05, description="time between two streamed targets [s, wall clock]"
    )
    late_target: float = Field(
        0.03,
        ge=0.005,
        le=0.5,
        description="a target that comes this long after the last one is counted as late "
        "[s, robot]",
    )
    stall_timeout: float = Field(
        0.5,
        ge=0.05,
        le=2.0,
        description="the watchdog stops the arm when no target came for this long [s, robot]",
    )
    ramp_time: float = Field(
        0.3, ge=0.05, le=2.0, description="time in which a path speeds up or slows down [s]"
    )
    settle_time: float = Field(
        1.0, ge=0.0, le=5.0, description="longest wait at the end for the error to fade [s, robot]"
    )

    stop_damping: _SevenDampings = Field(
        (50.0, 50.0, 50.0, 50.0, 15.0, 10.0, 5.0),
        description="damping with which a stop brings the arm to rest, joints 1 to 7 [Nms/rad]; "
        "with more of it the bound of 1000 Nm/s makes the arm swing back",
    )
    stop_ramp: float = Field(
        0.02, ge=0.01, le=0.5, description="time in which a stop passes over to damping [s]"
    )

    joint_stiffness: _SevenStiffness = Field(
        (400.0, 400.0, 400.0, 400.0, 250.0, 150.0, 50.0),
        description="stiffness of joint paths, joints 1 to 7 [Nm/rad]; the torque may change by "
        "1000 Nm/s, so that a stiffer arm swings up after a smaller disturbance",
    )
    joint_error_clip: float = Field(
        0.08,
        ge=0.01,
        le=0.3,
        description="error of a joint beyond which the pull no longer grows [rad]",
    )
    friction: _SevenTorques = Field(
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        description="Coulomb friction to compensate, joints 1 to 7 [Nm]; the real arm does it "
        "itself, franky-sim needs about 1.1 (4 times), 0.7, 0.4, 0.2",
    )
    translational_stiffness: float = Field(
        1500.0, ge=50.0, le=3000.0, description="stiffness of end-effector paths [N/m]"
    )
    rotational_stiffness: float = Field(
        50.0, ge=5.0, le=200.0, description="rotational stiffness of end-effector paths [Nm/rad]"
    )
    elbow_stiffness: _SevenSoft = Field(
        (30.0, 30.0, 30.0, 30.0, 15.0, 10.0, 5.0),
        description="stiffness of end-effector paths in joints 1 to 7, up to 100; keeps the elbow "
        "where it was planned, and adds to that of the tool [Nm/rad]",
    )
    translational_error_clip: float = Field(
        0.04,
        ge=0.005,
        le=0.2,
        description="shift of the tool beyond which the pull no longer grows [m]",
    )
    rotational_error_clip: float = Field(
        0.3,
        ge=0.02,
        le=1.0,
        description="turn of the tool beyond which the pull no longer grows [rad]",
    )
    elbow_error_clip: float = Field(
        0.3,
        ge=0.02,
        le=1.0,
        description="joint error beside the tool's own beyond which the pull no longer grows [rad]",
    )
    joint_error_limit: float = Field(
        0.6,
        ge=0.05,
        le=2.0,
        description="a joint farther than this from its end-effector path stops the arm [rad]",
    )

    joint_velocity: float = Field(
        1.0, ge=0.05, le=2.0, description="fastest joint of any path [rad/s]"
    )
    joint_acceleration: float = Field(
        2.5, ge=0.2, le=5.0, description="highest acceleration of a joint path [rad/s^2]"
    )
    tool_speed: float = Field(
        0.25, ge=0.01, le=1.0, description="fastest tool on an end-effector path [m/s]"
    )
    tool_acceleration: float = Field(
        2.0, ge=0.1, le=5.0, description="highest acceleration of an end-effector path [m/s^2]"
    )
    tool_turn_rate: float = Field(
        1.0, ge=0.05, le=2.5, description="fastest turn on an end-effector path [rad/s]"
    )

    start_joint_tolerance: float = Field(
        0.05,
        ge=0.001,
        le=0.5,
        description="a path must start this near the arm, in its joints [rad]",
    )
    retreat_joint_tolerance: float = Field(
        0.12,
        ge=0.001,
        le=0.5,
        description="the way back after a compliant motion may start this far from the arm: "
        "friction or a load keeps it from where it was planned to be [rad]",
    )
    start_position_tolerance: float = Field(
        0.02, ge=0.001, le=0.1, description="an end-effector path must start this near [m]"
    )
    start_rotation_tolerance: float = Field(
        0.15, ge=0.01, le=1.0, description="an end-effector path must start this near [rad]"
    )
    tracking_error_limit: float = Field(
        0.15,
        ge=0.01,
        le=0.5,
        description="a larger distance between commanded and reached tool stops the arm [m]",
    )

    gripper_speed: float = Field(0.05, ge=0.005, le=0.1, description="speed of the fingers [m/s]")
    gripper_force: float = Field(
        20.0, ge=1.0, le=70.0, description="force of a grasp inside an end-effector path [N]"
    )
    gripper_empty: float = Field(
        0.004,
        ge=0.0,
        le=0.02,
        description="fingers that close below this on their way hold nothing [m]; 0 for skills "
        "that close them on nothing or on paper",
    )
    gripper_blocked: float = Field(
        0.025,
        ge=0.005,
        le=0.08,
        description="fingers that end this far from the opening that they were told are stuck [m]",
    )
    gripper_timeout: float = Field(
        6.0, ge=1.0, le=60.0, description="longest motion of the fingers [s, robot]"
    )
    gripper_stop: bool = Field(
        True,
        description="interrupt moving fingers on stop and cancel; false for franky-sim, whose hand "
        "never answers an interrupted command: there the fingers end their motion",
    )
    guiding: GuidingSettings = GuidingSettings()

    @classmethod
    def for_simulator(cls, host: str, *, realtime: bool = True) -> RobotSettings:
        """Return the settings for franky-sim at `host` (a loopback address).

        Args:
            host: its address.
            realtime: whether its time goes as fast as ours. Where it goes faster, half of its
                seconds is a blink of a busy machine, and the watchdog waits longer.
        """
        settings = cls(
            host=host, realtime_kernel=False, gripper_stop=False, friction=SIMULATED_FRICTION
        )
        return settings if realtime else settings.model_copy(update={"stall_timeout": 2.0})
