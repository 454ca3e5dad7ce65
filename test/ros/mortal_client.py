"""A client of `robot/execute_motion` that is there to be killed: python mortal_client.py JOINTS."""

from __future__ import annotations

import sys

import numpy as np
from sensor_msgs.msg import JointState

from kalm_core.robot.joint_line import joint_line
from kalm_interfaces.action import ExecuteMotion
from kalm_ros.client import GraphClient
from kalm_ros.conversions import joint_state_from_ros
from kalm_ros.heartbeat import Heartbeat
from kalm_ros.motion_messages import view_motion_to_ros

with GraphClient("mortal_client") as client, Heartbeat(client.node).beating() as word:
    q, width = joint_state_from_ros(client.read_topic("joint_states", JointState, 20.0))
    path = joint_line(q, np.array([float(value) for value in sys.argv[1:]]), 0.5)
    motion = view_motion_to_ros(path, client.node.get_clock().now().nanoseconds, width)
    client.call_action(
        "robot/execute_motion",
        ExecuteMotion,
        ExecuteMotion.Goal(motion=motion, speed_scale=1.0, client=word),
        60.0,
        lambda feedback: print("moving" if feedback.progress > 0.05 else "begun", flush=True),
    )
