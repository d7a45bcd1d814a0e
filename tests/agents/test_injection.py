"""Plasticity injection into the agents' networks: they are built for it, and saved with it."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.utils import polyak_update
from torch import Tensor

import agents
from agents.plasticity import FullReset, PlasticityInjection, UnitReset
from agents.training_state.learner import learner_state

KINDS: dict[str, dict[str, Any]] = {
    "ppo": {"cls": agents.PPO, "env": "CartPole-v1", "n_steps": 32, "batch_size": 16, "n_epochs": 2},
    "dqn": {
        "cls": agents.DQN, "env": "CartPole-v1", "learning_starts": 8, "train_freq": 1, "target_update_interval": 10,
    },
    "sac": {"cls": agents.SAC, "env": "Pendulum-v1", "learning_starts": 20, "batch_size": 16},
    "td3": {"cls": agents.TD3, "env": "Pendulum-v1", "learning_starts": 20, "batch_size": 16},
}  # fmt: skip
STEPS = 32
PLACES = {
    "ppo": "value_net._extra_state", "dqn": "q_net.q_net._extra_state", "sac": "critic.qf1._extra_state",
    "td3": "critic_target.qf0._extra_state",
}  # fmt: skip


def built(kind: str, injectable: bool = True, **more: Any) -> Any:
    settings = {**KINDS[kind], **more}
    cls = settings.pop("cls")
    policy = {"net_arch": [12, 8], **({"injectable": True} if injectable else {}), **settings.pop("policy_kwargs", {})}
    return cls("MlpPolicy", seed=0, device="cpu", policy_kwargs=policy, **settings)


def outputs(model: Any) -> dict[str, Tensor]:
    """Of all networks, and of the target critics."""
    batch = model.sample(32, torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = dict(model.outputs(batch))
        if model.targets:
            found["targets"] = model.td_targets(batch)
    return found


def heads(model: Any) -> list[Any]:
    return [head for network in model.networks.values() for each in network.heads for head in each]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_same_to_the_last_bit_and_learn_on(kind: str) -> None:
    model = built(kind, interventions=[PlasticityInjection(step=1000)]).learn(STEPS)
    before, parameters = outputs(model), [id(p) for p in model.policy.parameters()]
    assert len(heads(model)) == {"ppo": 2, "dqn": 2, "sac": 4, "td3": 4}[kind]
    assert not any(head.injected for head in heads(model))
    model.interventions[0].act(0)
    assert all(head.injected for head in heads(model))
    after = outputs(model)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [id(p) for p in model.policy.parameters()] == parameters
    learnt = {network for network in model.networks if model.networks[network].heads}
    assert learnt == ({"actor", "critic"} if kind == "ppo" else {"critic"})
    own = [head for name in learnt for head, *_ in model.networks[name].heads]
    frozen = [parameter.clone() for head in own for parameter in head.frozen]
    model.learn(STEPS, reset_num_timesteps=False)
    kept = [parameter for head in own for parameter in head.frozen]
    assert all(torch.equal(left, right) for left, right in zip(kept, frozen, strict=True))
    assert not torch.equal(outputs(model)["critic"], after["critic"])


@pytest.mark.parametrize("kind", KINDS)
def test_agents_that_are_built_for_it_learn_as_others(kind: str) -> None:
    """PPO's clips gradients by a norm that is summed in another order."""
    one, other = (built(kind, injectable=injectable).learn(STEPS) for injectable in (True, False))
    left, right = outputs(one), outputs(other)
    for name in left:
        if kind == "ppo":
            torch.testing.assert_close(left[name], right[name])
        else:
            assert torch.equal(left[name], right[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_zip_and_a_checkpoint_hold_it(kind: str) -> None:
    """Read without the intervention, too: it is the policy's."""
    model = built(kind, interventions=[PlasticityInjection(step=3)]).learn(STEPS)
    assert all(head.injected for head in heads(model))
    archive = io.BytesIO()
    model.save(archive)
    loaded = type(model).load(archive, device="cpu", interventions=[])
    fresh = built(kind)
    fresh.policy.load_state_dict(model.policy.state_dict())
    observation = model.observation_space.sample()
    for other in (loaded, fresh):
        assert torch.equal(_values(other, observation), _values(model, observation))
    assert bool(learner_state(model)["modules"]["policy"][PLACES[kind]])


def _values(model: Any, observation: Any) -> Tensor:
    policy = model.policy
    tensor, _ = policy.obs_to_tensor(observation)
    with torch.no_grad():
        if hasattr(policy, "predict_values"):
            distribution = policy.get_distribution(tensor).distribution
            return torch.cat([policy.predict_values(tensor).flatten(), distribution.logits.flatten()])
        if hasattr(policy, "q_net"):
            return torch.cat([policy.q_net(tensor), policy.q_net_target(tensor)])
        action = torch.zeros(1, 1)
        return torch.cat([*policy.critic(tensor, action), *policy.critic_target(tensor, action)])


def test_features_are_read_by_the_frozen_heads_too() -> None:
    """By the old and the new ones of actor and critic, of which all columns of a unit that is reset go."""
    env = FakeImageEnv(screen_height=36, screen_width=36, discrete=True)
    chosen = {"name": "percentage", "share": 0.1}
    reset = UnitReset(criterion="random", selection=chosen, period=1, maturity=0, score_every=1)
    model = agents.PPO(
        "CnnPolicy", env, seed=0, device="cpu", n_steps=8, batch_size=8, n_epochs=1, interventions=[reset],
        policy_kwargs={"injectable": True, "net_arch": [4], "features_extractor_kwargs": {"features_dim": 16}},
    )  # fmt: skip
    *_, last = model.networks["features"].layers
    assert len(last.readers) == 2
    for head in heads(model):
        head.inject([torch.randn_like(parameter) for parameter in head.live])
    assert len(last.readers) == 6
    model.learn(8)  # one gradient step
    for reader in last.readers:
        assert (reader.weight == 0).all(0).sum() == 2


@pytest.mark.parametrize("targets", ["copy", "leave"])
def test_a_full_reset_drops_what_is_frozen(targets: Any) -> None:
    """A target network that is left to follow goes on with what it has, and follows."""
    injection, reset = PlasticityInjection(step=1000), FullReset(period=1000, targets=targets)
    model = built("dqn", interventions=[injection, reset])
    observation = model.observation_space.sample()
    before = _values(model, observation)
    injection.act(0)
    reset.act(0)
    online, target = heads(model)
    assert (online.injected, target.injected) == (False, targets == "leave")
    q_values, target_values = _values(model, observation)
    assert not torch.equal(q_values, before[0])
    assert torch.equal(target_values, q_values if targets == "copy" else before[1])
    polyak_update(model.q_net.parameters(), model.q_net_target.parameters(), 1.0)
    assert torch.equal(*_values(model, observation))


def test_what_has_no_head_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the head of actor is not built for it; give agent\.injectable=true"):
        built("sac", interventions=[PlasticityInjection(networks=["actor"], step=1)])
    with pytest.raises(ValueError, match=r"the head of critic is a single linear layer, of which new weights would"):
        built("dqn", interventions=[PlasticityInjection(step=1)], policy_kwargs={"net_arch": []})
    with pytest.raises(ValueError, match=r"^injectable is True, but the noise of use_sde reads"):
        built("ppo", env="Pendulum-v1", use_sde=True)
    with pytest.raises(ValueError, match=r"^injectable is 1; give true or false"):
        built("dqn", policy_kwargs={"injectable": 1})
