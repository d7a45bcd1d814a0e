"""The unit graph of Stable-Baselines3's policies: which layers can be reset, and who reads their units."""

from __future__ import annotations

import math
from typing import cast

from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    MlpExtractor,
    NatureCNN,
)
from torch import Tensor, nn

from agents.networks import MinAtarCNN
from agents.plasticity.units import Init, Network, Orthogonal, Producer, TorchDefault, UnitLayer, chain

Heads = list[tuple[Producer, int]]


def policy_networks(policy: ActorCriticPolicy) -> dict[str, Network]:
    """The networks of an on-policy policy that have hidden units.

    Returns:
        ``actor`` and ``critic``, and ``features`` where both share a features extractor. An extractor of its own
        counts to its network: its layers come first there.

    Raises:
        ValueError: a module is not understood; the message names it.
    """
    if type(policy.mlp_extractor) is not MlpExtractor:
        raise ValueError(
            f"actor: {type(policy.mlp_extractor).__name__} is not understood; resets know SB3's MlpExtractor"
        )
    init: Init = Orthogonal(math.sqrt(2)) if policy.ortho_init else TorchDefault()
    pi, vf = list(policy.mlp_extractor.policy_net), list(policy.mlp_extractor.value_net)
    action_net, value_net = policy.action_net, policy.value_net
    if not isinstance(action_net, nn.Linear):
        raise ValueError(f"actor: the output layer {action_net} is not understood; resets know a Linear one")
    # With gSDE the noise of an action is a function of the last hidden layer too.
    noise = ((policy.log_std, policy.log_std_init),) if policy.use_sde else ()
    # MlpExtractor builds these of Linear layers and activations alone.
    pi_head: Heads = [(cast(nn.Linear, pi[0]) if pi else action_net, 0)]
    vf_head: Heads = [(cast(nn.Linear, vf[0]) if vf else value_net, 0)]
    layers: dict[str, list[UnitLayer]] = {"actor": [], "critic": [], "features": []}
    if policy.share_features_extractor:
        layers["features"] = _extractor_layers(
            "features", policy.features_extractor, pi_head + vf_head, init, () if pi else noise
        )
    else:
        layers["actor"] = _extractor_layers("actor", policy.pi_features_extractor, pi_head, init, () if pi else noise)
        layers["critic"] = _extractor_layers("critic", policy.vf_features_extractor, vf_head, init, ())
    layers["actor"] += chain("actor", pi, [(action_net, 0)], init, first=len(layers["actor"]), constants=noise)
    layers["critic"] += chain("critic", vf, [(value_net, 0)], init, first=len(layers["critic"]))
    modules: dict[str, list[nn.Module]] = {
        "actor": [policy.mlp_extractor.policy_net, action_net],
        "critic": [policy.mlp_extractor.value_net, value_net],
        "features": [policy.features_extractor],
    }
    if not policy.share_features_extractor:
        modules["actor"].append(policy.pi_features_extractor)
        modules["critic"].append(policy.vf_features_extractor)
    return {
        name: Network(name, tuple(found), tuple(p for module in modules[name] for p in module.parameters()))
        for name, found in layers.items()
        if found
    }


def _extractor_layers(
    name: str,
    extractor: BaseFeaturesExtractor,
    heads: Heads,
    init: Init,
    constants: tuple[tuple[Tensor, float], ...],
) -> list[UnitLayer]:
    """Hidden layers of a features extractor whose outputs begin at the heads' columns."""
    # Exact types: a subclass may do anything in its forward.
    if type(extractor) is FlattenExtractor:
        return []
    if type(extractor) is NatureCNN or type(extractor) is MinAtarCNN:
        return chain(name, [*extractor.cnn, *extractor.linear], heads, init, constants=constants)
    if type(extractor) is CombinedExtractor:
        if constants:
            raise ValueError(f"{name}: gSDE on a CombinedExtractor is not understood; give the actor a hidden layer")
        layers: list[UnitLayer] = []
        offset = 0
        for key, part in extractor.extractors.items():
            if type(part) is NatureCNN:
                # A key's features follow those of the keys before it.
                shifted = [(reader, start + offset) for reader, start in heads]
                layers += chain(name, [*part.cnn, *part.linear], shifted, init, first=len(layers))
                offset += part.features_dim
            elif type(part) is nn.Flatten:
                offset += get_flattened_obs_dim(cast(spaces.Dict, extractor._observation_space)[key])
            else:
                raise ValueError(f"{name}: {part} in the CombinedExtractor is not understood")
        return layers
    raise ValueError(
        f"{name}: the features extractor {type(extractor).__name__} is not understood; "
        f"resets know FlattenExtractor, NatureCNN, MinAtarCNN and CombinedExtractor"
    )
