"""``speed: fast``: the same learning with other rounding, where the hardware computes it in less time.

- `layers`: boards by the cells that are set, large layers in bfloat16.
- `boards`, `kernels`: first layers on boards of zeros and ones.
- `optimizers`: fused steps.
- `perceptrons`, `live`, `actor_critics`: networks of linear layers, several at once.
- `threads`: one for what is small.
- `hardware`: what it can.
"""

from agents.speed.layers import Quick
from agents.speed.optimizers import fuse

__all__ = ["Quick", "fuse"]
