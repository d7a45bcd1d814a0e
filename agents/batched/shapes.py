"""What of a PPO agent can be computed together with other agents: the shapes of its networks, or why it cannot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import Tensor, nn

from agents.networks.distributions import LeanCategorical
from agents.plasticity.optimizers import stepping
from agents.speed.activations import Activation
from agents.speed.perceptrons import OtherNetworkError, dense_layers, is_hooked

if TYPE_CHECKING:
    from agents.ppo import PPO

LOGITS, MEANS = "logits", "means"
COMPUTED = ("forward", "evaluate_actions", "predict_values", "extract_features", "_get_action_dist_from_latent")
"""What of `ActorCriticPolicy` is computed here in its place."""
PASSED = ("forward", "forward_actor", "forward_critic")
"""Likewise of `MlpExtractor`."""


class AloneError(ValueError):
    """An agent can be trained by itself alone; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Dense:
    """A linear layer.

    Attributes:
        inputs: of it.
        outputs: of it.
        bias: whether it has one.
        activation: what follows it; None behind an output layer.
    """

    inputs: int
    outputs: int
    bias: bool
    activation: Activation | None

    @property
    def size(self) -> int:
        """Numbers in its parameters."""
        return self.outputs * (self.inputs + self.bias)


@dataclass(frozen=True)
class Shapes:
    """The networks of an agent. Those of two agents with equal ones are computed together.

    Attributes:
        actor: its layers, the output layer last.
        critic: likewise.
        head: what the actor puts out: `LOGITS` of discrete actions, or `MEANS` of normal distributions.
        dtype: of all parameters.
    """

    actor: tuple[Dense, ...]
    critic: tuple[Dense, ...]
    head: str
    dtype: torch.dtype

    @property
    def deviations(self) -> int:
        """Numbers in the parameter ``log_std``, 0 where there is none."""
        return self.actor[-1].outputs if self.head == MEANS else 0

    @property
    def size(self) -> int:
        """Numbers in all parameters of one agent."""
        return sum(layer.size for layer in (*self.actor, *self.critic)) + self.deviations


def shapes_of(agent: PPO) -> tuple[Shapes, list[nn.Parameter]]:
    """The networks of an agent, and its parameters: layer by layer of the actor, then of the critic; ``log_std`` last.

    Raises:
        AloneError: it cannot be trained together with others.
    """
    _check_agent(agent)
    policy = agent.policy
    _check_policy(policy)
    both: MlpExtractor = policy.mlp_extractor
    actor, critic = [*both.policy_net, policy.action_net], [*both.value_net, policy.value_net]
    layers = [list(_layers(actor)), list(_layers(critic))]
    parameters = [p for module in (*actor, *critic) for p in module.parameters()]
    head = LOGITS if isinstance(policy.action_dist, LeanCategorical) else MEANS
    if head == MEANS:
        parameters.append(policy.log_std)
    _check_parameters(policy, parameters)
    if any(map(is_hooked, (policy.features_extractor, both, both.policy_net, both.value_net))):
        raise AloneError("a hook is on one of its networks")
    return Shapes(tuple(layers[0]), tuple(layers[1]), head, parameters[0].dtype), parameters


def features_of(agent: PPO, observations: Any) -> Tensor:
    """What the networks of such an agent see of observations (batch, ...): (batch, inputs)."""
    policy = agent.policy
    seen = preprocess_obs(observations, policy.observation_space, normalize_images=policy.normalize_images)
    features: Tensor = policy.features_extractor(seen)
    return features


def why_alone(agent: Any) -> str | None:
    """Why an agent of any algorithm can be trained by itself alone, None where it can be together with others."""
    from agents.ppo import PPO

    if not isinstance(agent, PPO):
        return f"only PPO's agents can be trained together, and this one is {type(agent).__name__}"
    try:
        shapes_of(agent)
    except AloneError as error:
        return str(error)
    return None


def _check_agent(agent: PPO) -> None:
    from agents.ppo import PPO

    own = [name for name in ("train", "_update", "_gradient_step", "losses", "_evaluate") if _differs(agent, PPO, name)]
    if own:
        raise AloneError(f"its class {type(agent).__name__} has {own[0]} of its own")
    if agent.device.type != "cpu":
        raise AloneError(f"its networks are on {agent.device.type}, and only those on the CPU are put together")
    if agent.target_kl is not None:
        raise AloneError("target_kl may end an update early")
    if agent.use_sde:
        raise AloneError("use_sde draws its noise by the hidden units")
    if agent.augmentation is not None:
        raise AloneError("random_shift moves images")
    if type(agent.policy.optimizer) is not torch.optim.Adam:
        raise AloneError(
            f"its optimizer is {type(agent.policy.optimizer).__name__}, and only Adam's steps are put together"
        )
    if stepping.is_watched(agent.policy.optimizer):
        raise AloneError("its optimizer's steps are watched, or made in another way")
    if len(agent.policy.optimizer.param_groups) > 1:
        raise AloneError("its optimizer has several groups of parameters")
    group = agent.policy.optimizer.param_groups[0]
    if other := [key for key in ("amsgrad", "maximize", "weight_decay", "differentiable", "capturable") if group[key]]:
        raise AloneError(f"its optimizer's {other[0]} is {group[other[0]]}")


def _check_policy(policy: ActorCriticPolicy) -> None:
    own = [name for name in COMPUTED if _differs(policy, ActorCriticPolicy, name)]
    if own:
        raise AloneError(f"its policy {type(policy).__name__} has {own[0]} of its own")
    if type(policy.features_extractor) is not FlattenExtractor:
        raise AloneError(
            f"its features come from {type(policy.features_extractor).__name__}, and only plain observations are put "
            "together (features: flatten)"
        )
    both = policy.mlp_extractor
    if not isinstance(both, MlpExtractor) or any(_differs(both, MlpExtractor, name) for name in PASSED):
        raise AloneError(f"its hidden layers are in a {type(policy.mlp_extractor).__name__}")
    if type(policy.action_dist) not in (LeanCategorical, DiagGaussianDistribution):
        raise AloneError(f"its actions are of the space {type(policy.action_space).__name__}")


def _differs(thing: object, kind: type, name: str) -> bool:
    """Whether something, by its class or itself, has another method than `kind`."""
    return name in vars(thing) or getattr(type(thing), name) is not getattr(kind, name)


def _layers(modules: Sequence[nn.Module]) -> Iterable[Dense]:
    if any(map(is_hooked, modules)):
        raise AloneError("a hook is on one of its layers")
    try:
        layers = list(dense_layers(modules))
    except OtherNetworkError as error:
        raise AloneError(str(error)) from None
    if not layers or layers[-1].activation is not None:
        raise AloneError("one of its networks ends in no linear layer")
    for (linear,), activation in layers:
        yield Dense(linear.in_features, linear.out_features, linear.bias is not None, activation)


def _check_parameters(policy: ActorCriticPolicy, known: list[nn.Parameter]) -> None:
    if len({id(p) for p in known}) < len(known):
        raise AloneError("its networks share parameters")
    if {id(p) for p in known} != {id(p) for p in policy.parameters()}:
        raise AloneError("its policy has parameters beside those of its layers")
    if {id(p) for p in known} != {id(p) for group in policy.optimizer.param_groups for p in group["params"]}:
        raise AloneError("its optimizer has other parameters than its policy")
    if not all(p.requires_grad for p in known):
        raise AloneError("some of its parameters are frozen")
    if any(p._backward_hooks or p._post_accumulate_grad_hooks for p in known):
        raise AloneError("a hook is on one of its parameters")
    if len({p.dtype for p in known}) > 1 or not known[0].is_floating_point():
        raise AloneError("its parameters are of several dtypes")
    if not all(math.prod(p.shape) for p in known):
        raise AloneError("one of its layers has no units")
