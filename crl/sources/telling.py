"""What of a policy's parameters is another one's, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from agents.learner import LearnerMixin
from agents.mapping import Mapped

OUT, IN = "outputs", "inputs"  # the first two axes of a weight


def told(model: LearnerMixin, found: Mapping[str, Tensor], policy: Mapped) -> list[str]:
    """Lines of a table: of each network the parameters that are kept, and what in it is fresh; none where all are kept.

    Args:
        model: that begins.
        found: the other policy's parameters.
        policy: what of them the model begins with.
    """
    if not policy.moved:
        return []
    rows = []
    for network in model.networks.values():
        tensors = [*network.parameters, *(tensor for tensor, _ in network.constants)]
        names = [model.parameter_name(tensor) for tensor in tensors]
        kept, total = (sum(int(policy.kept[name].count_nonzero()) for name in names), sum(map(Tensor.numel, tensors)))
        there = sum(found[name].numel() for name in names if name in found)
        fresh = ", ".join(part for name in names for part in _fresh(name, policy.kept[name]))
        rows.append((network.name, f"{kept:,} of {total:,}", f"{there - kept:,}", fresh or "nothing"))
    table = [("network", "kept", "left behind", "fresh"), *rows]
    widths = [max(map(len, column)) for column in list(zip(*table, strict=True))[:-1]]
    return [
        f"  {name:{widths[0]}}  {kept:>{widths[1]}}  {left:>{widths[2]}}  {fresh}" for name, kept, left, fresh in table
    ]


def _fresh(name: str, kept: Tensor) -> Iterator[str]:
    """What of a weight is fresh, by its outputs and its inputs; biases go with their outputs."""
    if name.endswith(".bias") or kept.all():
        return
    layer = name.removesuffix(".weight")
    if not kept.any():
        yield layer
        return
    for axis, what in enumerate((OUT, IN)[: kept.dim()]):
        there = kept.movedim(axis, 0).reshape(kept.shape[axis], -1).any(1)
        if not there.all():
            yield f"{int((~there).sum())} of {len(there)} {what} of {layer}"
