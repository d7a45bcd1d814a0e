"""Fast agents learn what exact ones do, within rounding."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import envs
from agents import DQN, PPO, SAC, TD3
from agents.plasticity import GXD, ReDo
from agents.speed import fuse, layers

pytestmark = pytest.mark.filterwarnings("ignore:speed is 'fast', but this cpu")
ON = {"n_steps": 16, "batch_size": 32, "n_epochs": 2}
OFF = {"learning_starts": 16, "train_freq": 4, "gradient_steps": 3, "batch_size": 16, "buffer_size": 200}
KINDS: dict[str, tuple[Any, str, str, dict[str, Any]]] = {
    "ppo": (PPO, "CnnPolicy", "breakout", ON),
    "ppo-mlp": (PPO, "MlpPolicy", "breakout", {**ON, "policy_kwargs": {"net_arch": [16]}}),
    "ppo-box": (PPO, "MlpPolicy", "pendulum", {**ON, "use_sde": True}),
    "dqn": (DQN, "CnnPolicy", "breakout", OFF),
    "dqn-double": (DQN, "MlpPolicy", "breakout", {**OFF, "double_q": True, "replay": "prioritized"}),
    "sac": (SAC, "MlpPolicy", "pendulum", OFF),
    "td3": (TD3, "MlpPolicy", "pendulum", OFF),
}


def built(kind: str, speed: str, **more: Any) -> Any:
    cls, policy, env, settings = KINDS[kind]
    return cls(policy, envs.make(env, n_envs=4), seed=1, device="cpu", speed=speed, **{**settings, **more})


def parameters(model: Any) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_update_is_the_exact_one_within_rounding(kind: str, bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One update on the same data: the parameters move in the same direction, and as far."""
    monkeypatch.setattr(layers, "has_bfloat16", lambda _kind: bfloat16)
    monkeypatch.setitem(layers.PAYS, "cpu", 256)  # all but the smallest layers
    models = {speed: built(kind, speed) for speed in ("exact", "fast")}
    data = models["exact"]
    data.fill_buffer()
    held, moves, logged = copy.deepcopy(data.buffer), {}, {}
    for speed, model in models.items():
        model._setup_learn(1)
        name = f"{model.spec.data}_buffer"  # priorities change while it learns
        setattr(model, name, copy.deepcopy(held))
        np.random.seed(0)
        torch.manual_seed(0)
        before = parameters(model)
        model.train() if isinstance(model, PPO) else model.train(3, 16)
        moves[speed], logged[speed] = parameters(model) - before, dict(model.logger.name_to_value)
    exact, fast = moves["exact"], moves["fast"]
    assert exact.abs().max() > 0
    least = 0.9 if bfloat16 else 0.999
    assert torch.nn.functional.cosine_similarity(exact, fast, dim=0) > least
    for tag, value in logged["exact"].items():
        if tag.endswith("loss"):
            assert logged["fast"][tag] == pytest.approx(value, rel=0.05 if bfloat16 else 1e-3, abs=0.02), tag


@pytest.mark.parametrize("kind", ["ppo", "dqn", "sac"])
def test_interventions_work_and_a_zip_keeps_the_speed(kind: str) -> None:
    networks = ["critic"] if kind != "ppo" else None
    model = built(kind, "fast", interventions=[GXD(networks=networks, rate=0.2, period=2, maturity=1, score_every=1)])
    model.learn(160)
    assert sum(model.units_reset().values()) > 0
    archive = io.BytesIO()
    model.save(archive)
    archive.seek(0)
    loaded = type(model).load(archive)
    assert loaded.speed == "fast"
    assert loaded._quick is not None
    assert all(group["fused"] for optimizer in loaded.optimizers for group in optimizer.param_groups)
    archive.seek(0)
    exact = type(model).load(archive, speed="exact")
    assert exact._quick is None
    assert not any(group["fused"] for optimizer in exact.optimizers for group in optimizer.param_groups)


def test_steps_are_counted_beside_parameters_where_they_are_fused_and_on_the_cpu_elsewhere() -> None:
    class Count:
        def to(self, device: torch.device) -> torch.device:
            return device

    parameter = nn.Parameter(torch.zeros(2, device="meta"))  # as far from the CPU as a GPU
    for settings, fused, expected in [({}, True, "meta"), ({}, False, "cpu"), ({"capturable": True}, False, None)]:
        optimizer = torch.optim.Adam([parameter])
        optimizer.param_groups[0].update(settings)
        optimizer.state[parameter] = {"step": Count()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("agents.speed.optimizers.DEVICES", ("meta",))
            fuse([optimizer], fused=fused)
        count = optimizer.state[parameter]["step"]
        assert isinstance(count, Count) if expected is None else count.type == expected


@pytest.mark.parametrize("speed", ["exact", "fast"])
@pytest.mark.parametrize("fused", [True, False])
def test_an_optimizer_that_was_made_to_fuse_or_not_does_as_it_was_made_to(speed: str, fused: bool) -> None:
    model = built("ppo-mlp", speed, policy_kwargs={"net_arch": [16], "optimizer_kwargs": {"fused": fused}})
    assert model.policy.optimizer.param_groups[0]["fused"] is fused
    model.set_parameters(model.get_parameters())
    assert model.policy.optimizer.param_groups[0]["fused"] is fused


def test_truncated_episodes_are_valued_together_as_one_by_one() -> None:
    """Pendulum's episodes all end at their 200th step."""
    models = [built("ppo-box", speed, n_steps=200, batch_size=200, gamma=0.5) for speed in ("exact", "fast")]
    for model in models:
        torch.manual_seed(0)
        model.fill_buffer()
    exact, fast = (model.rollout_buffer for model in models)
    assert np.array_equal(exact.rewards[:-1], fast.rewards[:-1])
    assert np.allclose(exact.rewards[-1], fast.rewards[-1], rtol=1e-5)
    assert np.allclose(exact.returns, fast.returns, rtol=1e-4)


def test_targets_of_several_steps_are_computed_at_once_where_nothing_changes_them() -> None:
    for speed, more, at_once in (
        ("exact", {"interventions": [ReDo()]}, 1), ("exact", {"replay": "prioritized"}, 1), ("fast", {}, 64),
        ("fast", {"double_q": True}, 1), ("fast", {"interventions": [ReDo()]}, 1),
    ):  # fmt: skip
        assert built("dqn", speed, **more)._ahead(16) == at_once


def test_rounding_is_exact_where_networks_are_compared() -> None:
    """Outputs, sample losses and targets, which interventions and diagnostics ask for."""
    exact, fast = built("dqn", "exact"), built("dqn", "fast")
    exact.fill_buffer()
    fast.replay_buffer = exact.replay_buffer
    batch = exact.sample(8, torch.Generator().manual_seed(0))
    for ask in ("outputs", "sample_losses"):
        found, expected = getattr(fast, ask)(batch), getattr(exact, ask)(batch)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.equal(fast.td_targets(batch), exact.td_targets(batch))


def test_a_speed_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^speed is 'faster'; give exact or fast$"):
        built("ppo", "faster")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["ppo", "dqn", "sac", "td3"])
def test_on_a_gpu(kind: str) -> None:
    cls, policy, env, settings = KINDS[kind]
    model = cls(policy, envs.make(env, n_envs=4), seed=1, device="cuda", speed="fast", **settings)
    model.learn(160)
    assert parameters(model).isfinite().all()
