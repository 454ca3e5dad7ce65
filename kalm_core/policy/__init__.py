"""From keypoints to end-effector trajectories (section II-D)."""
