"""What an agent does in a rollout, computed in the quickest way that gives what its policy's forward would."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor

from agents.networks.distributions import LeanCategorical
from agents.networks.reading import READERS, reader
from agents.speed import proximal
from agents.speed.kept import Kept
from agents.speed.perceptrons import is_hooked
from agents.speed.threads import one_thread

SMALL = 2**24
"""Products of a forward up to which one thread is about as quick as two, of which one has to be woken every time."""


class _Ways(NamedTuple):
    """In which forwards of a rollout are computed."""

    threads: Callable[[], AbstractContextManager[object]]
    quickly: Callable[[], AbstractContextManager[object]]
    read: Callable[[Any], Any]
    kept: Kept


class Actor:
    """What an agent does in a rollout, by its own policy.

    Args:
        agent: whose rollout it is, which begins now.
    """

    def __init__(self, agent: Any) -> None:
        self.agent = agent

    def act(self, observations: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and log-probabilities, as the policy's forward gives them."""
        threads, quickly, read, kept = self._ways
        policy, at_once = self.agent.policy, self.agent._at_once
        with torch.no_grad(), threads(), kept:
            seen, found = read(observations), None
            if at_once is not None:
                found = proximal.actions(at_once, policy, seen, quickly(), rows=self.agent.batch_size)
            if found is None:
                with quickly():
                    found = policy(seen)
        return found

    def value(self, observations: Any) -> Tensor:
        """Values, as `predict_values` of the policy gives them."""
        with torch.no_grad(), self.agent._quickly():
            found: Tensor = self.agent.policy.predict_values(observations)
        return found

    @cached_property
    def _ways(self) -> _Ways:
        """Found out where the agent acts by itself."""
        threads = one_thread if self._is_as_good_on_one() else nullcontext
        return _Ways(threads, nullcontext if self._is_small else self.agent._quickly, self._reader(), Kept())

    @cached_property
    def _is_small(self) -> bool:
        """Whether forwards, each of whose weights is used about once, have few products; False of others.

        What `Quick` spares there is less than what it costs to be asked about every operation.
        """
        policy, observations = self.agent.policy, self.agent._last_obs
        if self.agent.device.type != "cpu" or not isinstance(observations, np.ndarray):
            return False
        if type(policy).forward is not ActorCriticPolicy.forward or not policy.share_features_extractor:
            return False
        if type(policy.features_extractor) not in READERS:
            return False
        products: int = len(observations) * sum(parameter.numel() for parameter in policy.parameters())
        return products <= SMALL

    def _reader(self) -> Callable[[Any], Any]:
        """How SB3's own forward reads observations soonest; `Quick` looks for itself.

        A policy's forward of another kind gets what SB3 would give it.
        """
        exactly = self.agent._quick is None or self._is_small
        if exactly and type(self.agent.policy).forward is ActorCriticPolicy.forward:
            return reader(self.agent.policy)
        return lambda observations: observations

    def _is_as_good_on_one(self) -> bool:
        """Whether forwards give the same on one thread, and are so small that waking others takes longer.

        With ``speed="exact"`` it is looked, at numbers drawn at random, whether sums are the same to the last bit: how
        a matrix product is dealt out to threads is decided by its shape.
        """
        if torch.get_num_threads() == 1 or not self._is_small:
            return False
        if self.agent._quick is not None:
            return True
        policy = self.agent.policy
        if type(policy.action_dist) not in (LeanCategorical, DiagGaussianDistribution):
            return False
        if any(map(is_hooked, policy.modules())):  # somebody counts the forwards
            return False
        observations = self.agent._seen(self.agent._last_obs)
        seen = preprocess_obs(observations, policy.observation_space, policy.normalize_images)
        assert isinstance(seen, Tensor)
        drawn = torch.randn(seen.shape, generator=torch.Generator("cpu").manual_seed(0), device="cpu")

        def outputs() -> list[Tensor]:
            pi, vf = policy.mlp_extractor(policy.features_extractor(drawn))
            return [policy.action_net(pi), policy.value_net(vf)]

        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            several = outputs()
            with one_thread():
                one = outputs()
        return all(map(torch.equal, several, one))
