"""PPO by JAX on the games of gymnax, the peer of `ppo`: an update, with its rollout, is one compiled function.

Network and settings are those of the side that it stands beside: two networks of two layers of 64 units, tanh. It
writes no logs, and what ends by gymnax's limit of steps does not bootstrap, both of which save time.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import optax

from benchmarks.harness.declared import Repetition, Spent

GAMES = {"space_invaders": "SpaceInvaders", "asterix": "Asterix", "seaquest": "Seaquest"}
CHANNELS, ACTIONS, WIDTH = 10, 6, 64
N_STEPS, BATCH, EPOCHS = 128, 1024, 4
GAMMA, LAMBDA, CLIP = 0.99, 0.95, 0.2
OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3, eps=1e-5))


class Steps(NamedTuple):
    """Transitions: of a rollout by step and game, or of a minibatch."""

    observations: Any
    actions: Any
    log_probs: Any
    values: Any
    rewards: Any
    ends: Any


class Learning(NamedTuple):
    """All that an update changes."""

    parameters: Any
    optimizer: Any
    games: Any
    observations: Any
    key: Any


def trained(games: tuple[str, ...], steps: int, n_envs: int) -> Repetition:
    """So many steps of each game, one after another."""
    made = [gymnax.make(f"{GAMES[game]}-MinAtar", use_minimal_action_set=False)[0] for game in games]
    key = jax.random.key(1)
    parameters = {name: _layers(key, outputs) for name, outputs in (("actor", ACTIONS), ("critic", 1))}
    optimizer = OPTIMIZER.init(parameters)
    begun = [_begin(game, parameters, optimizer, key, n_envs) for game in made]
    compiled = [jax.jit(partial(_update, game)).lower(each).compile() for game, each in zip(made, begun, strict=True)]
    rollouts = -(-steps // (N_STEPS * n_envs))

    def repetition() -> Spent:
        learnt, seconds = (parameters, optimizer), 0.0
        for game, update in zip(made, compiled, strict=True):
            start = time.perf_counter()
            state = _begin(game, *learnt, key, n_envs)
            for _ in range(rollouts):
                state = update(state)
            learnt = jax.block_until_ready((state.parameters, state.optimizer))
            seconds += time.perf_counter() - start
        return Spent(len(made) * rollouts * N_STEPS * n_envs, seconds)

    return repetition


def _layers(key: Any, outputs: int) -> list[tuple[Any, Any]]:
    """Weights and biases, orthogonal as SB3's."""
    sizes = [100 * CHANNELS, WIDTH, WIDTH, outputs]
    gains = [2**0.5, 2**0.5, 0.01 if outputs > 1 else 1.0]
    return [
        (jax.nn.initializers.orthogonal(gain)(each, (n, m), jnp.float32), jnp.zeros(m))
        for each, gain, n, m in zip(jax.random.split(key, 3), gains, sizes, sizes[1:], strict=False)
    ]


def _outputs(layers: list[tuple[Any, Any]], x: Any) -> Any:
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def _seen(boards: Any) -> Any:
    """Boards of ten channels as vectors."""
    padded = jnp.pad(boards, [(0, 0)] * 3 + [(0, CHANNELS - boards.shape[-1])])
    return padded.reshape(len(boards), -1).astype(jnp.float32)


def _begin(game: Any, parameters: Any, optimizer: Any, key: Any, n_envs: int) -> Learning:
    boards, states = jax.vmap(game.reset)(jax.random.split(key, n_envs))
    return Learning(parameters, optimizer, states, _seen(boards), key)


def _update(game: Any, state: Learning) -> Learning:
    """A rollout, its advantages, and the epochs over it."""
    state, rollout = jax.lax.scan(partial(_step, game), state, None, N_STEPS)
    last = _outputs(state.parameters["critic"], state.observations)[:, 0]
    advantages = _advantages(rollout, last)
    data = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (rollout, advantages, advantages + rollout.values))

    def epoch(carry: tuple[Any, Any], key: Any) -> tuple[tuple[Any, Any], None]:
        order = jax.random.permutation(key, data[1].size).reshape(-1, BATCH)
        return jax.lax.scan(lambda carry, which: _gradient_step(carry, data, which), carry, order)[0], None

    key, *keys = jax.random.split(state.key, EPOCHS + 1)
    (parameters, optimizer), _ = jax.lax.scan(epoch, (state.parameters, state.optimizer), jnp.stack(keys))
    return state._replace(parameters=parameters, optimizer=optimizer, key=key)


def _step(game: Any, state: Learning, _: None) -> tuple[Learning, Steps]:
    """A step of all games."""
    key, drawn, played = jax.random.split(state.key, 3)
    logits = jax.nn.log_softmax(_outputs(state.parameters["actor"], state.observations))
    actions = jax.random.categorical(drawn, logits)
    values = _outputs(state.parameters["critic"], state.observations)[:, 0]
    keys = jax.random.split(played, len(actions))
    boards, games, rewards, terminated, truncated, _info = jax.vmap(game.step)(keys, state.games, actions)
    log_probs = jnp.take_along_axis(logits, actions[:, None], 1)[:, 0]
    made = Steps(state.observations, actions, log_probs, values, rewards, terminated | truncated)
    return state._replace(games=games, observations=_seen(boards), key=key), made


def _advantages(rollout: Steps, last: Any) -> Any:
    """Generalised advantage estimates (arXiv 1506.02438)."""

    def back(carry: tuple[Any, Any], step: Steps) -> tuple[tuple[Any, Any], Any]:
        following, later = carry
        goes_on = 1.0 - step.ends
        delta = step.rewards + GAMMA * goes_on * following - step.values
        advantage = delta + GAMMA * LAMBDA * goes_on * later
        return (step.values, advantage), advantage

    return jax.lax.scan(back, (last, jnp.zeros_like(last)), rollout, reverse=True)[1]


def _gradient_step(carry: tuple[Any, Any], data: Any, which: Any) -> tuple[tuple[Any, Any], None]:
    parameters, optimizer = carry
    batch, advantages, returns = jax.tree.map(lambda x: x[which], data)
    gradients = jax.grad(_loss)(parameters, batch, advantages, returns)
    changes, optimizer = OPTIMIZER.update(gradients, optimizer)
    return (optax.apply_updates(parameters, changes), optimizer), None


def _loss(parameters: Any, batch: Steps, advantages: Any, returns: Any) -> Any:
    """PPO's (arXiv 1707.06347), with SB3's coefficients of the main job."""
    logits = jax.nn.log_softmax(_outputs(parameters["actor"], batch.observations))
    ratio = jnp.exp(jnp.take_along_axis(logits, batch.actions[:, None], 1)[:, 0] - batch.log_probs)
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    gained = jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantages)
    errors = jnp.square(_outputs(parameters["critic"], batch.observations)[:, 0] - returns)
    entropy = -(jnp.exp(logits) * logits).sum(1)
    return -gained.mean() + 0.5 * errors.mean() - 0.01 * entropy.mean()
