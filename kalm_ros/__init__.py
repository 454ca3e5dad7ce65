"""The ROS 2 nodes: a message in, one call into the core, a message out."""
