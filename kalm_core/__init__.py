"""KALM without ROS: from demonstrations to a skill, and from a skill to a motion.

The modules in the order data flows: `se3`, `rgbd`, `demonstration`, `trajectory`, `proposal`,
`features`, `correspondence`, `distillation`, `policy`, `planning`, `skill`, `cli`.
Conventions (frames, units, names) are in `docs/conventions.md`.
"""
