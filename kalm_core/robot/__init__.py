"""The FR3 and its hand through franky, whether the host is the arm or franky-sim.

`franky_arm.FrankyArm` is the entry point; franky is imported only with it.
"""
