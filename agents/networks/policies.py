"""SB3's policies with hidden layers that are normalised, or whose activation functions fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.policies import ActorCriticPolicy, BaseModel, BasePolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from stable_baselines3.sac.policies import Actor, SACPolicy
from stable_baselines3.td3.policies import Actor as DeterministicActor
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from agents.networks.extractors import KNOWN
from agents.networks.spec import Norm
from agents.plasticity.layers import fold_of


class PlasticPolicy(BasePolicy):
    """A policy of SB3's whose hidden layers may be normalised and have activation functions that fold.

    With ``norm="layer"`` a `LayerNorm` with gain and bias stands between every hidden Linear or Conv2d and its
    activation function (Lyle et al., arXiv 2402.18762), in the features extractors and behind them, in target networks
    as in those that they follow; a convolution's is over (channels, height, width). Output layers have none, nor have
    the trunk convolutions of `agents.networks.ImpalaCNN`, which no activation follows. Behind an activation function
    that folds (`agents.plasticity.layers`) layers are as much wider as it puts out.

    The modules are SB3's, and so is what the policy computes; they are changed while it is built, before anything
    holds their parameters.

    Args:
        args: as in SB3.
        norm: ``none`` or ``layer``.
        kwargs: as in SB3.

    Raises:
        ValueError: the features extractor is to be normalised, but is none of `agents.networks.extractors.KNOWN`.
    """

    activation_fn: Any

    def __init__(self, *args: Any, norm: Norm = "none", **kwargs: Any) -> None:
        self.norm = norm
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "norm": self.norm}

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """SB3's, with normalisations."""
        extractor = super().make_features_extractor()
        if self.norm == "none":
            return extractor
        if type(extractor) not in KNOWN:
            raise ValueError(
                f"norm is {self.norm!r}, but the features extractor {type(extractor).__name__} is not understood; "
                f"give one of {', '.join(kind.__name__ for kind in KNOWN)}"
            )
        observations = _zeros(self.observation_space)
        normalize(extractor, lambda: BaseModel.extract_features(self, observations, extractor))
        return extractor

    def _shaped(self, layers: Iterable[nn.Module], *, output: bool) -> nn.Sequential:
        return shaped(layers, norm=self.norm == "layer", output=output)


class PlasticActorCriticPolicy(PlasticPolicy, ActorCriticPolicy):
    """PPO's."""

    mlp_extractor: MlpExtractor

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        both, fold = self.mlp_extractor, fold_of(self.activation_fn)
        both.latent_dim_pi *= fold if len(both.policy_net) else 1
        both.latent_dim_vf *= fold if len(both.value_net) else 1
        both.policy_net = self._shaped(both.policy_net, output=False)
        both.value_net = self._shaped(both.value_net, output=False)


class PlasticDQNPolicy(PlasticPolicy, DQNPolicy):
    """DQN's."""

    def make_q_net(self) -> QNetwork:
        """SB3's, changed."""
        network = super().make_q_net()
        network.q_net = self._shaped(network.q_net, output=True)
        return network


class _ActorCriticsPolicy(PlasticPolicy):
    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        """SB3's, changed."""
        critic: ContinuousCritic = super().make_critic(features_extractor)  # type: ignore[misc]
        for number, q_net in enumerate(critic.q_networks):
            critic.q_networks[number] = self._shaped(q_net.children(), output=True)
            critic.add_module(f"qf{number}", critic.q_networks[number])
        return critic


class PlasticSACPolicy(_ActorCriticsPolicy, SACPolicy):
    """SAC's."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """SB3's, changed."""
        actor = super().make_actor(features_extractor)
        actor.latent_pi = self._shaped(actor.latent_pi, output=False)
        fold = fold_of(self.activation_fn) if len(actor.latent_pi) else 1
        if not actor.use_sde:
            actor.mu, actor.log_std = wider(actor.mu, fold), wider(actor.log_std, fold)
        elif fold > 1:
            assert isinstance(actor.action_dist, StateDependentNoiseDistribution)
            width = fold * len(actor.log_std)
            mu, actor.log_std = actor.action_dist.proba_distribution_net(width, actor.log_std_init, width)
            behind = [*actor.mu.children()][1:]  # SB3 clips the mean
            actor.mu = nn.Sequential(mu, *behind) if behind else mu
        return actor.to(self.device)


class PlasticTD3Policy(_ActorCriticsPolicy, TD3Policy):
    """TD3's."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> DeterministicActor:
        """SB3's, changed."""
        actor = super().make_actor(features_extractor)
        actor.mu = self._shaped(actor.mu, output=True)
        return actor


OF: dict[type[BasePolicy], type[PlasticPolicy]] = {
    ActorCriticPolicy: PlasticActorCriticPolicy,
    DQNPolicy: PlasticDQNPolicy,
    SACPolicy: PlasticSACPolicy,
    TD3Policy: PlasticTD3Policy,
}


def plastic(policy: type[BasePolicy]) -> type[PlasticPolicy]:
    """The policy of the same kind whose hidden layers can be changed.

    Raises:
        ValueError: there is none.
    """
    for kind, found in OF.items():
        if issubclass(policy, kind):
            return found
    raise ValueError(
        f"the hidden layers of {policy.__name__} cannot be normalised or folded; give a policy of "
        f"{', '.join(kind.__name__ for kind in OF)}"
    )


# ---------------------------------------------------------------------- hidden layers


def shaped(layers: Iterable[nn.Module], *, norm: bool, output: bool) -> nn.Sequential:
    """Linear layers, each as wide as what the activation function before it puts out.

    Args:
        layers: Linear layers and activation functions, in execution order.
        norm: put a `LayerNorm` behind every hidden one.
        output: the last Linear is the output layer, and not hidden.
    """
    layers = list(layers)
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    last = linears[-1] if output else None
    found: list[nn.Module] = []
    fold = 1
    for layer in layers:
        if isinstance(layer, nn.Linear):
            found.append(wider(layer, fold))
            if norm and layer is not last:
                found.append(nn.LayerNorm(layer.out_features, device=layer.weight.device))
        else:
            found.append(layer)
            fold = fold_of(layer)
    return nn.Sequential(*found)


def wider(layer: Any, fold: int) -> Any:
    """A Linear layer with `fold` times as many inputs; the layer itself where that is 1."""
    if fold == 1:
        return layer
    return nn.Linear(fold * layer.in_features, layer.out_features, layer.bias is not None, layer.weight.device)


def normalize(extractor: nn.Module, forward: Callable[[], object]) -> None:
    """Put a `LayerNorm` behind every Linear and Conv2d that stands in a `nn.Sequential`, in place.

    Args:
        extractor: where to look for sequences.
        forward: runs it once, which shows the sizes of maps.
    """
    sequences = [found for found in extractor.modules() if type(found) is nn.Sequential]
    convolutions = [layer for sequence in sequences for layer in sequence if isinstance(layer, nn.Conv2d)]
    shapes: dict[nn.Module, torch.Size] = {}

    def note(convolution: nn.Module, _: object, maps: torch.Tensor) -> None:
        shapes[convolution] = maps.shape[1:]

    handles = [convolution.register_forward_hook(note) for convolution in convolutions]
    with torch.no_grad():
        forward()
    for handle in handles:
        handle.remove()
    for sequence in sequences:
        for index, layer in reversed(list(enumerate(sequence))):
            if isinstance(layer, nn.Linear | nn.Conv2d):
                shape = shapes[layer] if isinstance(layer, nn.Conv2d) else [layer.out_features]
                sequence.insert(index + 1, nn.LayerNorm(list(shape), device=layer.weight.device))


def _zeros(space: spaces.Space[Any]) -> Any:
    """One observation of zeros, as SB3's preprocessing takes it."""
    if isinstance(space, spaces.Dict):
        return {key: _zeros(part) for key, part in space.spaces.items()}
    return torch.zeros((1, *(space.shape or ())))
