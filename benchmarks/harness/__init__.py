"""What all benchmarks of speed and memory share: sides that do the same work in turn, and what comes of it.

Importing this loads nothing. `declared` and `child` are of the standard library alone, because a side may run in an
environment of its own.
"""
