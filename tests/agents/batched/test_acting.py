"""Rollouts in which agents act together, beside those of twins each of which asks its own policy."""

from functools import partial

import greenlet
import numpy as np
import pytest
import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn
from torch.distributions import Distribution

import envs
from agents import PPO
from agents.acting import Actor
from agents.batched import Member, Together

FIELDS = ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns")


@pytest.fixture(autouse=True)
def double(monkeypatch):
    """Networks of numbers with 64 bits, in which rounding hides nothing."""
    monkeypatch.setattr(FlattenExtractor, "forward", lambda self, seen: self.flatten(seen).double())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Team:
    """Agents that have their turns in a fixed order, each with its own state of torch's generator."""

    def __init__(self, agents):
        self.agents, self.together = agents, Together()
        self.states = {}
        for agent in agents:
            torch.manual_seed(agent.seed)
            self.states[agent] = torch.get_rng_state()
        self.together_in_steps = []  # how many acted together, of each step

    def actor(self, agent):
        place = self.together.place(agent)
        return Actor(agent) if place is None else Member(agent, place, greenlet.getcurrent().parent.switch)

    def play(self, agents=None):
        """A rollout of each; of each what it has raised, if anything."""
        agents, raised = self.agents if agents is None else agents, {}
        turns = {agent: greenlet.greenlet(partial(self._rollout, agent, raised)) for agent in agents}
        answers = dict.fromkeys(agents)
        while answers:
            looks = {}
            for agent, answer in answers.items():
                torch.set_rng_state(self.states[agent])
                look = turns[agent].switch(answer)
                self.states[agent] = torch.get_rng_state()
                if look is not None:
                    looks[agent] = look
            self.together_in_steps.append(len(looks))
            answers = dict(zip(looks, self.together.act([*looks.values()]), strict=True))
        return raised

    def _rollout(self, agent, raised, _):
        agent.team = self
        try:
            agent.fill_buffer()
        except ValueError as error:
            raised[agent] = error
        finally:
            agent.team = None


def built(seed, game="CartPole-v1", activation=nn.Tanh, net_arch=(5, 4), **settings):
    kwargs = {"net_arch": [*net_arch], "activation_fn": activation}
    given = {"n_steps": 8, "batch_size": 16, "n_epochs": 1, **settings}
    return PPO(
        "MlpPolicy", envs.make(game, n_envs=2, seed=seed), seed=seed, device="cpu", policy_kwargs=kwargs, **given
    )


@pytest.fixture
def pair():
    """Builds a team whose first update has been made, and twins of its agents that have played and learnt the same."""

    def build(seeds=(1, 2, 3), **settings):
        team, twins = Team([built(seed, **settings) for seed in seeds]), [built(seed, **settings) for seed in seeds]
        assert team.play() == {}
        assert {*team.together_in_steps} == {0}  # there is nothing yet that they share
        team.together_in_steps.clear()
        team.together.update(team.agents)
        for agent, twin in zip(team.agents, twins, strict=True):
            torch.manual_seed(twin.seed)
            twin.fill_buffer()
            twin.policy.load_state_dict(agent.policy.state_dict())
            twin.state = torch.get_rng_state()
        return team, twins

    return build


def play_alone(twins):
    for twin in twins:
        torch.set_rng_state(twin.state)
        twin.fill_buffer()
        twin.state = torch.get_rng_state()


def assert_same(team, twins):
    for agent, twin in zip(team.agents, twins, strict=True):
        assert torch.equal(team.states[agent], twin.state)
        for field in FIELDS:
            mine, own = (getattr(each.rollout_buffer, field) for each in (agent, twin))
            assert mine.shape == own.shape
            assert np.allclose(mine, own, rtol=1e-5, atol=1e-6), field
        actions = agent.rollout_buffer.actions
        assert len(np.unique(actions)) > 1
        if twin.action_space.dtype == np.int64:
            assert (actions == twin.rollout_buffer.actions).all()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": nn.ReLU, "speed": "fast", "n_steps": 16},
        {"game": "Pendulum-v1"},
        {"game": "FrozenLake-v1", "net_arch": (), "n_steps": 32},
    ],
)
def test_each_agent_plays_as_by_itself(pair, settings):
    team, twins = pair(**settings)
    for _ in range(2):
        assert team.play() == {}
        play_alone(twins)
    assert_same(team, twins)
    assert team.together_in_steps == ([3] * team.agents[0].n_steps + [0]) * 2


def test_agents_of_other_lengths_and_those_that_are_left_go_on(pair):
    team, twins = pair(seeds=(1, 2, 3, 4))
    for one in (team.agents[1], twins[1]):
        one.n_steps = 5
        one.rollout_buffer.buffer_size = 5
    team.together.release(team.agents[3])
    team.play(team.agents[:3])
    play_alone(twins[:3])
    assert team.together_in_steps == [3] * 5 + [2] * 3 + [0]
    team.agents.pop(), twins.pop()
    assert_same(team, twins)
    team.play(team.agents[2:])
    play_alone(twins[2:])
    assert_same(team, twins)


def test_what_was_changed_between_rollouts_is_acted_with(pair):
    team, twins = pair()
    for agent in (team.agents[0], twins[0]):
        with torch.no_grad():
            agent.policy.action_net.weight.mul_(3)
        agent.policy.value_net.bias.data = torch.full((1,), 7.0)
    team.play()
    play_alone(twins)
    assert_same(team, twins)
    assert team.together_in_steps == [3] * 8 + [0]


def change_hook(agent):
    agent.policy.action_net.register_forward_hook(lambda _, __, logits: logits.flip(-1))


def change_module(agent):
    agent.policy.mlp_extractor.policy_net[1] = nn.ReLU()


def change_memory(agent):
    weight = agent.policy.value_net.weight
    weight.data = 2 * weight.data


@pytest.mark.parametrize("change", [change_hook, change_module, change_memory])
def test_one_whose_modules_change_in_a_rollout_goes_its_own_way_from_there(pair, change, monkeypatch):
    team, twins = pair()
    for agent in (team.agents[1], twins[1]):
        step, count = agent.env.step_wait, iter(range(100))

        def stepping(agent=agent, step=step, count=count):
            if next(count) == 2:
                change(agent)
            return step()

        monkeypatch.setattr(agent.env, "step_wait", stepping)
    team.play()
    play_alone(twins)
    assert_same(team, twins)
    assert team.together_in_steps == [3] * 3 + [2] * 5 + [0]


@pytest.mark.parametrize("validates", [True, False])  # `torch.compile`, once used in a process, turns it off
@pytest.mark.parametrize("game", ["CartPole-v1", "Pendulum-v1"])
def test_one_without_numbers_fails_alone(pair, game, validates, monkeypatch):
    monkeypatch.setattr(Distribution, "_validate_args", validates)
    team, twins = pair(game=game)
    with torch.no_grad():
        team.agents[1].policy.action_net.weight.fill_(torch.nan)
    raised = team.play()
    assert [*raised] == [team.agents[1]]
    assert "nan" in str(raised[team.agents[1]])
    play_alone([twins[0], twins[2]])
    del team.agents[1], twins[1]
    assert_same(team, twins)


def test_agents_that_cannot_learn_together_do_not_act_together(pair):
    team, twins = pair(target_kl=0.5)
    team.play()
    play_alone(twins)
    assert_same(team, twins)
    assert {*team.together_in_steps} == {0}
