"""Measurements of speed, memory and fidelity. ``python -m benchmarks`` compares times; all else is run by hand."""
