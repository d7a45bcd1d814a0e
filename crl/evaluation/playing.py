"""An agent plays a task, beside what it trains on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import envs
from agents import StreamMonitor, VectorEnvAdapter
from agents.learner import LearnerMixin
from agents.training_state.generators import random_state, restore_random
from crl.config import EvaluationConfig
from crl.ending import cause

MOST_GAMES = 64  # side by side; more episodes are played one after the other in each
VARIANTS, GAMES = 4, 5  # keys that keep the draws for these apart, and from those of streams

Watch = Callable[[envs.StreamVectorEnv], None]


@dataclass(frozen=True)
class Episodes:
    """What an agent has come to in episodes of one task.

    Attributes:
        returns: of each, undiscounted, in the world's own rewards; of one that was cut in those that the agent sees.
        lengths: of each, in steps.
        cut: how many of them did not end, and stand as they were at the limit.
    """

    returns: Sequence[float]
    lengths: Sequence[int]
    cut: int


def tasks_of(stream: envs.TaskStream, most: int, seed: int) -> list[int]:
    """Which tasks of a stream are evaluated, by their places in it: all, but of the variants of one at most `most`.

    Args:
        stream: whose tasks they are.
        most: variants of one task.
        seed: of the stream; the same variants for the same seed.
    """
    families: dict[str, list[int]] = {}
    for place, task in enumerate(stream.tasks):
        families.setdefault(task.family, []).append(place)
    chosen: list[int] = []
    for places in families.values():
        if len(places) > most:
            generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(VARIANTS, places[0])))
            places = generator.choice(places, most, replace=False).tolist()
        chosen += places
    return sorted(chosen)


def seed_of(seed: int, place: int) -> int:
    """Seed of the games and actions of a task's evaluations: the same in each, so that these differ by the agent alone.

    Args:
        seed: of the run.
        place: of the task in the stream.
    """
    return int(np.random.SeedSequence(seed, spawn_key=(GAMES, place)).generate_state(1)[0] >> 1)


def play(
    learner: LearnerMixin,
    task: envs.Task,
    seed: int,
    settings: EvaluationConfig,
    *,
    watch: Watch | None = None,
) -> Episodes:
    """Play episodes of a task side by side, in games of their own; training does not notice.

    Each game plays as many as the next, or one more, so that short episodes do not count for more than long ones. The
    statistics of a normaliser are used as they are, and stay so.

    Args:
        learner: that plays.
        task: that is played.
        seed: of games and actions.
        settings: how many episodes, how and how long.
        watch: is called before each step, when the games can be drawn.
    """
    count = min(settings.episodes, MOST_GAMES)
    stream = envs.TaskStream.build([task], steps_per_task=None)
    with _apart(learner, seed):
        games = envs.StreamVectorEnv(stream, count, seed=seed, render_mode=None if watch is None else "rgb_array")
        try:
            left = settings.episodes // count + (np.arange(count) < settings.episodes % count)
            return _played(learner, games, left, settings, watch)
        finally:
            games.close()


def _played(
    learner: LearnerMixin,
    games: envs.StreamVectorEnv,
    left: np.ndarray,
    settings: EvaluationConfig,
    watch: Watch | None,
) -> Episodes:
    """Play till no game has episodes left.

    Args:
        learner: that plays.
        games: which have not begun.
        left: how many episodes each game is to play.
        settings: how and how long.
        watch: see `play`.
    """
    monitor = StreamMonitor(VectorEnvAdapter(games))
    world = learner._wrap_env(monitor, monitor_wrapper=False)  # images are transposed as in training
    normalizer = learner.get_vec_normalize_env()
    returns: list[float] = []
    lengths: list[int] = []
    cut = 0
    observations: Any = world.reset()
    while left.any():
        if watch is not None:
            watch(games)
        seen = observations if normalizer is None else normalizer.normalize_obs(observations)
        try:
            actions, _ = learner.predict(seen, deterministic=settings.deterministic)
        except (ValueError, RuntimeError) as error:
            found = cause(error, learner.policy, seen, games.task)
            raise found from found.__cause__
        observations, _, dones, infos = world.step(actions)
        for game in np.flatnonzero(dones & (left > 0)).tolist():
            if "episode" not in infos[game]:
                continue  # a life of a game that goes on
            returns.append(float(infos[game]["episode"]["r"]))
            lengths.append(int(infos[game]["episode"]["l"]))
            left[game] -= 1
        # A game cannot be begun again alone: what it had left is not played.
        for game in np.flatnonzero((monitor.episode_lengths >= settings.limit) & (left > 0)).tolist():
            returns.append(float(monitor.episode_returns[game]))
            lengths.append(int(monitor.episode_lengths[game]))
            cut += 1
            left[game] = 0
    return Episodes(returns, lengths, cut)


@contextmanager
def _apart(learner: LearnerMixin, seed: int) -> Iterator[None]:
    """While this lasts the global generators are others, and the policy is in evaluation mode; then all is as it was.

    Policies draw their actions from the global generators, and so may worlds.
    """
    before = random_state(learner)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    learner.action_space.np_random.bit_generator.state = np.random.PCG64(seed).state
    try:
        with learner._evaluation():
            yield
    finally:
        restore_random(learner, before)
