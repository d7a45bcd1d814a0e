"""What the networks of a policy are made of, as plain data. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Features = Literal["flatten", "nature_cnn", "minatar_cnn", "impala"]
Activation = Literal["relu", "tanh", "leaky_relu", "crelu", "fourier"]
Norm = Literal["none", "layer"]


@dataclass(frozen=True)
class NetworkSpec:
    """The networks of a policy; `agents.networks.builder` makes them.

    Attributes:
        features: what makes features of the observations.
        net_arch: widths of the hidden layers behind them, of each network by SB3's key (``pi`` and ``vf`` of PPO,
            ``pi`` and ``qf`` of SAC) or alike for all; in units, of which those of ``crelu`` and ``fourier`` have two
            values each.
        activation: of these layers. ``crelu`` and ``fourier``, which are made for whole networks, also take the place
            of the ReLUs of ``minatar_cnn``; other features keep theirs.
        norm: ``layer`` puts a layer normalisation before the activation of every hidden layer, of features too.
    """

    features: Features
    net_arch: Sequence[int] | Mapping[str, Sequence[int]]
    activation: Activation
    norm: Norm = "none"
