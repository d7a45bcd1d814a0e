"""Transitions drawn apart from training, and the end of what is stored: all that is known of how SB3's buffers work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from stable_baselines3.common.buffers import DictReplayBuffer, DictRolloutBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.common.type_aliases import (
    DictReplayBufferSamples,
    DictRolloutBufferSamples,
    ReplayBufferSamples,
    RolloutBufferSamples,
)
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer
from torch import Tensor

from agents.buffers.ages import AgeWeights
from agents.buffers.prioritized import PrioritizedReplayBuffer, PrioritizedSamples
from agents.buffers.rollout_on_device import RolloutBufferOnDevice
from agents.plasticity.protocols import NoDataError

ReplayBatch = ReplayBufferSamples | DictReplayBufferSamples | PrioritizedSamples
RolloutBatch = RolloutBufferSamples | DictRolloutBufferSamples
BatchT = TypeVar("BatchT", bound=ReplayBatch | RolloutBatch)


def draws_rows(buffer: ReplayBuffer | None) -> bool:
    """Whether samples are what SB3 draws itself: rows of the buffer, all with one probability."""
    return getattr(type(buffer), "sample", None) in (ReplayBuffer.sample, DictReplayBuffer.sample)


def minibatch(buffer: ReplayBuffer, n: int, env: VecNormalize | None, weights: AgeWeights | None) -> ReplayBatch:
    """`n` transitions as training gets them, drawn by numpy's global generator as SB3 does.

    Args:
        buffer: that is not empty.
        n: how many, with replacement.
        env: whose statistics normalise them.
        weights: with which rows are drawn; None for the buffer's own way. Of its games each row's are drawn uniformly.
    """
    if weights is None:
        return buffer.sample(n, env=env)
    return _rows_back(buffer, weights.draw(_rows(buffer), np.random.random_sample(n)), env)


def sample(
    buffer: ReplayBuffer | None,
    n: int,
    generator: torch.Generator,
    env: VecNormalize | None,
    weights: AgeWeights | None = None,
) -> ReplayBatch:
    """At most `n` transitions, as `minibatch` gives them to training, but never by priorities: then all are alike.

    Raises:
        NoDataError: it holds nothing that can be sampled yet.
    """
    if buffer is None or buffer.size() == 0:
        raise NoDataError("the replay buffer is empty; let the agent take some steps first")
    if lacks_episodes(buffer):
        raise NoDataError("the replay buffer holds no finished episode yet; let the agent take some steps first")
    n = min(n, buffer.size() * buffer.n_envs)
    if isinstance(buffer, PrioritizedReplayBuffer):
        return _drawn(buffer, partial(buffer.sample_uniformly, n, env), generator)
    return _drawn(buffer, partial(minibatch, buffer, n, env, weights), generator)


def sample_newest(
    buffer: ReplayBuffer | None, n: int, span: int, generator: torch.Generator, env: VecNormalize | None
) -> ReplayBatch:
    """As `sample`, of the last `span` steps alone; hindsight replay gives them from all of its episodes.

    Raises:
        NoDataError: as for `sample`.
    """
    if buffer is None or buffer.size() == 0 or isinstance(buffer, HerReplayBuffer):
        return sample(buffer, n, generator, env)
    rows = min(max(span // buffer.n_envs, 1), _rows(buffer))
    ages = torch.randint(rows, (min(n, rows * buffer.n_envs),), generator=generator).numpy() + 1
    return _drawn(buffer, partial(_rows_back, buffer, ages, env), generator)


def sample_rollout(buffer: RolloutBuffer, n: int, generator: torch.Generator) -> RolloutBatch:
    """At most `n` transitions of the last rollout, without replacement, where the buffer keeps them."""
    chosen = torch.randperm(buffer.buffer_size * buffer.n_envs, generator=generator)[:n].numpy()
    if isinstance(buffer, RolloutBufferOnDevice):
        return buffer.taken(chosen)
    # SB3 flattens a rollout to (env, step) order when it is first read; before that it is (step, env).
    rows = chosen if buffer.generator_ready else (chosen % buffer.buffer_size, chosen // buffer.buffer_size)

    def take(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array[rows])

    actions = take(buffer.actions).float()
    names = ("values", "log_probs", "advantages", "returns")
    scalars = [take(getattr(buffer, name)).flatten() for name in names]
    if isinstance(buffer, DictRolloutBuffer):
        return DictRolloutBufferSamples(
            {key: take(part) for key, part in buffer.observations.items()}, actions, *scalars
        )
    return RolloutBufferSamples(take(buffer.observations), actions, *scalars)


def values_and_returns(buffer: RolloutBuffer) -> tuple[np.ndarray, np.ndarray]:
    """Those of a rollout that minibatches have been read of, (transitions,) each, on the host."""
    if isinstance(buffer, RolloutBufferOnDevice):
        return buffer.values_and_returns()
    return buffer.values.flatten(), buffer.returns.flatten()


def moved(batch: BatchT, move: Callable[[Tensor], Tensor]) -> BatchT:
    """A batch whose tensors are what `move` makes of them."""

    def each(field: Any) -> Any:
        if isinstance(field, dict):
            return {key: move(tensor) for key, tensor in field.items()}
        return None if field is None else move(field)

    return type(batch)(*map(each, batch))


def joined(batches: Sequence[BatchT]) -> BatchT:
    """Batches of one kind as one."""

    def each(parts: tuple[Any, ...]) -> Any:
        if isinstance(parts[0], dict):
            return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        if isinstance(parts[0], np.ndarray):
            return np.concatenate(parts)
        return None if parts[0] is None else torch.cat(parts)

    return type(batches[0])(*map(each, zip(*batches, strict=True)))


def lacks_episodes(buffer: ReplayBuffer) -> bool:
    """Whether this is hindsight replay without a finished episode, of which nothing can be sampled."""
    return isinstance(buffer, HerReplayBuffer) and not buffer.ep_length.any()


def clear(buffer: ReplayBuffer) -> None:
    """Forget all transitions."""
    buffer.reset()
    if isinstance(buffer, HerReplayBuffer):
        # Its episodes are kept apart from its transitions, and SB3 forgets those alone.
        for episodes in (buffer.ep_start, buffer.ep_length, buffer._current_ep_start):
            episodes.fill(0)


def cut_episodes(buffer: ReplayBuffer) -> None:
    """Truncate the episodes that are going on: what is stored next does not follow on the last transitions.

    Where the buffer does not tell truncated episodes from others, they end there, as all do.
    """
    if buffer.size() == 0:
        return
    last = (buffer.pos - 1) % buffer.buffer_size
    if buffer.handle_timeout_termination:
        buffer.timeouts[last][buffer.dones[last] == 0] = 1
    buffer.dones[last] = 1
    if isinstance(buffer, HerReplayBuffer):
        for game in np.flatnonzero(buffer._current_ep_start != buffer.pos).tolist():
            buffer._compute_episode_length(game)


def _rows(buffer: ReplayBuffer) -> int:
    """How many rows hold transitions."""
    # Of a full buffer with one observation for each row the oldest has been written over by the newest one's next.
    return buffer.size() - (buffer.full and buffer.optimize_memory_usage)


def _rows_back(buffer: ReplayBuffer, ages: np.ndarray, env: VecNormalize | None) -> ReplayBatch:
    """Transitions of a random game each, of the rows that were written so many rows ago; the last one is 1 old."""
    return buffer._get_samples((buffer.pos - ages) % buffer.buffer_size, env)


def _drawn(buffer: ReplayBuffer, draw: Callable[[], ReplayBatch], generator: torch.Generator) -> ReplayBatch:
    """What `draw` takes from the buffer; training's generators do not notice."""
    with _drawing_for_itself(buffer, int(torch.randint(2**32, (), generator=generator))):
        return draw()


@contextmanager
def _drawing_for_itself(buffer: ReplayBuffer, seed: int) -> Iterator[None]:
    """Samples of `buffer` are drawn from `seed`; arrays come on the CPU, to be uploaded without waiting.

    Every buffer of SB3 draws from numpy's global generator, and users' own may draw from torch's; training must not
    notice.
    """
    state, device = np.random.get_state(), buffer.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        buffer.device = torch.device("cpu")
        try:
            yield
        finally:
            np.random.set_state(state)
            buffer.device = device
