"""Where parameters began, for what draws them back there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from agents.plasticity.protocols import Edit
from agents.plasticity.units import Network


class Anchors:
    """Copies of networks' parameters; what is drawn anew has a new one.

    Args:
        networks: whose parameters.
        wanted: which of their modules'.
    """

    def __init__(self, networks: Sequence[Network], wanted: Callable[[nn.Module], bool] = lambda _module: True) -> None:
        self._networks = networks
        self._held: dict[str, Tensor] = {}
        self.of: dict[str, dict[Tensor, Tensor]] = {}
        """Network's name -> parameter -> where it began."""
        for network in networks:
            chosen = {p for part in network.parts if wanted(part.module) for p in part.module.parameters(recurse=False)}
            here = self.of[network.name] = {}
            for number, parameter in enumerate(network.parameters):
                if parameter in chosen:
                    here[parameter] = parameter.detach().clone()
                    self._held[f"anchor/{network.name}/{number}"] = here[parameter]

    @torch.no_grad()
    def follow(self, edit: Edit) -> None:
        """What is wholly new begins where it is now: rows of new units, and tensors that were drawn as a whole."""
        masks = edit.masks
        for network in self._networks:
            here = self.of[network.name]
            for tensor in edit.tensors:
                if tensor in here:
                    here[tensor].copy_(tensor)
            for layer in network.layers:
                if layer.name in masks:
                    for parameter in (layer.producer.weight, layer.producer.bias):
                        if parameter is not None and parameter in here:
                            rows = masks[layer.name].view(-1, *[1] * (parameter.dim() - 1))
                            here[parameter].copy_(torch.where(rows, parameter, here[parameter]))

    def state_dict(self) -> dict[str, Tensor]:
        """The copies, by network and number."""
        return {key: anchor.clone() for key, anchor in self._held.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave."""
        for key, anchor in self._held.items():
            anchor.copy_(state[key])
