"""Sample weight decay: what is drawn of each buffer, and that all else stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from small_loop import Regression
from small_off_policy import ours, state
from small_ppo import assert_same
from small_ppo import build as build_ppo
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer

from agents import DQN, PPO
from agents.buffers.ages import AgeWeights
from agents.buffers.sampling import minibatch, sample
from agents.plasticity import AdaptiveReplayRatio, CChain, SampleWeightDecay

SPACE, GAMES, ROWS = spaces.Box(0, 100, (1,), np.float32), 2, 8
BUFFERS: dict[str, tuple[type[ReplayBuffer], dict[str, Any]]] = {
    "plain": (ReplayBuffer, {}),
    "ends": (ReplayBuffer, {"handle_timeout_termination": False}),
    "one observation": (ReplayBuffer, {"optimize_memory_usage": True, "handle_timeout_termination": False}),
    "n-step": (NStepReplayBuffer, {"n_steps": 3, "gamma": 0.5}),
    "dict": (DictReplayBuffer, {}),
}
WEIGHTS = AgeWeights(0.25, 0.4)


def filled(kind: str, steps: int) -> ReplayBuffer:
    """A buffer of eight rows of two games, whose observations count the steps; the second game's are 50 higher."""
    cls, arguments = BUFFERS[kind]
    space = spaces.Dict({"": SPACE}) if kind == "dict" else SPACE
    buffer = cls(GAMES * ROWS, space, spaces.Discrete(2), device="cpu", n_envs=GAMES, **arguments)
    for step in range(1, steps + 1):
        now, after = (np.array([[at], [50 + at]], np.float32) for at in (step, step + 1))
        seen = ({"": now}, {"": after}) if kind == "dict" else (now, after)
        buffer.add(*seen, np.zeros((GAMES, 1)), np.full(GAMES, step), np.zeros(GAMES), [{}] * GAMES)  # type: ignore[arg-type]
    return buffer


def shares(buffer: ReplayBuffer, batch: Any) -> tuple[np.ndarray, float]:
    """The share of each age, the newest first, among a batch's transitions; and the share of the second game."""
    seen = batch.observations[""] if isinstance(batch.observations, dict) else batch.observations
    steps = seen.flatten().numpy()
    second = steps > 50
    steps = steps - 50 * second
    return np.bincount((steps.max() - steps).astype(int)) / len(steps), second.mean()


@pytest.mark.parametrize("steps", [3, 8, 19])
@pytest.mark.parametrize("kind", BUFFERS)
def test_rows_are_drawn_in_proportion_to_their_weights(kind: str, steps: int) -> None:
    """0.75, 0.5, then 0.4 for each: partly filled, full, and written round twice and a bit."""
    buffer = filled(kind, steps)
    rows = min(steps, ROWS) - (kind == "one observation" and steps >= ROWS)
    expected = np.array([0.75, 0.5, *[0.4] * ROWS])[:rows]
    np.random.seed(1)
    batch = minibatch(buffer, 20_000, None, WEIGHTS)
    found, second = shares(buffer, batch)
    assert len(found) == rows
    # The standard deviation of a share p of n draws is sqrt(p (1 - p) / n) < 0.0036; these are five.
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.0175)
    assert second == pytest.approx(0.5, abs=0.0175)
    if kind == "one observation":
        assert torch.equal(batch.next_observations, batch.observations + 1)
    if kind == "n-step":  # the newest has one reward, the one before two, all others three
        newest = batch.observations.flatten() % 50 == steps
        assert set(batch.rewards.flatten()[newest].tolist()) == {float(steps)}


def test_samples_beside_training_have_the_same_weights_and_leave_its_generator_alone() -> None:
    buffer, generator = filled("plain", 19), torch.Generator().manual_seed(0)
    before = np.random.get_state()[1].tolist()
    drawn = [sample(buffer, 100, generator, None, WEIGHTS) for _ in range(100)]
    assert np.random.get_state()[1].tolist() == before
    steps = torch.cat([batch.observations for batch in drawn]).flatten() % 50
    assert float((steps == 19).float().mean()) == pytest.approx(16 / 1600 * 0.75 / 3.65 * 100, abs=0.02)


def test_ages_are_steps_of_the_games() -> None:
    """Two games: a row is two steps old where one is stored behind it."""
    assert ours("dqn-mlp", interventions=[SampleWeightDecay()])._age_weights == AgeWeights(1 / 80_000, 0.1)
    given = SampleWeightDecay(decay_steps=40, min_weight=0.3)
    assert ours("dqn-mlp", n_envs=2, interventions=[given])._age_weights == AgeWeights(2 / 40, 0.3)


@pytest.mark.parametrize("kind", ["dqn-mlp", "sac-mlp", "td3-mlp"])
def test_a_least_weight_of_1_is_none_and_others_draw_otherwise(kind: str) -> None:
    plain, one, some = (
        state(ours(kind, interventions=found).learn(32))
        for found in ([], [SampleWeightDecay(min_weight=1)], [SampleWeightDecay(decay_steps=20)])
    )
    assert_same(plain, one)
    assert any(not torch.equal(some[name], tensor) for name, tensor in plain.items())


def test_reference_batches_of_c_chain_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """As minibatches are, of which the reference batch is to be another one; and a replay ratio may be set."""
    sizes: list[tuple[int, int]] = []
    draw = AgeWeights.draw

    def counted(weights: AgeWeights, rows: int, numbers: np.ndarray) -> np.ndarray:
        sizes.append((rows, len(numbers)))
        return draw(weights, rows, numbers)

    monkeypatch.setattr(AgeWeights, "draw", counted)
    interventions = [SampleWeightDecay(decay_steps=20), CChain(samples=4, warmup=1), AdaptiveReplayRatio(low=0.5)]
    ours("dqn-mlp", interventions=interventions).learn(32)
    steps = [(rows, size) for rows in (20, 24, 28, 32) for size in (8, 4) * 2]
    assert sizes == steps


def test_a_zip_holds_the_intervention_and_not_what_it_has_set(tmp_path: Path) -> None:
    ours("dqn-mlp", interventions=[SampleWeightDecay(decay_steps=50)]).save(tmp_path / "model.zip")
    assert DQN.load(tmp_path / "model.zip")._age_weights == AgeWeights(1 / 50, 0.1)
    assert DQN.load(tmp_path / "model.zip", interventions=[])._age_weights is None


def test_who_cannot_draw_so_refuses() -> None:
    with pytest.raises(ValueError, match="sample_weight_decay: PPO replays no transitions; give it to DQN, SAC or TD3"):
        build_ppo("mlp", PPO, interventions=[SampleWeightDecay()])
    with pytest.raises(ValueError, match="sample_weight_decay: HerReplayBuffer draws samples in a way of its own"):
        ours("dqn-her", interventions=[SampleWeightDecay()])
    with pytest.raises(ValueError, match="sample_weight_decay: a PlasticOptimizer draws no minibatches: weigh"):
        Regression([SampleWeightDecay()])
    with pytest.raises(ValueError, match="sample_weight_decay both weigh replayed transitions by their age"):
        ours("dqn-mlp", interventions=[SampleWeightDecay(), SampleWeightDecay()])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay_steps": 0}, "decay_steps is 0; give a whole number of steps of the games of at least 1"),
        ({"decay_steps": 1.5}, "decay_steps is 1.5; give a whole number"),
        ({"min_weight": 0}, "min_weight is 0; give a weight above 0 and of at most 1"),
        ({"min_weight": 1.1}, "min_weight is 1.1; give a weight above 0"),
    ],
)
def test_impossible_numbers_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampleWeightDecay(**arguments)
