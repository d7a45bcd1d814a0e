"""SB3's policies with other hidden layers: normalised, with dropout, as SimBa's blocks, or folding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.policies import ActorCriticPolicy, BaseModel, BasePolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from stable_baselines3.sac.policies import Actor, SACPolicy
from stable_baselines3.td3.policies import Actor as DeterministicActor
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from agents.networks.extractors import KNOWN
from agents.networks.hidden import NORMS, Hidden, fill, shaped, wider
from agents.networks.simba import SimbaBlock, initialize
from agents.networks.spec import Norm, Trunk
from agents.plasticity.injectable import Injectable
from agents.plasticity.layers import DRAWING, fold_of


class PlasticPolicy(BasePolicy):
    """A policy of SB3's with other hidden layers, in target networks as in those that they follow.

    - ``norm="layer"``: a `LayerNorm` with gain and bias stands between every hidden Linear or Conv2d and its activation
      function (Lyle et al., arXiv 2402.18762), in the features extractors and behind them; a convolution's is over
      (channels, height, width). Output layers have none, nor have the trunk convolutions of
      `agents.networks.ImpalaCNN`, which no activation follows. ``norm="rms"``: an `RMSNorm` there, with a gain alone
      (Zhang and Sennrich, arXiv 1910.07467).
    - ``dropout``: a `Dropout` stands behind the activation function of every hidden Linear, in the features extractors
      and behind them. It draws in training mode alone, in which SB3 computes losses, and what the networks that are
      trained say of the next observations for targets: SAC's next actions, and Double DQN's choice. Games are played,
      target networks asked, units scored on probes and agents evaluated without it. See `PlasticActorCriticPolicy` for
      PPO.
    - ``network="simba"``: the hidden layers behind the features are SimBa's (Lee et al., arXiv 2410.09754): a linear
      embedding, a residual block for each (`agents.networks.simba.SimbaBlock`), and a last normalisation: LayerNorm,
      or RMSNorm with ``norm="rms"``. Where `net_arch` is left out, our agents give actors one block of width 128 and
      critics two of 512. The running normalisation of observations that belongs to it (RSNorm) is SB3's `VecNormalize`
      around the environment: one for actor, critics and targets, which evaluation does not move. Unlike the published
      one it cuts off at 10.
    - Behind an activation function that folds (`agents.plasticity.layers`) layers are as much wider as it puts out.

    The modules are SB3's, and so is what else the policy computes; they are changed while it is built, before anything
    holds their parameters.

    Args:
        args: as in SB3.
        norm: ``none``, ``layer`` or ``rms``.
        dropout: from 0 to below 1.
        network: ``mlp`` or ``simba``.
        injectable: the layers behind the features are an `agents.plasticity.injectable.Injectable`, of PPO's actor and
            critic and of all Q-functions. Before something is injected the policy computes what it would without.
        kwargs: as in SB3.

    Raises:
        ValueError: the features extractor is to be changed, but is none of `agents.networks.extractors.KNOWN`; what
            shall draw at random, or SimBa's blocks, would stand nowhere; or these are not all of one width.
    """

    activation_fn: Any

    def __init__(
        self,
        *args: Any,
        norm: Norm = "none",
        dropout: float = 0.0,
        network: Trunk = "mlp",
        injectable: bool = False,
        **kwargs: Any,
    ) -> None:
        self.norm, self.dropout, self.network, self.injectable = norm, dropout, network, injectable
        super().__init__(*args, **kwargs)
        resting = {module for root in self._resting() for module in root.modules()}
        for module in resting:
            if isinstance(module, DRAWING):
                module.train(False)
        if network == "simba" and not any(isinstance(module, SimbaBlock) for module in self.modules()):
            raise ValueError(
                "network is 'simba', but no hidden layer stands behind the features; give net_arch one, or leave "
                "network out"
            )
        if dropout and not any(isinstance(module, nn.Dropout) for module in {*self.modules()} - resting):
            raise ValueError(
                f"dropout is {dropout}, but would stand nowhere: no linear layer that it may act on is hidden; give "
                "net_arch one, for PPO in its critic, or leave dropout out"
            )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"norm": self.norm, "dropout": self.dropout, "network": self.network, "injectable": self.injectable}
        return {**super()._get_constructor_parameters(), **own}

    def _resting(self) -> Sequence[nn.Module]:
        """In what nothing ever draws at random."""
        return ()

    @property
    def _hidden(self) -> Hidden:
        return Hidden(NORMS.get(self.norm), self.dropout, self.network)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """SB3's, with normalisations and dropout."""
        extractor = super().make_features_extractor()
        for key, value in (("norm", self.norm), ("dropout", self.dropout)):
            if value not in ("none", 0) and type(extractor) not in KNOWN:
                raise ValueError(
                    f"{key} is {value!r}, but the features extractor {type(extractor).__name__} is not understood; "
                    f"give one of {', '.join(kind.__name__ for kind in KNOWN)}"
                )
        observations = _zeros(self.observation_space)
        fill(extractor, self._hidden, lambda: BaseModel.extract_features(self, observations, extractor))
        return extractor

    def _shaped(self, layers: Iterable[nn.Module], *, output: bool) -> nn.Sequential:
        return shaped(layers, self._hidden, output=output)

    def _head(self, layers: Iterable[nn.Module]) -> nn.Sequential:
        """All that stands behind the features, its output layer last."""
        found = self._shaped(layers, output=True)
        return Injectable(*found) if self.injectable else found

    def _fold(self, hidden: nn.Sequential) -> int:
        """How many values leave hidden layers for each unit of the last one in `net_arch`."""
        return fold_of(self.activation_fn) if len(hidden) and self.network == "mlp" else 1


class PlasticActorCriticPolicy(PlasticPolicy, ActorCriticPolicy):
    """PPO's.

    Nothing draws at random where actions depend on it, in the actor and in features that it shares: there dropout and
    `AID` stay in evaluation mode in updates, too. PPO divides the probability of an action by that which it had in the
    rollout; had each another network drawn, they would differ before anything is learnt (Hausknecht and Wagener, arXiv
    2202.11818).
    """

    mlp_extractor: MlpExtractor

    def _resting(self) -> Sequence[nn.Module]:
        return (self.pi_features_extractor, self.mlp_extractor.policy_net, self.action_net)

    def train(self, mode: bool = True) -> Self:
        """As ever, but for what draws at random in what actions depend on, which stays in evaluation mode."""
        super().train(mode)
        for root in self._resting():
            for module in root.modules():
                if isinstance(module, DRAWING):
                    module.train(False)
        return self

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        for net in (self.mlp_extractor.policy_net, self.mlp_extractor.value_net):
            if self.network == "simba":
                initialize(list(net))  # SB3 has drawn all layers alike
        if self.injectable:
            self._join_heads()

    def _join_heads(self) -> None:
        """Hidden layers and output layers become one module each; parameters stay the optimizer's."""
        if self.use_sde:
            raise ValueError(
                "injectable is True, but the noise of use_sde reads the actor's hidden units, of which there would be "
                "three kinds; leave one of them out"
            )
        both = self.mlp_extractor
        self.action_net = Injectable(*both.policy_net, self.action_net)
        self.value_net = Injectable(*both.value_net, self.value_net)  # type: ignore[assignment]
        both.policy_net, both.value_net = nn.Sequential(), nn.Sequential()
        both.latent_dim_pi = both.latent_dim_vf = self.features_dim

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        both = self.mlp_extractor
        both.latent_dim_pi *= self._fold(both.policy_net)
        both.latent_dim_vf *= self._fold(both.value_net)
        both.policy_net = self._shaped(both.policy_net, output=False)
        both.value_net = self._shaped(both.value_net, output=False)


class PlasticDQNPolicy(PlasticPolicy, DQNPolicy):
    """DQN's."""

    def make_q_net(self) -> QNetwork:
        """SB3's, changed."""
        network = super().make_q_net()
        network.q_net = self._head(network.q_net)
        return network


class _ActorCriticsPolicy(PlasticPolicy):
    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        """SB3's, changed."""
        critic: ContinuousCritic = super().make_critic(features_extractor)  # type: ignore[misc]
        for number, q_net in enumerate(critic.q_networks):
            critic.q_networks[number] = self._head(q_net.children())
            critic.add_module(f"qf{number}", critic.q_networks[number])
        return critic


class PlasticSACPolicy(_ActorCriticsPolicy, SACPolicy):
    """SAC's."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """SB3's, changed."""
        actor = super().make_actor(features_extractor)
        fold = self._fold(actor.latent_pi)
        actor.latent_pi = self._shaped(actor.latent_pi, output=False)
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
        f"the hidden layers of {policy.__name__} cannot be changed; give a policy of "
        f"{', '.join(kind.__name__ for kind in OF)}"
    )


def _zeros(space: spaces.Space[Any]) -> Any:
    """One observation of zeros, as SB3's preprocessing takes it."""
    if isinstance(space, spaces.Dict):
        return {key: _zeros(part) for key, part in space.spaces.items()}
    return torch.zeros((1, *(space.shape or ())))
