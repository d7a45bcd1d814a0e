"""Heads of networks that plasticity can be injected into: what they put out stays, and new weights learn on."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

KINDS = ("old", "fresh")


class Injectable(nn.Sequential):
    """The layers behind the features, which become other ones without a change of what they put out.

    Till something is injected it is a `nn.Sequential` of its layers, bit for bit. From then on it puts out
    h(z) - h_fresh(z) + h_old(z) (Nikishin et al., arXiv 2305.15555): the layers' own weights are those that learn, at
    first the fresh ones themselves, so that the first two terms are 0; the fresh and the old ones are frozen, and
    gradients go through them to z. These are parameters of its own, zeros till then, that take no gradients. Target
    networks follow them as all others. A reset of a unit in z zeroes its columns in all three.

    Args:
        layers: in execution order, the output layer last. What draws at random does so in the layers alone.

    Attributes:
        injected: whether something has been; a part of the ``state_dict``.

    Raises:
        ValueError: a layer has buffers.

    Example::

        nn.Sequential(nn.Linear(4, 64), nn.ReLU(), Injectable(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)))
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        if any(True for _ in self.buffers()):
            raise ValueError("an injectable head has a layer with buffers, such as a BatchNorm; give it none")
        self.injected = False
        # In a tuple, which makes it no module of this one: what it computes is given to it.
        self._frozen = (copy.deepcopy(nn.Sequential(*layers)).to("meta").eval(),)
        for kind in KINDS:
            for number, weight in enumerate(self.live):
                self.register_parameter(f"{kind}_{number}", nn.Parameter(torch.zeros_like(weight), requires_grad=False))

    @property
    def live(self) -> list[nn.Parameter]:
        """The parameters that learn."""
        return [parameter for layer in self for parameter in layer.parameters()]

    @property
    def frozen(self) -> list[nn.Parameter]:
        """The others."""
        return list(self.parameters(recurse=False))

    def frozen_like(self, live: Tensor) -> list[nn.Parameter]:
        """The old and the fresh one of a parameter that learns."""
        number = next(number for number, parameter in enumerate(self.live) if parameter is live)
        return [getattr(self, f"{kind}_{number}") for kind in KINDS]

    @property
    def depth(self) -> int:
        """How many linear layers it has."""
        return sum(isinstance(module, nn.Linear) for module in self.modules())

    def forward(self, z: Tensor) -> Tensor:
        """What the layers put out for features, (batch, outputs)."""
        out: Tensor = super().forward(z)  # type: ignore[no-untyped-call]
        return out - self._of("fresh", z) + self._of("old", z) if self.injected else out

    def _of(self, kind: str, z: Tensor) -> Tensor:
        (frozen,) = self._frozen
        names = [name for name, _ in frozen.named_parameters()]
        weights = {name: getattr(self, f"{kind}_{number}").detach() for number, name in enumerate(names)}
        found: Tensor = torch.func.functional_call(frozen, weights, (z,))
        return found

    @torch.no_grad()
    def inject(self, weights: Sequence[Tensor]) -> None:
        """Freeze what was learnt, and learn on with other weights, of the order of `live`.

        Raises:
            ValueError: it was done before.
        """
        if self.injected:
            raise ValueError("plasticity was injected into this head before; that is done once")
        for number, (live, new) in enumerate(zip(self.live, weights, strict=True)):
            getattr(self, f"old_{number}").copy_(live)
            getattr(self, f"fresh_{number}").copy_(new)
            live.copy_(new)
        self.injected = True

    @torch.no_grad()
    def forget(self) -> None:
        """Be the live layers alone again: all were drawn anew."""
        self.injected = False
        for parameter in self.frozen:
            parameter.zero_()

    def get_extra_state(self) -> Tensor:
        """`injected`, as a tensor."""
        return torch.tensor(self.injected)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over what `get_extra_state` gave."""
        self.injected = bool(state)
