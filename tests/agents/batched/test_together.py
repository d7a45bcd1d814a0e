"""Agents that are updated together, beside twins each of which makes its own updates."""

import gc
import itertools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

import envs
from agents import DQN, PPO, SAC
from agents.batched import Together, why_alone
from agents.plasticity import GXD, SWR, CChain, L2Init, WeightClipping

pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size:UserWarning")
FIELDS = ("values", "log_probs", "advantages", "returns")


def agent(seed=1, game="CartPole-v1", net_arch=(5, 4), activation=nn.Tanh, **settings):
    given = {"n_steps": 13, "batch_size": 8, "n_epochs": 2, "learning_rate": 1e-2, "ent_coef": 0.01, **settings}
    kwargs = {"net_arch": {"pi": [*net_arch], "vf": [*net_arch]}, "activation_fn": activation}
    kwargs |= given.pop("policy_kwargs", {})
    env = envs.make(game, n_envs=2, seed=seed)
    return PPO("MlpPolicy", env, seed=seed, device="cpu", policy_kwargs=kwargs, **given)


class Draws:
    """What each agent draws its minibatches with."""

    def __init__(self, agents):
        self._own = {agent: np.random.MT19937(number) for number, agent in enumerate(agents)}

    @contextmanager
    def __call__(self, agent) -> Iterator[None]:
        before = np.random.get_bit_generator()
        np.random.set_bit_generator(self._own[agent])
        try:
            yield
        finally:
            np.random.set_bit_generator(before)


class Pair:
    """Agents and their twins, which have played the same."""

    def __init__(self, build, seeds=(1, 2, 3)):
        self.mine, self.twins = ([build(seed) for seed in seeds] for _ in range(2))
        self.draws, self.twins_draws = Draws(self.mine), Draws(self.twins)
        self.together = Together()

    def play(self):
        for number, agents in enumerate(zip(self.mine, self.twins, strict=True)):
            for agent in agents:
                torch.manual_seed(number)
                agent.fill_buffer()
                if agent.policy.action_net.weight.dtype == torch.float64:
                    for name in FIELDS:
                        setattr(agent.rollout_buffer, name, getattr(agent.rollout_buffer, name).astype(np.float64))

    def update(self, rows=slice(None)):
        """The updates of these, and their ends."""
        mine, twins = self.mine[rows], self.twins[rows]
        raised = self.together.update(mine, self.draws)
        for twin in twins:
            with self.twins_draws(twin):
                twin._update()
        for agent in itertools.chain(mine, twins):
            agent._end_update()
        return [raised[agent] for agent in mine]

    def differences(self):
        return [
            max(float((a - b).detach().abs().max()) for a, b in zip(held(one), held(other), strict=True))
            for one, other in zip(self.mine, self.twins, strict=True)
        ]


def held(agent):
    """Parameters, and what the optimizer remembers."""
    states = [agent.policy.optimizer.state[parameter] for parameter in agent.policy.parameters()]
    return [*agent.policy.parameters(), *(state[name] for state in states for name in sorted(state))]


@pytest.fixture
def double(monkeypatch):
    """Networks of numbers with 64 bits, in which rounding hides nothing."""
    monkeypatch.setattr(FlattenExtractor, "forward", lambda self, seen: self.flatten(seen).double())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": nn.ReLU, "max_grad_norm": 1e9, "batch_size": 26},
        {"activation": nn.LeakyReLU, "net_arch": (4,), "normalize_advantage": False, "clip_range_vf": 0.1},
        {"speed": "fast"},
        {"activation": nn.ELU, "learning_rate": lambda left: 1e-2 * left, "vf_coef": 1.0},
        {"activation": nn.SiLU, "net_arch": ()},
        {"activation": nn.GELU, "clip_range": 0.01, "n_steps": 9, "n_epochs": 1},
        {"game": "Pendulum-v1", "clip_range_vf": 0.2},
        {"game": "Pendulum-v1", "activation": nn.ReLU, "policy_kwargs": {"share_features_extractor": False}},
    ],
)
def test_each_agent_ends_as_by_itself(double, settings):
    pair = Pair(lambda seed: agent(seed, **settings))
    before = [p.detach().clone() for p in pair.mine[0].policy.parameters()]
    for _ in range(2):
        pair.play()
        assert pair.update() == [None] * 3
    assert max(pair.differences()) < 1e-11
    assert all((p != b).any() for p, b in zip(pair.mine[0].policy.parameters(), before, strict=True))
    for one, other in zip(pair.mine, pair.twins, strict=True):
        assert (one._n_updates, one.optimizer_steps) == (other._n_updates, other.optimizer_steps)
        mine, twins = one.logger.name_to_value, other.logger.name_to_value
        assert mine.keys() == twins.keys() >= {"train/policy_gradient_loss", "train/explained_variance"}
        assert all(mine[tag] == pytest.approx(twins[tag], rel=1e-9, abs=1e-12) for tag in mine if "train/" in tag)


def test_with_numbers_of_32_bits_they_differ_by_rounding():
    pair = Pair(agent, seeds=(1, 2))
    pair.play()
    pair.update()
    assert 0 < max(pair.differences()) < 1e-5


@pytest.mark.parametrize(
    "interventions",
    [
        lambda: [GXD(rate=0.5, maturity=1, period=4, score_every=3)],
        lambda: [GXD(rate=0.5, maturity=1, period=1)],
        lambda: [L2Init(coefficient=0.1), WeightClipping()],
        lambda: [L2Init(coefficient=0.1, decoupled=False)],
        lambda: [CChain()],
        lambda: [SWR(period=4, rate=0.05, utility="gradient", score_every=2)],
    ],
    ids=lambda given: "+".join(each.name for each in given()),
)
def test_interventions_see_and_do_what_they_would(double, interventions):
    # Pendulum, because the biases of two logits are each other's negative: rounding would decide which SWR redraws.
    pair = Pair(lambda seed: agent(seed, "Pendulum-v1", interventions=interventions(), max_grad_norm=0.1), seeds=(1, 2))
    for _ in range(2):
        pair.play()
        assert pair.update() == [None] * 2
    assert max(pair.differences()) < 1e-11
    assert pair.mine[0].units_reset() == pair.twins[0].units_reset()


def test_what_is_changed_between_updates_is_gone_on_from(double):
    pair = Pair(agent, seeds=(1, 2))
    pair.play()
    pair.update()
    for agents in (pair.mine, pair.twins):
        agents[0].policy.optimizer.state.clear()  # as at a task switch
        saved = agents[1].policy.optimizer.state_dict()
        saved["state"] = {
            number: {k: 2 * slot for k, slot in slots.items()} for number, slots in saved["state"].items()
        }
        agents[1].policy.optimizer.load_state_dict(saved)  # as from a checkpoint
        with torch.no_grad():
            agents[1].policy.value_net.weight.mul_(2)
    pair.play()
    pair.update()
    assert max(pair.differences()) < 1e-11
    steps = [agent.policy.optimizer.state[agent.policy.value_net.bias]["step"].item() for agent in pair.mine]
    assert steps == [8, 24]  # of 4 minibatches in 2 epochs


def test_agents_come_and_go(double):
    pair = Pair(agent, seeds=(1, 2, 3, 4))
    for rows in (slice(0, 3), slice(1, 4), slice(1, 2), slice(0, 4)):
        pair.play()
        assert set(pair.update(rows)) == {None}
    assert max(pair.differences()) < 1e-11


def test_agents_that_ask_for_other_steps_are_answered_apart(double):
    pair = Pair(lambda seed: agent(seed, batch_size=4 if seed == 2 else 8, n_epochs=seed))
    pair.play()
    pair.update()
    assert max(pair.differences()) < 1e-11
    assert [each.optimizer_steps for each in pair.mine] == [4, 14, 12]


def test_what_fails_fails_alone(double):
    class Failing(WeightClipping):
        def after_step(self, update):
            raise RuntimeError("no")

    pair = Pair(lambda seed: agent(seed, interventions=[Failing()] if seed == 2 else []))
    pair.play()
    raised = pair.together.update(pair.mine, pair.draws)
    assert [type(raised[each]) for each in pair.mine] == [type(None), RuntimeError, type(None)]
    del pair.mine[1], pair.twins[1]
    for twin in pair.twins:
        with pair.twins_draws(twin):
            twin._update()
    assert max(pair.differences()) < 1e-11


def test_released_agents_hold_memory_of_their_own():
    pair = Pair(agent, seeds=(1, 2))
    pair.play()
    pair.update()
    sizes = [each.untyped_storage().nbytes() for each in held(pair.mine[0])]
    assert min(sizes) > 2 * 4
    before = [each.detach().clone() for each in held(pair.mine[0])]
    pair.together.release(pair.mine[0])
    found = held(pair.mine[0])
    assert all(each.untyped_storage().nbytes() == each.numel() * each.element_size() for each in found)
    assert all(torch.equal(one, other) for one, other in zip(found, before, strict=True))
    pair.play()
    pair.update(slice(1, 2))
    assert all(torch.equal(one, other) for one, other in zip(held(pair.mine[0]), before, strict=True))


class Doubling(nn.Module):
    def forward(self, x):
        return 2 * x


def test_nothing_is_held_of_released_agents():
    agents, together = [agent(seed) for seed in (1, 2)], Together()
    for number in range(2):
        agents[number].fill_buffer()
    assert together.update(agents) == dict.fromkeys(agents)
    bank = weakref.ref(together.place(agents[0]).bank)
    for left in (1, 0):
        together.release(agents[-1])
        gone = weakref.ref(agents.pop())
        gc.collect()
        assert gone() is None
        assert sum(together.place(each) is not None for each in agents) == left
    assert bank() is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"target_kl": 0.1}, "target_kl may end an update early"),
        ({"optimizer": "muon"}, "its optimizer is Muon, and only Adam's steps are put together"),
        ({"policy_kwargs": {"norm": "layer"}}, "its networks have a LayerNorm"),
        ({"activation": Doubling}, "its networks have a Doubling"),
        (
            {"policy_kwargs": {"features_extractor_class": type("Own", (FlattenExtractor,), {})}},
            "its features come from Own, and only plain observations are put together (features: flatten)",
        ),
    ],
)
def test_an_agent_that_is_not_understood_is_updated_as_ever(settings, sentence):
    pair = Pair(lambda seed: agent(seed, **settings), seeds=(1, 2))
    assert why_alone(pair.mine[0]) == sentence
    pair.play()
    assert pair.update() == [None, None]
    assert pair.differences() == [0, 0]


def test_a_frozen_layer_a_hook_and_a_subclass_are_found():
    class Mine(PPO):
        def losses(self, batch):
            return super().losses(batch)

    frozen, hooked, adapted, watched = (agent() for _ in range(4))
    watched.policy.optimizer.register_step_post_hook(lambda *_: None)
    frozen.policy.value_net.bias.requires_grad_(False)
    hooked.policy.action_net.register_forward_hook(lambda *_: None)
    adapted.policy.extract_features = adapted.policy.extract_features
    mine = Mine("MlpPolicy", gymnasium.make("CartPole-v1"), device="cpu")
    found = [why_alone(each) for each in (frozen, hooked, adapted, watched, mine)]
    assert found == [
        "some of its parameters are frozen",
        "a hook is on one of its layers",
        "its policy ActorCriticPolicy has extract_features of its own",
        "its optimizer's steps are watched, or made in another way",
        "its class Mine has losses of its own",
    ]


@pytest.mark.parametrize(("kind", "game"), [(DQN, "CartPole-v1"), (SAC, "Pendulum-v1")])
def test_other_algorithms_are_trained_alone(kind, game):
    learner = kind("MlpPolicy", envs.make(game, n_envs=1), device="cpu", buffer_size=10)
    assert why_alone(learner) == f"only PPO's agents can be trained together, and this one is {kind.__name__}"


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        (lambda policy: policy.mlp_extractor.policy_net.register_forward_hook(lambda *_: None), "networks"),
        (lambda policy: policy.action_net.register_full_backward_pre_hook(lambda *_: None), "layers"),
        (lambda policy: policy.action_net.weight.register_hook(lambda gradient: None), "parameters"),
    ],
)
def test_hooks_of_any_kind_are_found(hook, why):
    hooked = agent()
    hook(hooked.policy)
    assert why_alone(hooked) == f"a hook is on one of its {why}"
