"""From predicted end-effector trajectories to a motion of the arm that touches nothing on its way.

`robot_model` (kinematics), `obstacles` (what the depth image shows), `collision` (is a posture
free), `planner` (the interface), `roboplan_planner` (RRT-Connect and TOPP-RA).
"""
