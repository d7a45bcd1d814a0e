"""Optimizers by name: what an agent is built with, saves and loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import small_off_policy
import small_ppo
import stable_baselines3
import torch

from agents import PPO, SAC
from agents.optimizers import OPTIMIZERS, with_optimizer
from agents.plasticity import TRAC, UPGD, AdamO, FullReset, Muon
from agents.plasticity.registry import resolve
from agents.specs import agent_spec


def built(kind: str, **arguments: Any) -> Any:
    module = small_ppo if kind in small_ppo.ALL else small_off_policy
    return module.build(kind, **arguments) if module is small_ppo else module.ours(kind, **arguments)


def hidden_of(model: Any, optimizer: Any) -> list[str]:
    (group,) = optimizer.param_groups
    return [model.parameter_name(group["params"][i]) for i in group["hidden"]]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    for kind, steps in (("mlp", 64), ("dqn-mlp", 24)):
        model = built(kind, optimizer=name).learn(steps)
        model.save(tmp_path / "model.zip")
        loaded = type(model).load(tmp_path / "model.zip", device="cpu")
        assert type(loaded.policy.optimizer) is resolve(OPTIMIZERS[name].target)
        saved, found = model.policy.optimizer.state_dict(), loaded.policy.optimizer.state_dict()
        assert saved["param_groups"] == found["param_groups"]
        assert saved["state"].keys() == found["state"].keys() != set()
        for number, slots in saved["state"].items():
            small_ppo.assert_same(
                {key: torch.as_tensor(slot) for key, slot in slots.items()},
                {key: torch.as_tensor(slot) for key, slot in found["state"][number].items()},
            )


def test_actor_and_critic_have_one_each_and_the_entropy_coefficient_stays_with_adam() -> None:
    model = built("sac-mlp", optimizer={"name": "upgd", "sigma": 0.25}).learn(24)
    assert [type(optimizer) for optimizer in model.optimizers] == [UPGD, UPGD]
    assert type(model.ent_coef_optimizer) is torch.optim.Adam
    groups = [optimizer.param_groups[0] for optimizer in model.optimizers]
    assert [group["sigma"] for group in groups] == [0.25, 0.25]
    assert groups[0]["seed"] != groups[1]["seed"]
    assert [group["draws"] for group in groups] == [2, 2]
    td3 = built("td3-mlp", optimizer="trac").learn(24)
    assert [type(optimizer) for optimizer in td3.optimizers] == [TRAC, TRAC]


@pytest.mark.parametrize("name", ["adamo", "muon"])
def test_output_layers_and_deviations_of_noise_are_no_hidden_weights(name: str) -> None:
    ppo = built("mlp-tanh-gsde", optimizer=name)
    assert hidden_of(ppo, ppo.policy.optimizer) == [
        f"mlp_extractor.{net}.{layer}.weight" for net in ("policy_net", "value_net") for layer in (0, 2)
    ]
    sac = built("sac-gsde", optimizer=name)
    actor, critic = (hidden_of(sac, optimizer) for optimizer in sac.optimizers)
    assert actor == ["actor.latent_pi.0.weight", "actor.latent_pi.2.weight"]
    assert critic == [f"critic.qf{n}.{layer}.weight" for n in (0, 1) for layer in (0, 2)]
    board = built("dqn-board", optimizer=name)
    found = hidden_of(board, board.policy.optimizer)
    assert "q_net.q_net.0.weight" not in found
    assert len(found) == {"adamo": 2, "muon": 1}[name]  # the convolution, and the linear layer of the features


def test_stable_baselines_loads_what_was_chosen(tmp_path: Path) -> None:
    model = built("mlp", optimizer="muon").learn(64)
    model.save(tmp_path / "model.zip")
    stock = stable_baselines3.PPO.load(tmp_path / "model.zip", device="cpu")
    assert type(stock.policy.optimizer) is Muon
    assert stock.policy.optimizer.param_groups[0]["hidden"] == [0, 2, 4, 6]


def test_full_resets_renew_what_it_remembers_of_the_networks_that_they_draw_anew() -> None:
    model = built("mlp", optimizer="trac", interventions=[FullReset(networks=["critic"], period=8)]).learn(64)
    state = model.policy.optimizer.state  # eight steps were made, and then the critic was drawn anew
    drawn = {*model.policy.mlp_extractor.value_net.parameters(), *model.policy.value_net.parameters()}
    assert {*state} == {*model.policy.parameters()} - drawn
    model.learn(64, reset_num_timesteps=False)
    model.begin_anew()
    model._end_update()
    assert not state


def test_eps_is_that_of_stable_baselines_unless_it_is_given() -> None:
    for cls, expected in (("ppo", 1e-5), ("sac", 1e-8)):
        spec = agent_spec(cls)
        for name in ("adamw", "trac", "adamo", "muon"):
            found = with_optimizer(None, name, spec)
            assert found is not None
            assert found["optimizer_kwargs"]["eps"] == expected
        given = with_optimizer({"n_critics": 2}, {"name": "adamo", "eps": 0.5, "coefficient": 0.1}, spec)
        assert given == {
            "n_critics": 2, "optimizer_class": AdamO,
            "optimizer_kwargs": {"betas": (0.9, 0.999), "eps": 0.5, "coefficient": 0.1, "scale": 1.0},
        }  # fmt: skip


def test_policy_kwargs_say_it_as_ever() -> None:
    kwargs = {"optimizer_class": torch.optim.SGD}
    assert with_optimizer(kwargs, None, agent_spec("ppo")) is kwargs
    adam = {"optimizer_kwargs": {"eps": 0.5}}
    assert with_optimizer(adam, "adam", agent_spec("ppo")) is adam


@pytest.mark.parametrize(
    ("optimizer", "policy_kwargs", "message"),
    [
        ("muan", None, r"^optimizer is 'muan'; choose from adam, adamw, rmsprop, trac, upgd, adamo, muon$"),
        ({"eps": 1e-5}, None, r"^optimizer is None; choose from adam, "),
        ({"name": "trac", "beta": 1}, None, r"^optimizer.beta is no setting of trac; choose from betas, eps$"),
        ({"name": "adam", "eps": 1}, None, r'^optimizer.eps is no setting of adam; give policy_kwargs={"optimizer_kw'),
        ("adam", {"optimizer_class": torch.optim.SGD}, r"^optimizer is 'adam', but policy_kwargs has 'optimizer_class"),
        ("trac", {"optimizer_kwargs": {}}, r"^optimizer is 'trac', but policy_kwargs has 'optimizer_kwargs' too; give"),
    ],
)
def test_what_is_not_understood_is_refused(optimizer: Any, policy_kwargs: Any, message: str) -> None:
    for cls, env in ((PPO, "CartPole-v1"), (SAC, "Pendulum-v1")):
        with pytest.raises(ValueError, match=message):
            cls("MlpPolicy", env, policy_kwargs=policy_kwargs, optimizer=optimizer)
