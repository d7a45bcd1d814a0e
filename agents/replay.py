"""What learners that replay draw, from which buffer, and what is made of it: returns, losses and priorities."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule
from torch import Tensor

from agents import settings
from agents.buffers import ahead, sampling
from agents.buffers.ages import AgeWeights
from agents.buffers.bits import keep_bits
from agents.buffers.prioritized import PrioritizedReplayBuffer, PrioritizedSamples
from agents.buffers.replay_on_device import on_device
from agents.buffers.sampling import ReplayBatch as Batch
from agents.learner import LearnerMixin


class ReplayMixin(LearnerMixin, OffPolicyAlgorithm):
    """The part of a learner that holds its replay buffer, and knows how transitions are drawn and weighed.

    Attributes:
        replay: ``"uniform"``, ``"prioritized"``, or a mapping of that name and its settings, see
            `agents.settings.replay`.
    """

    def __init__(self, *args: Any, replay: str | Mapping[str, Any] = "uniform", **kwargs: Any) -> None:
        self.replay = replay
        self._age_weights: AgeWeights | None = None  # that transitions are drawn with; uniformly without
        self._beta: Schedule | None = None  # of the importance weights, where that is decided here
        self._td_errors: list[tuple[np.ndarray, Tensor]] = []  # of this update's gradient steps, with their indices
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        with warnings.catch_warnings():
            if self.observation_space.dtype == np.bool_:  # SB3 counts bytes, of which no memory is taken yet
                warnings.filterwarnings("ignore", "This system does not have apparently enough memory")
            self._make_prioritized()
            super()._setup_model()
        assert self.replay_buffer is not None
        keep_bits(self.replay_buffer)
        self.replay_buffer = on_device(self.replay_buffer)

    def _make_prioritized(self) -> None:
        """Build the replay buffer that `replay` asks for, unless that is SB3's.

        Raises:
            ValueError: it is impossible, here or with the other arguments.
        """
        try:
            given = settings.replay(self.replay)
        except ValueError as error:
            raise ValueError(f"replay={self.replay} {error}") from None
        if not isinstance(given, Mapping):
            return
        if self.replay_buffer_class not in (None, ReplayBuffer, NStepReplayBuffer):  # which SB3 chooses, and saves
            name = self.replay_buffer_class.__name__
            raise ValueError(f"replay is prioritized, but replay_buffer_class is {name}; give one of them up")
        self._beta = _schedule(given["beta"])
        kwargs = {**self.replay_buffer_kwargs, "n_steps": self.n_steps, "gamma": self.gamma}
        self.replay_buffer = PrioritizedReplayBuffer(
            self.buffer_size, self.observation_space, self.action_space, self.device, self.n_envs,
            self.optimize_memory_usage, **kwargs, alpha=given["alpha"], beta=self._beta(1.0), epsilon=given["epsilon"],
        )  # fmt: skip

    @property
    def schedules(self) -> tuple[str, ...]:
        """As of every learner, and ``replay.beta``."""
        return (*super().schedules, *(["replay.beta"] if isinstance(self._beta, LinearSchedule) else []))

    def _excluded_save_params(self) -> list[str]:
        # The intervention that weighs by age is saved, and `replay`.
        return [*super()._excluded_save_params(), "_age_weights", "_beta", "_td_errors"]

    # ------------------------------------------------------------------ draws

    def weigh_by_age(self, decay_steps: int, min_weight: float) -> None:
        """Draw transitions with weights of max(`min_weight`, 1 - age / `decay_steps`), ages in steps of the games.

        Raises:
            NotImplementedError: the replay buffer does not draw rows as SB3's own buffers of transitions do.
        """
        if isinstance(self.replay_buffer, PrioritizedReplayBuffer):
            raise NotImplementedError("replay is prioritized, by errors; give replay uniform, or leave this out")
        if not sampling.draws_rows(self.replay_buffer):
            raise NotImplementedError(
                f"{type(self.replay_buffer).__name__} draws samples in a way of its own; give no replay_buffer_class, "
                "or one that leaves that to Stable-Baselines3's ReplayBuffer.sample"
            )
        self._age_weights = AgeWeights(self.n_envs / decay_steps, min_weight) if min_weight < 1 else None

    @property
    def _draws_ahead(self) -> bool:
        """Whether an update's minibatches may be drawn together."""
        return self._age_weights is None and ahead.draws_ahead(self.replay_buffer)

    def _minibatches(self, n: int, count: int) -> Iterator[Batch]:
        """So many times `n` transitions of the replay buffer to train on, those of an update."""
        assert self.replay_buffer is not None
        env, weights = self._vec_normalize_env, self._age_weights
        drawn: Iterator[Batch]
        if self._draws_ahead:
            drawn = chain.from_iterable(ahead.minibatches(self.replay_buffer, n, count, env))
        else:
            drawn = (sampling.minibatch(self.replay_buffer, n, env, weights) for _ in range(count))
        return map(self._augmented, drawn)

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """At most `n` transitions of the replay buffer, with replacement: as training draws them, but never by errors.

        Raises:
            NoDataError: it holds nothing that can be sampled yet.
        """
        batch = sampling.sample(self.replay_buffer, n, generator, self._vec_normalize_env, self._age_weights)
        return sampling.moved(batch, self._upload)

    def sample_newest(self, n: int, span: int, generator: torch.Generator) -> Batch:
        """As `sample`, of the last `span` steps alone; hindsight replay gives them from all of its episodes.

        Raises:
            NoDataError: as for `sample`.
        """
        batch = sampling.sample_newest(self.replay_buffer, n, span, generator, self._vec_normalize_env)
        return sampling.moved(batch, self._upload)

    # ------------------------------------------------------------------ what is made of them

    def _returns(self, batch: Batch, next_values: Tensor) -> Tensor:
        """Rewards and the discounted values that they are followed by, (batch, 1)."""
        discounts = self.gamma if batch.discounts is None else batch.discounts  # each transition's own: n-step replay
        found: Tensor = batch.rewards + (1 - batch.dones) * discounts * next_values
        return found

    def _td_loss(self, loss: Callable[..., Tensor], values: Sequence[Tensor], targets: Tensor, batch: Batch) -> Tensor:
        """The mean loss of Q-values, summed over Q-functions; of prioritised samples weighted, and with errors noted.

        Args:
            loss: of torch's, of values and targets.
            values: of each Q-function, (batch, 1).
            targets: of all of them, (batch, 1).
            batch: that they are of.
        """
        if not isinstance(batch, PrioritizedSamples):
            return reduce(torch.add, [loss(value, targets) for value in values])
        errors = torch.cat([value.detach() - targets for value in values], dim=1).abs().mean(dim=1)
        self._td_errors.append((batch.indices, errors))
        return reduce(torch.add, [(batch.weights * loss(value, targets, reduction="none")).mean() for value in values])

    def _squared_td_loss(self, values: Tensor, targets: Tensor, batch: Batch, factor: float) -> tuple[Tensor, Tensor]:
        """`_td_loss` of squared errors, times a factor, and its gradient at the values, without a graph.

        Args:
            values: of all Q-functions, (Q-functions, batch, 1).
            targets: as of `_td_loss`.
            batch: likewise.
            factor: of the loss.
        """
        errors = values - targets
        weighted = errors
        if isinstance(batch, PrioritizedSamples):
            self._td_errors.append((batch.indices, errors[:, :, 0].abs().mean(dim=0)))
            weighted = batch.weights * errors
        loss = factor * (weighted * errors).mean(dim=1).sum()
        return loss, weighted.mul(2 * factor / len(targets))

    def _begin_weighing(self) -> None:
        """Before an update: importance weights are those of its place in the run.

        Raises:
            ValueError: another kind of replay buffer took the place of the prioritised one.
        """
        if self._beta is not None:
            if not isinstance(self.replay_buffer, PrioritizedReplayBuffer):
                raise ValueError(
                    f"replay is prioritized, but replay_buffer was replaced by a {type(self.replay_buffer).__name__}; "
                    "load one that a prioritized agent has saved, or give replay uniform"
                )
            self.replay_buffer.beta = self._beta(self._current_progress_remaining)

    def _update_priorities(self) -> None:
        """After an update: the errors of its gradient steps come to the host together, the one wait that they cost."""
        noted, self._td_errors = self._td_errors, []
        if noted:
            assert isinstance(self.replay_buffer, PrioritizedReplayBuffer)
            indices, errors = zip(*noted, strict=True)
            self.replay_buffer.update_priorities(np.concatenate(indices), torch.cat(errors).cpu().numpy())


def _schedule(given: Any) -> Schedule:
    """A number, or ``{"linear": [first, last]}``, as SB3 takes it."""
    if not isinstance(given, Mapping):
        return ConstantSchedule(given)
    first, last = given["linear"]
    return LinearSchedule(first, last, end_fraction=1.0)
