"""What the networks of a policy are made of, as plain data. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Features = Literal["flatten", "nature_cnn", "minatar_cnn", "impala"]
Activation = Literal[
    "relu", "tanh", "leaky_relu", "smooth_leaky", "aid", "crelu", "fourier",
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leakyrelu", "logsigmoid", "mish",
    "relu6", "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign", "tanhshrink",
]  # fmt: skip
"""Those of torch.nn are called as their classes there, in small letters."""
_MIXES = "makes each unit depend on the others, so that none can be scored or reset alone"
NO_ACTIVATIONS: Mapping[str, str] = {
    "glu": "multiplies each unit with another one, so that none can be scored or reset alone",
    "logsoftmax": _MIXES,
    "multiheadattention": _MIXES,
    "prelu": "learns a slope that its units share, which no reset would know",
    "rrelu": "draws its slopes at random, so that no activation could be measured twice",
    "softmax": _MIXES,
    "softmax2d": _MIXES,
    "softmin": _MIXES,
    "threshold": "has no value of its own for its threshold",
}
"""Activation functions of torch.nn that no network has here -> why."""
Norm = Literal["none", "layer", "rms"]
Trunk = Literal["mlp", "simba"]


@dataclass(frozen=True)
class NetworkSpec:
    """The networks of a policy; `agents.networks.builder` makes them.

    Attributes:
        features: what makes features of the observations.
        net_arch: widths of the hidden layers behind them, of each network by SB3's key (``pi`` and ``vf`` of PPO,
            ``pi`` and ``qf`` of SAC) or alike for all; in units, of which those of ``crelu`` and ``fourier`` have two
            values each.
        activation: of these layers; ``leaky_relu`` has a slope of 0.1, torch's ``leakyrelu`` of 0.01. ``smooth_leaky``,
            ``aid``, ``crelu`` and ``fourier``, which are made for whole networks, also take the place of the ReLUs of
            ``minatar_cnn``; other features keep theirs.
        norm: ``layer`` puts a layer normalisation before the activation of every hidden layer, of features too, and
            ``rms`` one by the root mean square.
        dropout: share of the values behind the activation of every hidden linear layer, of features too, that training
            puts to 0.
        network: ``simba`` makes residual blocks of the hidden layers behind the features, each as wide as `net_arch`
            says.
        injectable: plasticity can be injected into what stands behind the features (`plasticity_injection`).
    """

    features: Features
    net_arch: Sequence[int] | Mapping[str, Sequence[int]]
    activation: Activation
    norm: Norm = "none"
    dropout: float = 0.0
    network: Trunk = "mlp"
    injectable: bool = False


def simba_widths(networks: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Network -> the widths of SimBa's blocks where none are given: of actors and critics as published for SAC."""
    return {name: (128,) if name == "actor" else (512, 512) for name in networks}
