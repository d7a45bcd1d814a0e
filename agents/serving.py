"""Other threads than the one that learns: a deployed agent is asked, and saved, while it goes on learning."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import BaseModel
from torch import nn

from agents.plasticity.threads import ReadWriteLock, value_lock


class ServingMixin(BaseAlgorithm):
    """The part of a learner that `predict` may be called of in any number of threads, also while one of them learns.

    Stable-Baselines3's policies keep the distribution that they have computed last, and `predict` puts them into
    evaluation mode: two threads take each other's actions, and a gradient step goes on with another thread's
    probabilities, or without its dropout. Here every thread but one has the policy in copies of its modules, whose
    parameters are the learner's own.

    Attributes:
        parameter_lock: held for writing while parameters, or what interventions hold, change.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._own_thread = threading.get_ident()  # which uses the policy itself
        self.parameter_lock = ReadWriteLock()
        super().__init__(*args, **kwargs)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_own_thread", "parameter_lock"]

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        self._own_thread = threading.get_ident()
        return super()._setup_learn(*args, **kwargs)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """SB3's, also beside `learn` of another thread, which is then as if nobody had asked but for what is drawn.

        The parameters are those of that moment; in the middle of an optimizer step some have moved and some have not.
        While a copy of the networks, or a fresh one, is looked at in their place, other threads wait for the end of it.
        """
        learner: Any = super(ServingMixin, self._in_this_thread())
        actions, state = learner.predict(observation, state, episode_start, deterministic)
        return actions, state

    @contextmanager
    def _at_rest(self) -> Iterator[Self]:
        """The learner as it is to be saved: while another thread learns, between two of its updates."""
        # What interventions hold may be attached anew meanwhile, which tries them: no other lock is wanted for that.
        with self.parameter_lock.reading(), value_lock(self.policy).writing():
            found = self
            if threading.get_ident() != self._own_thread:
                found = copy.copy(self)
                for ends in ("ep_info_buffer", "ep_success_buffer"):  # of episodes, to which rollouts add
                    setattr(found, ends, copy.copy(getattr(self, ends)))
            yield found

    def _in_this_thread(self) -> Self:
        """The learner, in another thread than its own with a policy of that thread's."""
        if threading.get_ident() == self._own_thread:
            return self
        found = copy.copy(self)
        found._own_thread = threading.get_ident()
        with value_lock(self.policy).reading():
            found.policy = beside(self.policy, {})
        return found


def beside(module: nn.Module, known: dict[nn.Module, nn.Module]) -> Any:
    """The module in evaluation mode, to be run while another thread runs it: its values in other modules.

    Args:
        module: whose parameters and buffers keep their memory, so that what changes them in place is seen.
        known: modules that have been copied already, and is added to: some stand in several places.
    """
    if isinstance(module, torch.jit.ScriptModule):  # holds nothing of a forward, and has no attributes to copy
        return module
    if module not in known:
        # Not `copy.copy`, which asks for what would be pickled: that modules with parametrizations refuse.
        found = known[module] = object.__new__(type(module))
        held = vars(found)
        held.update(vars(module), training=False)
        for kind in ("_parameters", "_buffers"):  # at once: another thread may put others in, for a while or for good
            held[kind] = {key: None if each is None else each.detach() for key, each in dict(held[kind]).items()}
        held["_modules"] = {
            key: None if child is None else beside(child, known) for key, child in dict(held["_modules"]).items()
        }
        for key, value in held.items():
            if isinstance(value, tuple) and any(isinstance(each, nn.Module) for each in value):  # hidden from torch
                held[key] = tuple(beside(each, known) if isinstance(each, nn.Module) else each for each in value)
            elif isinstance(value, Distribution) and isinstance(module, BaseModel):
                held[key] = copy.copy(value)
    return known[module]
