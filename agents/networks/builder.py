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
from agents.networks.spec import Features, NetworkSpec, Norm, Trunk, simba_widths
from agents.plasticity.layers import AID, DRAWING, OWN, CReLU, Fourier, SmoothLeaky, fold_of, kind_of
from agents.plasticity.units.builders import POINTWISE
from agents.plasticity.validation import check
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
    "smooth_leaky": SmoothLeaky,
    "aid": AID,
    "crelu": CReLU,
    "fourier": Fourier,
}
CHANGES: Mapping[str, Any] = {"norm": "none", "dropout": 0.0, "network": "mlp", "injectable": False}
"""Arguments of a `PlasticPolicy` -> with which it is SB3's."""
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
    arguments |= {key: value for key in CHANGES if (value := getattr(network, key)) != CHANGES[key]}
    return "MlpPolicy" if network.features == "flatten" else "CnnPolicy", arguments


def fitted(
    policy: type[BasePolicy], arguments: Mapping[str, Any], space: spaces.Space[Any], spec: AgentSpec, names: Names
) -> tuple[type[BasePolicy], dict[str, Any]]:
    """The policy that is built where a user asks for one of SB3's, and its arguments.

    SB3's own, bit for bit, wherever it can build it; a `PlasticPolicy` of its kind where hidden layers are others, or
    their activation function folds or draws. On boards too small for SB3's NatureCNN its CnnPolicy has the MinAtar
    network.

    Args:
        policy: its class.
        arguments: ``policy_kwargs``, as in SB3; those of `CHANGES` too.
        space: of the observations, images with their channels first.
        spec: of the algorithm.
        names: of the algorithm's policies.

    Raises:
        ValueError: a policy that is not SB3's is to be changed, an activation function that is made for whole networks
            would stand nowhere, or the network cannot read the observations.
    """
    _check(arguments)
    if arguments.get("network") == "simba":
        arguments = {"activation_fn": nn.ReLU, **arguments, "net_arch": _simba_arch(arguments.get("net_arch"), spec)}
    if policy is names.get("CnnPolicy"):
        arguments = {**_board_network(arguments, space, spec), **arguments}
    arguments, activation = dict(arguments), kind_of(arguments.get("activation_fn"))
    if activation in OWN and arguments.get("features_extractor_class") is MinAtarCNN:
        given = arguments.get("features_extractor_kwargs") or {}
        arguments["features_extractor_kwargs"] = {"activation_fn": arguments["activation_fn"], **given}
    does = "folds" if fold_of(activation) > 1 else "draws at random" if activation in DRAWING else None
    accepted = inspect.signature(policy).parameters
    if policy not in names.values():
        _check_own(policy, arguments, f"{activation.__name__} {does}" if does else None, names)
        return policy, arguments
    if activation in OWN:
        # SB3's kinds of a policy differ in this default alone.
        arguments = {"features_extractor_class": accepted["features_extractor_class"].default, **arguments}
        if not _has_place(arguments, spec):
            raise ValueError(
                f"the activation function {activation.__name__} would stand nowhere: net_arch has no hidden layer, and "
                f"{arguments['features_extractor_class'].__name__} has none, or ReLUs of its own; give net_arch a layer"
            )
    if does or any(arguments.get(key, value) != value for key, value in CHANGES.items()):
        return plastic(policy), {"features_extractor_class": accepted["features_extractor_class"].default, **arguments}
    return policy, {key: value for key, value in arguments.items() if key not in CHANGES}


def _check(arguments: Mapping[str, Any]) -> None:
    for key, known in (("norm", get_args(Norm)), ("network", get_args(Trunk))):
        if arguments.get(key, known[0]) not in known:
            raise ValueError(f"{key} is {arguments[key]!r}; give one of {', '.join(known)}")
    injectable = arguments.get("injectable", False)
    if not isinstance(injectable, bool):
        raise ValueError(f"injectable is {injectable!r}; give true or false")
    dropout = arguments.get("dropout", 0.0)
    check("dropout", dropout, isinstance(dropout, int | float) and 0 <= dropout < 1, "a number from 0 to below 1")


def _check_own(policy: type[BasePolicy], arguments: Mapping[str, Any], does: str | None, names: Names) -> None:
    """Refuse what a user's policy cannot have; `does` is what a changed policy is needed for."""
    if issubclass(policy, PlasticPolicy):
        return
    for key in CHANGES:
        if key in arguments and key not in inspect.signature(policy).parameters:
            raise ValueError(
                f"{key} is {arguments[key]!r}, but the policy {policy.__name__} takes none; give one of "
                f"{', '.join(names)}"
            )
    if does and issubclass(policy, tuple(OF)):
        raise ValueError(
            f"the activation function {does}, but the layers of {policy.__name__} know nothing of it; make it a "
            f"subclass of {plastic(policy).__name__}"
        )


def _simba_arch(given: Any, spec: AgentSpec) -> Any:
    """The widths of SimBa's blocks: those that are given, or the published ones."""
    if given is not None:
        return given
    widths = simba_widths(spec.networks)
    found = {key: [*widths[name]] for name, key in spec.networks.items()}
    return found.get("", found)


def _has_place(arguments: Mapping[str, Any], spec: AgentSpec) -> bool:
    """Whether the activation function stands anywhere."""
    extractor, arch = arguments["features_extractor_class"], arguments.get("net_arch")
    if arch is None:  # SB3's own, of which only those behind NatureCNN may be none
        return extractor is not NatureCNN or bool(spec.heads["nature_cnn"].widths)
    return extractor is MinAtarCNN or any(arch.values() if isinstance(arch, Mapping) else arch)


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
