"""From what networks are made of to the policy that SB3 builds: its class and its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, NatureCNN
from torch import nn

from agents.networks.extractors import NATURE_CNN_MINIMUM, ImpalaCNN, MinAtarCNN
from agents.networks.policies import OF, PlasticPolicy, plastic
from agents.networks.spec import Features, NetworkSpec, Norm
from agents.plasticity.layers import CReLU, Fourier, fold_of
from agents.plasticity.units.builders import POINTWISE
from agents.specs import AgentSpec

EXTRACTORS: dict[Features, type[BaseFeaturesExtractor]] = {
    "flatten": FlattenExtractor,
    "nature_cnn": NatureCNN,
    "minatar_cnn": MinAtarCNN,
    "impala": ImpalaCNN,
}
ACTIVATIONS: dict[str, Any] = {
    **{kind.__name__.lower(): kind for kind in POINTWISE},
    "leaky_relu": partial(nn.LeakyReLU, 0.1),  # the slope of C-CHAIN's control networks, arXiv 2506.00592
    "crelu": CReLU,
    "fourier": Fourier,
}
Names = Mapping[str, type[BasePolicy]]
"""SB3's names of an algorithm's policies -> their classes."""
LAYER_NORM = "LayerNorm"
"""What the names of SB3's policies begin with where ``norm`` is ``layer``: ``LayerNormMlpPolicy``."""


def policy_of(network: NetworkSpec) -> tuple[str, dict[str, Any]]:
    """The name of SB3's policy and its arguments, of any algorithm."""
    arch = network.net_arch
    arguments = {
        "features_extractor_class": EXTRACTORS[network.features],
        "net_arch": {k: list(v) for k, v in arch.items()} if isinstance(arch, Mapping) else list(arch),
        "activation_fn": ACTIVATIONS[network.activation],
    }
    if network.norm != "none":
        arguments["norm"] = network.norm
    return "MlpPolicy" if network.features == "flatten" else "CnnPolicy", arguments


def fitted(
    policy: type[BasePolicy], arguments: Mapping[str, Any], space: spaces.Space[Any], spec: AgentSpec, names: Names
) -> tuple[type[BasePolicy], dict[str, Any]]:
    """The policy that is built where a user asks for one of SB3's, and its arguments.

    SB3's own, bit for bit, wherever it can build it; a `PlasticPolicy` of its kind where hidden layers are normalised
    or their activation function folds. On boards too small for SB3's NatureCNN its CnnPolicy has the MinAtar network.

    Args:
        policy: its class.
        arguments: ``policy_kwargs``, as in SB3; ``norm`` too.
        space: of the observations, images with their channels first.
        spec: of the algorithm.
        names: of the algorithm's policies.

    Raises:
        ValueError: a policy that is not SB3's is to be normalised or to fold, an activation function that folds would
            stand nowhere, or the network cannot read the observations.
    """
    norm = arguments.get("norm", "none")
    if norm not in get_args(Norm):
        raise ValueError(f"norm is {norm!r}; give one of {', '.join(get_args(Norm))}")
    if policy is names.get("CnnPolicy"):
        arguments = {**_board_network(arguments, space, spec), **arguments}
    arguments, activation = dict(arguments), arguments.get("activation_fn")
    folds = fold_of(activation) > 1
    if folds and arguments.get("features_extractor_class") is MinAtarCNN:
        given = arguments.get("features_extractor_kwargs") or {}
        arguments["features_extractor_kwargs"] = {"activation_fn": activation, **given}
    accepted = inspect.signature(policy).parameters
    if policy not in names.values():
        if "norm" in arguments and not issubclass(policy, PlasticPolicy) and "norm" not in accepted:
            known = ", ".join(names)
            raise ValueError(f"norm is {norm!r}, but the policy {policy.__name__} takes none; give one of {known}")
        if folds and issubclass(policy, tuple(OF)) and not issubclass(policy, PlasticPolicy):
            raise ValueError(
                f"the activation function {_name(activation)} folds, but the layers of {policy.__name__} do not; make "
                f"it a subclass of {plastic(policy).__name__}"
            )
        return policy, arguments
    if folds or norm != "none":
        # SB3's kinds of a policy differ in this default alone.
        arguments = {"features_extractor_class": accepted["features_extractor_class"].default, **arguments}
        if folds and not _has_place(arguments, spec):
            raise ValueError(
                f"the activation function {_name(activation)} would stand nowhere: net_arch has no hidden layer, and "
                f"{_name(arguments['features_extractor_class'])} has none, or ReLUs of its own; give net_arch a layer"
            )
        return plastic(policy), arguments
    arguments.pop("norm", None)
    return policy, arguments


def _has_place(arguments: Mapping[str, Any], spec: AgentSpec) -> bool:
    """Whether the activation function stands anywhere."""
    extractor, arch = arguments["features_extractor_class"], arguments.get("net_arch")
    if arch is None:  # SB3's own, of which only those behind NatureCNN may be none
        return extractor is not NatureCNN or bool(spec.heads["nature_cnn"].widths)
    return extractor is MinAtarCNN or any(arch.values() if isinstance(arch, Mapping) else arch)


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _board_network(arguments: Mapping[str, Any], space: spaces.Space[Any], spec: AgentSpec) -> dict[str, Any]:
    """The MinAtar network as arguments of a CnnPolicy, where its observations ask for it; else none."""
    if "features_extractor_class" in arguments or not _is_small_board(space, arguments):
        return {}
    head = spec.heads["minatar_cnn"]
    keys = [key for key in spec.networks.values() if key]
    arch = dict.fromkeys(keys, head.widths) if keys else head.widths
    return policy_of(NetworkSpec("minatar_cnn", arch, head.activation))[1]


def _is_small_board(space: spaces.Space[Any], arguments: Mapping[str, Any]) -> bool:
    """Whether SB3's NatureCNN cannot read observations of three axes because they are too small."""
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        return False
    if is_image_space(space):  # SB3 has put the channels first
        return min(space.shape[1:]) < NATURE_CNN_MINIMUM
    # Channels first or last: the two larger axes are height and width.
    small = sorted(space.shape)[1] < NATURE_CNN_MINIMUM
    scaled = not arguments.get("normalize_images", True)
    if scaled and not small and min(space.shape[1:]) < NATURE_CNN_MINIMUM:
        raise ValueError(
            f"a CnnPolicy with normalize_images=False reads images with the channels first, not {space}; "
            "transpose them in a wrapper (gymnasium.wrappers.TransformObservation)"
        )
    return small
