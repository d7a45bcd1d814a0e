"""A run of two tasks, a, then b, then a again, whose every measure can be worked out by hand."""

from __future__ import annotations

from crl.metrics import Scores, Segment

SEGMENTS = (Segment("a", 0, 100), Segment("b", 100, 200), Segment("a", 200, 300))
STEPS = (0, 50, 100, 150, 200, 250, 300)
A = (0.0, 4.0, 8.0, 6.0, 2.0, 8.0, 10.0)
B = (1.0, 1.0, 2.0, 6.0, 10.0, 5.0, 4.0)
SCORES = Scores(STEPS, {"a": A, "b": B})
