"""``speed: fast``: the same learning with other rounding, where the hardware computes it in less time.

- `layers`: boards by the cells that are set, large layers in bfloat16.
- `boards`, `sparse`, `kernels`, `sharing`, `kept`: first layers on boards of zeros and ones.
- `optimizers`: fused steps.
- `perceptrons`, `live`, `actor_critics`: networks of linear layers, several at once.
- `relu_networks`, `floats`, `pairs`, `soft`, `squashed`: SAC on plain networks, whose gradients are written out.
- `board_networks`, `trunks`: PPO on boards, likewise.
- `proximal`, `few_rows`: PPO of discrete actions, its loss and how it plays.
- `threads`: one for what is small.
- `hardware`: what it can.

And of `speed: exact` what is computed in other ways to the last bit:

- `order`: first layers on boards, which add up in the order of torch's.
"""

from agents.speed import order  # noqa: F401 (has `Boards` read by what it knows)
from agents.speed.layers import Quick
from agents.speed.optimizers import fuse

__all__ = ["Quick", "fuse"]
