"""Rollouts on the learner's device give SB3's minibatches, and nothing crosses to it, or back, without need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from forced_device import force
from gymnasium import spaces
from small_ppo import assert_same, build, parameters
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from agents import PPO
from agents.buffers import rollout_on_device
from agents.buffers.rollout import DictRolloutBufferByGame, RolloutBufferByGame
from agents.buffers.rollout_on_device import RolloutBufferOnDevice, on_device
from agents.buffers.state import buffer_state, restore_buffer

STEPS, GAMES = 5, 3
BOARD = spaces.Box(0, 1, (2, 3), np.bool_)
SPACES: dict[str, tuple[spaces.Space[Any], spaces.Space[Any]]] = {
    "boards": (BOARD, spaces.Discrete(4)),
    "images": (spaces.Box(0, 255, (1, 4, 4), np.uint8), spaces.MultiDiscrete([2, 3])),
    "floats": (spaces.Box(-9, 9, (4,), np.float64), spaces.Box(-1, 1, (2,), np.float64)),
}


@pytest.fixture(autouse=True)
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch)


def buffers(kind: str = "boards") -> tuple[RolloutBuffer, Any]:
    """SB3's and ours."""
    observation, action = SPACES[kind]
    stock = RolloutBuffer(STEPS, observation, action, "cpu", gae_lambda=0.9, gamma=0.8, n_envs=GAMES)
    return stock, on_device(stock)


def fill(buffer: Any) -> None:
    """A rollout that is the same for every buffer; the second game is cut off in the third step."""
    rng = np.random.default_rng(7)
    observation, action = buffer.observation_space, buffer.action_space
    observation.seed(8), action.seed(9)
    buffer.reset()
    for step in range(STEPS):
        seen = np.stack([observation.sample() for _ in range(GAMES)])
        acted = np.stack([action.sample() for _ in range(GAMES)])
        rewards, starts = rng.normal(size=GAMES).astype(np.float32), rng.random(GAMES) < 0.3
        values, log_probs, beyond = torch.from_numpy(rng.normal(size=(3, GAMES)).astype(np.float32))
        given: Any = acted
        if isinstance(buffer, RolloutBufferOnDevice) and step % 2 == 0:  # as PPO does it
            assert np.array_equal(buffer.observe(seen).numpy(), seen)
            given = torch.from_numpy(acted)
            if step == 2:
                buffer.bootstrap([1], [beyond[1:2]])
        elif step == 2:
            rewards[1] += buffer.gamma * beyond[1:2]
        buffer.add(seen, given, rewards, starts, values[:, None], log_probs)
        seen[...], rewards[...], starts[...] = 0, 0, 0  # a game may write over what it has given
    last = torch.from_numpy(rng.normal(size=GAMES).astype(np.float32))
    buffer.compute_returns_and_advantage(last, rng.random(GAMES) < 0.5)


@pytest.mark.parametrize("kind", SPACES)
def test_minibatches_are_those_of_sb3(kind: str) -> None:
    stock, ours = buffers(kind)
    assert type(ours) is RolloutBufferOnDevice
    for _ in range(2):  # the second rollout in the memory of the first
        found = []
        for buffer in (ours, stock):
            fill(buffer)
            named = ("rewards", "episode_starts", "values", "log_probs", "advantages", "returns")
            whole = [torch.as_tensor(getattr(buffer, name)).clone() for name in named]
            np.random.seed(1)
            found.append((whole, [batch for size in (4, None) for batch in buffer.get(size)]))
        for mine, its in zip(found[0][0], found[1][0], strict=True):
            assert mine.dtype is its.dtype
            assert torch.equal(mine, its)
        assert len(found[0][1]) == len(found[1][1]) == 5
        for batch, expected in zip(found[0][1], found[1][1], strict=True):
            for mine, its in zip(batch[:6], expected[:6], strict=True):
                assert mine.dtype is its.dtype
                assert torch.equal(mine, its)
        flat = (stock.values.flatten(), stock.returns.flatten())
        assert all(map(np.array_equal, ours.values_and_returns(), flat))


def test_every_rollout_uses_the_memory_of_the_first() -> None:
    _, ours = buffers()
    fill(ours)
    places = {name: value.data_ptr() for name, value in vars(ours).items() if isinstance(value, Tensor)}
    assert len(places) == 8
    fill(ours)
    assert places == {name: value.data_ptr() for name, value in vars(ours).items() if isinstance(value, Tensor)}


def test_a_checkpoint_holds_nothing_of_it_and_goes_on_with_any() -> None:
    stock, ours = buffers()
    fill(ours)
    assert buffer_state(ours) == buffer_state(stock) == {}
    restore_buffer(ours, {})
    with pytest.raises(ValueError, match="the saved buffer is of another kind: ages"):
        restore_buffer(ours, {"ages": np.zeros(3)})


@pytest.mark.parametrize(
    ("kind", "n_envs", "more"),
    [
        ("board", 1, {}),
        ("board", 8, {"clip_range_vf": 0.1}),
        ("mlp", 1, {"target_kl": 1e-5, "learning_rate": 1e-2}),
        ("mlp", 8, {}),
        ("mlp-tanh-gsde", 4, {"sde_sample_freq": 4}),
        ("nature", 4, {}),
    ],
)
def test_ppo_is_sb3s(kind: str, n_envs: int, more: dict[str, Any]) -> None:
    """Its parameters and its log, to the last bit; the images' episodes are cut off in every second rollout."""
    ours = build(kind, n_envs=n_envs, **more)
    assert type(ours.rollout_buffer) is RolloutBufferOnDevice
    ours.learn(192)
    kwargs = {} if kind.startswith("mlp") else {"policy_kwargs": ours.policy_kwargs}
    stock = build(kind, StockPPO, n_envs=n_envs, **more, **kwargs).learn(192)
    assert_same(parameters(ours), parameters(stock))
    assert ours.logger.name_to_value == stock.logger.name_to_value


def test_dicts_and_buffers_of_ones_own_stay_with_the_host() -> None:
    class Own(RolloutBuffer):
        pass

    assert type(build("dict").rollout_buffer) is DictRolloutBufferByGame
    assert type(build("mlp", rollout_buffer_class=Own).rollout_buffer) is Own


def test_what_has_no_room_stays_with_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, free=3 * 2**10)  # CartPole's rollout has 64 observations of 16 bytes
    assert type(build("mlp").rollout_buffer) is RolloutBufferOnDevice
    force(monkeypatch, free=2**10)
    with pytest.warns(
        UserWarning, match="the rollout buffer of 0.0 GiB stays in main memory, for cpu has 0.0 GiB free"
    ):
        assert type(build("mlp").rollout_buffer) is RolloutBufferByGame


def test_interventions_are_given_the_transitions_that_they_get_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    here = build("board").learn(64)
    with monkeypatch.context() as patch:
        patch.setattr("agents.buffers.on_device.DEVICES", set())
        there = build("board").learn(64)
    assert type(there.rollout_buffer) is RolloutBufferByGame
    mine, its = (model.sample(20, torch.Generator().manual_seed(1)) for model in (here, there))
    assert all(map(torch.equal, mine[:6], its[:6]))


def test_a_step_sends_one_copy_of_the_observations_and_waits_for_the_actions_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model: PPO = build("mlp", n_envs=4)  # 16 steps
    sent, read, looked = [], [], []
    send, cpu = rollout_on_device.sent, Tensor.cpu
    monkeypatch.setattr(
        rollout_on_device, "sent", lambda array, device: sent.append(array.shape) or send(array, device)
    )
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: read.append(tensor.shape) or cpu(tensor))
    item = Tensor.item
    monkeypatch.setattr(Tensor, "item", lambda tensor: looked.append(tensor.shape) or item(tensor))
    for method in ("tolist", "nonzero", "__bool__", "__float__", "__array__"):
        monkeypatch.setattr(Tensor, method, lambda *arguments: pytest.fail("the host has waited"))
    model.fill_buffer()
    # Behind the last step: rewards and starts of episodes, and which episodes have ended; no episode was cut off.
    assert sent == [(4, 4)] * 16 + [(2, 16, 4), (4,)]
    assert read == [(4,)] * 16
    assert looked == [()] * 16  # whether the logits that actions are about to be drawn of are numbers


def test_an_update_waits_for_nothing_but_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an optimizer that keeps no count of steps on the host."""
    kwargs = {"net_arch": [8], "optimizer_class": torch.optim.SGD}
    model = build("mlp", policy_kwargs=kwargs)
    model.learn(64)
    before, read = parameters(model), []
    model.fill_buffer()
    with monkeypatch.context() as patch:
        # As on a GPU.
        patch.setattr("agents.networks.distributions.may_branch", lambda device: False)
        patch.setattr("agents.plasticity.optimizers.stepping._are_plain", lambda tensors: False)
        for method in ("nonzero", "__bool__", "__int__", "__float__", "__index__", "__array__"):
            patch.setattr(Tensor, method, lambda *arguments: pytest.fail("the host has waited"))
        for method in ("item", "tolist", "cpu"):
            seen = getattr(Tensor, method)
            patch.setattr(
                Tensor, method, lambda tensor, seen=seen, name=method: read.append((name, tensor.shape)) or seen(tensor)
            )
        model.train()
    assert any(not torch.equal(before[name], tensor) for name, tensor in parameters(model).items())
    # All terms of all 8 minibatches, the last epoch's sizes of steps, the last loss, and values with their returns.
    assert read == [("tolist", (8, 4)), ("cpu", (4,)), ("item", ()), ("cpu", (2, 64))]
