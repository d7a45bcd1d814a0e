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


class ReadWriteLock:
    """Many threads may read at a time, and one writes when none does; those that want to read go first.

    Copied and pickled it is a new one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reading = self._wanting = 0
        self._writer: int | None = None

    def __reduce__(self) -> tuple[type[ReadWriteLock], tuple[()]]:
        return ReadWriteLock, ()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is written by other threads stays as it is meanwhile."""
        if self._writer == threading.get_ident():
            yield
            return
        with self._changed:
            self._wanting += 1
            try:
                self._changed.wait_for(lambda: self._writer is None)
            finally:  # Ctrl-C may come meanwhile
                self._wanting -= 1
                self._changed.notify_all()
            self._reading += 1
        try:
            yield
        finally:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile. The thread may enter it again."""
        own = threading.get_ident()
        if self._writer == own:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._writer is None and not self._reading and not self._wanting)
            self._writer = own
        try:
            yield
        finally:
            with self._changed:
                self._writer = None
                self._changed.notify_all()


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
        return [*super()._excluded_save_params(), "_own_thread"]

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        self._own_thread = threading.get_ident()
        return super()._setup_learn(*args, **kwargs)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """SB3's, also beside `learn` of another thread, which is then as if nobody had asked but for what is drawn.

        The parameters are those of that moment; in the middle of an optimizer step some have moved and some have not.
        """
        learner: Any = super(ServingMixin, self._in_this_thread())
        actions, state = learner.predict(observation, state, episode_start, deterministic)
        return actions, state

    @contextmanager
    def _at_rest(self) -> Iterator[Self]:
        """The learner as it is to be saved: while another thread learns, between two of its updates."""
        with self.parameter_lock.reading():
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
        found.policy = beside(self.policy, {})
        return found


def beside(module: nn.Module, known: dict[nn.Module, nn.Module]) -> Any:
    """The module in evaluation mode, to be run while another thread runs it: its parameters in other modules.

    Args:
        module: whose parameters and buffers stay the same tensors, also where they are put in anew.
        known: modules that have been copied already, and is added to: some stand in several places.
    """
    if isinstance(module, torch.jit.ScriptModule):  # holds nothing of a forward, and has no attributes to copy
        return module
    if module not in known:
        # Not `copy.copy`, which asks for what would be pickled: that modules with parametrizations refuse.
        found = known[module] = object.__new__(type(module))
        held = vars(found)
        held.update(vars(module), training=False)
        children = dict(held["_modules"])  # at once: another thread may put modules in
        held["_modules"] = {key: None if child is None else beside(child, known) for key, child in children.items()}
        if isinstance(module, BaseModel):
            held.update({key: copy.copy(value) for key, value in held.items() if isinstance(value, Distribution)})
    return known[module]
