"""A simulated laboratory: an FR3 with a camera in its hand, a table, a cabinet with two drawers.

The modules in the order a picture comes about: `scene` (what is drawn from a seed), `mjcf` and
`textures` (its MuJoCo model), `camera` and `depth_noise` (what the wrist camera sees), `viewpoints`
and `demonstrator` (where the arm looks from, how a person would open the drawer), `synthetic`
(pictures and demonstrations without physics), `laboratory` (physics behind the arm's own protocol).
Nothing here is a measurement of real hardware. No ROS.
"""

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo reads it once, when it is first imported
