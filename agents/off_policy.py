"""What DQN, SAC and TD3 share: how often they learn, and how they begin anew when the world has changed."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq, TrainFrequencyUnit
from torch import Tensor

from agents.at_switch import AtSwitch
from agents.buffers import sampling
from agents.networks.distributions import unchecked
from agents.plasticity.units import Network
from agents.plasticity.validation import check
from agents.replay import ReplayMixin
from agents.spaces import check_played

ROUNDING = 1e-9  # of gradient steps: ten times 0.1 is a whole one


class OffPolicyMixin(ReplayMixin):
    """A `LearnerMixin` that learns from a replay buffer; mixed into DQN, SAC or TD3, in front of it.

    Attributes:
        exploration_began: step of this learner at which its exploration began, the last time.
        writes_rows: of logs, one for every `log_interval` episodes; a callback that writes them in another way sets
            it to False where training starts, for this `learn`.
    """

    COUNTERS: ClassVar[tuple[str, ...]] = (
        "gradient_steps", "_random_until", "exploration_began", "_refilling", "_row_written_at", "_replay_ratio",
        "_gradient_steps_owed",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # All in steps of this learner, and plain numbers: SB3's zip holds them.
        self._random_until = 0
        self.exploration_began = 0
        self._refilling = False
        self._row_written_at = -1
        self.writes_rows = True
        self._replay_ratio: float | None = None  # that was set; otherwise `gradient_steps` and `train_freq` decide
        self._gradient_steps_owed = 0.0
        self._gradient_steps_due: int | None = None  # of the update that comes next, where a ratio was set
        super().__init__(*args, **kwargs)

    def _build_networks(self) -> Mapping[str, Network]:
        for name in ("q_net", "q_net_target", "actor", "actor_target", "critic", "critic_target"):
            if getattr(self.policy, name, None) is not getattr(self, name, None):
                raise ValueError(
                    f"policy was assigned anew, but training uses the old one's {name}; put parameters into the policy "
                    "that is there with policy.load_state_dict, or build a new agent"
                )
        return super()._build_networks()

    # ------------------------------------------------------------------ training

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """One update from replay; none, while it fills again after it was cleared.

        In `learn` a replay ratio that was set decides in place of `gradient_steps`.
        """
        due, self._gradient_steps_due = self._gradient_steps_due, None
        if due != 0 and not self._is_refilling():
            self._begin_weighing()
            with self.parameter_lock.writing(), self._few_threads(batch_size), unchecked(self.device):
                self._update(gradient_steps if due is None else due, batch_size)
            self._update_priorities()
        self._end_update()

    @abstractmethod
    def _update(self, gradient_steps: int, batch_size: int) -> None: ...

    def _log_update(self, steps: Sequence[Mapping[str, Tensor]]) -> None:
        """SB3's ``train/*`` tags: the means of what an update's gradient steps have given, by name.

        All are read at once: on a GPU every look at a value waits for the device.
        """
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if not steps:
            return
        names = max(steps, key=len)  # not every step trains every network
        found = {name: [step[name] for step in steps if name in step] for name in names}
        numbers = iter(torch.stack([value for values in found.values() for value in values]).tolist())
        for name, values in found.items():
            self.logger.record(f"train/{name}", np.mean([next(numbers) for _ in values]))

    def _most_gradient_steps(self, timesteps: int) -> int:
        # Before each update, at least; of episodes nobody knows the length, nor how far the last one goes.
        taken = cast(TrainFreq, self.train_freq).frequency * self.n_envs
        warming_up = max(self.learning_starts - self.num_timesteps, 0) // taken
        updates = max(math.ceil(timesteps / taken) - warming_up, 0)
        if self._replay_ratio is not None:
            return math.ceil(updates * taken * self._replay_ratio)
        return updates * (taken if self.gradient_steps < 0 else self.gradient_steps)

    @property
    def replay_ratio(self) -> float:
        """Gradient steps for each step of a game: ``gradient_steps / (train_freq x games)`` until another one is set.

        From then on every update makes as many as the steps since the last one call for, in place of `gradient_steps`;
        what is left of a whole one is carried over. DQN's target network, which is copied at steps of the games, is
        then copied after as many gradient steps as before.

        Raises:
            ValueError: it is not set and `train_freq` counts episodes, whose length is not known; or it is set to what
                is no ratio.
        """
        found = self.given_replay_ratio if self._replay_ratio is None else self._replay_ratio
        if found is None:
            raise ValueError("train_freq counts episodes, so that the replay ratio is not known before it is set")
        return found

    @replay_ratio.setter
    def replay_ratio(self, ratio: float) -> None:
        check("replay_ratio", ratio, 0 <= ratio < math.inf, "a number of gradient steps per step of a game")
        self._replay_ratio = float(ratio)

    @property
    def given_replay_ratio(self) -> float | None:
        """The replay ratio of `gradient_steps` and `train_freq`; None where the latter counts episodes."""
        every = cast(TrainFreq, self.train_freq)
        if self.gradient_steps < 0:
            return 1.0
        if every.unit is TrainFrequencyUnit.EPISODE:
            return None
        return self.gradient_steps / (every.frequency * self.n_envs)

    def _keep_replay_ratio(self, steps: int) -> None:
        """Owe the gradient steps that `steps` new steps of the games call for, where a ratio was set."""
        if self._replay_ratio is not None:
            owed = self._gradient_steps_owed + self._replay_ratio * steps
            self._gradient_steps_due = math.floor(owed + ROUNDING)
            self._gradient_steps_owed = owed - self._gradient_steps_due

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> RolloutReturn:
        """SB3's; where SB3 lets no update follow, task switches are delivered at its end."""
        if not self.writes_rows:
            kwargs["log_interval"] = None
        rollout = super().collect_rollouts(*args, **kwargs)
        if not rollout.continue_training:
            return rollout
        if self.num_timesteps <= self.learning_starts:
            self._end_update()
            return rollout
        self._keep_replay_ratio(rollout.episode_timesteps)
        if self.gradient_steps == 0:
            self._gradient_steps_due = self._gradient_steps_due or 0
            self.train(0, self.batch_size)
        return rollout

    def fill_buffer(self) -> None:
        assert self.env is not None
        assert self.replay_buffer is not None
        steps = self.replay_buffer.buffer_size
        _, callback = self._setup_learn(steps * self.n_envs)
        frequency = TrainFreq(steps, TrainFrequencyUnit.STEP)
        super().collect_rollouts(self.env, callback, frequency, self.replay_buffer, self.action_noise)

    # ------------------------------------------------------------------ task switches

    def _forget(self, what: AtSwitch) -> None:
        super()._forget(what)
        if what.replay == "clear" and self.replay_buffer is not None:
            sampling.clear(self.replay_buffer)
            self._refilling = True
        if what.exploration == "restart":
            self.exploration_began = self.num_timesteps
            self._restart_exploration()
        if what.random_steps:
            self._random_until = max(self._random_until, self.num_timesteps + what.random_steps)

    def _everything(self) -> AtSwitch:
        everything = super()._everything()
        return replace(everything, replay="clear", exploration="restart", random_steps=self.learning_starts)

    def _restart_exploration(self) -> None:
        if self.action_noise is not None:
            self.action_noise.reset()

    def _is_refilling(self) -> bool:
        """Whether updates wait for transitions after the buffer was cleared, as they do at the start."""
        buffer = self.replay_buffer
        if self._refilling and buffer is not None:
            few = not buffer.full and buffer.size() * buffer.n_envs <= self.learning_starts
            self._refilling = few or sampling.lacks_episodes(buffer)
        return self._refilling

    def _sample_action(self, learning_starts: int, *args: Any, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        actions, stored = super()._sample_action(max(learning_starts, self._random_until), *args, **kwargs)
        if isinstance(self.action_space, spaces.Box):
            check_played(actions)
        return actions, stored

    def _setup_learn(
        self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True, *args: Any, **kwargs: Any
    ) -> tuple[int, BaseCallback]:
        self.writes_rows = True
        if reset_num_timesteps:
            self._random_until = self.exploration_began = 0
            self._row_written_at = -1
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args, **kwargs)

    # ------------------------------------------------------------------ log

    def dump_logs(self, *args: Any, **kwargs: Any) -> None:
        """SB3's row of logs, at most one for each step of the batch of games: SB3 writes one per finished episode."""
        if self._row_written_at != self.num_timesteps:
            self._row_written_at = self.num_timesteps
            super().dump_logs(*args, **kwargs)
