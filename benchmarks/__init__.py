"""Measurements: every module is a command that writes one file in `benchmarks/results/`."""
