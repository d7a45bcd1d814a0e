"""Adaptive replay ratio: when it is raised and lowered, what it measures, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_loop import Regression
from small_off_policy import assert_same, ours, state, world
from small_worlds import build, whole_and_resumed
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor, nn

from agents import DQN, PPO
from agents.plasticity import GXD, AdaptiveReplayRatio, FullReset, Intervention, Switch, Update
from agents.plasticity.replay_ratio import Mode


def relu() -> dict[str, Any]:
    """SB3 writes into the arguments of policies."""
    return {"policy_kwargs": {"net_arch": [8], "activation_fn": nn.ReLU}}


SWITCH = Switch("next", 1, 1)


def modes(trace: list[float], drop: float | None = None, switches: tuple[int, ...] = ()) -> str:
    """What each fraction of a trace leads to: L for low, H for high; a switch was revealed before those numbered."""
    mode, found = Mode(1 / 1024, drop), ""
    for number, fraction in enumerate(trace):
        mode.see(fraction, switched=number in switches)
        found += "H" if mode.raised else "L"
    return found


FALLING = [0.5, 0.45, 0.41, 0.38, 0.36]
DIPPING = [0.4, 0.4, 0.41, 0.42, 0.3, 0.3, 0.3]


@pytest.mark.parametrize(
    ("trace", "one_way", "two_way"),
    [
        ([0.4] * 4, "LHHH", "LHHH"),
        (FALLING, "LLLLL", "LLLLL"),
        ([*FALLING, 0.3595, 0.3595, 0.2, 0.2, 0.2], "LLLLLHHHHH", "LLLLLHHLLH"),
        ([0.3, 0.32, 0.34, 0.36], "LLLL", "LLLL"),
        ([0.5, 0.5 + 1 / 1024] * 2, "LHHH", "LHHH"),  # the threshold itself has settled
        ([0.4, 0.402, 0.4, 0.402], "LLLL", "LLLL"),
        ([0.4, 0.4, 0.395, 0.4, 0.391], "LHHHH", "LHHHH"),
        ([0.4, 0.4, 0.396, 0.392, 0.388, 0.388], "LHHHHH", "LHHHLL"),  # slowly, but more than 0.01 in all
        (DIPPING, "LHHHHHH", "LHHHLLH"),
        ([float("nan"), 0.4, float("nan"), 0.4, 0.4], "LLLLH", "LLLLH"),
        ([0.0, 0.0, 0.0], "LHH", "LHH"),
    ],
)
def test_traces(trace: list[float], one_way: str, two_way: str) -> None:
    """METHODS 15.21: falling then flat raises it once, and never at the first fraction."""
    assert modes(trace) == one_way
    assert modes(trace, drop=0.01) == two_way


@pytest.mark.parametrize(
    ("trace", "switch", "one_way", "two_way"),
    [
        ([0.4, 0.4, 0.398, 0.398, 0.398], 2, "LHHHH", "LHLLH"),  # a small fall is enough where a switch is known
        ([0.4, 0.4, 0.3995, 0.3995, 0.398], 2, "LHHHH", "LHHHH"),
        ([0.4, 0.4, 0.4, 0.4], 1, "LHHH", "LLHH"),  # before and after a switch nothing is compared to raise it
        ([0.4, 0.4, 0.5, 0.5], 2, "LHHH", "LHHH"),
    ],
)
def test_traces_over_a_revealed_switch(trace: list[float], switch: int, one_way: str, two_way: str) -> None:
    assert modes(trace, switches=(switch,)) == one_way
    assert modes(trace, drop=0.01, switches=(switch,)) == two_way


# ---------------------------------------------------------------------------------------------------- what it measures


def shown(intervention: AdaptiveReplayRatio, step: int, active: float, layer: str = "critic.0") -> None:
    """A gradient step in whose minibatch this share of 100 units is active."""
    activations = torch.where(torch.arange(100) < round(100 * active), 1.0, 0.0)[None]
    update = Update((), None, {}, torch.optim.SGD([torch.zeros(1)]), 0.1, step, {layer: (activations, activations)})
    intervention.after_backward(update)
    intervention.after_update()


def test_a_fraction_is_the_mean_of_the_windows_gradient_steps() -> None:
    """Of the critic's units alone; read an update after the window has ended, and compared with the one before."""
    intervention = AdaptiveReplayRatio(interval=5, window=2, threshold=0.01)
    model = ours("dqn-mlp", interventions=[intervention])
    assert [intervention.taps_at(step) for step in range(1, 12)] == [*[False] * 3, True, True] * 2 + [False]
    assert model.hooks.metrics() == {"replay/ratio": 0.25}
    for step, active in enumerate([0.9, 0.9, 0.9, 0.2, 0.4, 0.9, 0.9, 0.9, 0.1, 0.5], start=1):
        shown(intervention, step, active)
        shown(intervention, step, 1.0, "actor.0")
    assert model.hooks.metrics() == {"replay/ratio": 1.0, "replay/fau": pytest.approx(0.3)}
    assert model.replay_ratio == 1.0


def test_the_fraction_is_of_all_layers_of_both_critics() -> None:
    class Counts(Intervention):
        """Counts itself."""

        name = "counts"
        needs = frozenset({"activations"})
        active = seen = 0

        def after_backward(self, update: Update) -> None:
            for name, (activations, _) in update.taps.items():
                if name.startswith("critic"):
                    Counts.active += int((activations > 0).sum())
                    Counts.seen += activations.numel()

    model = ours("sac-mlp", interventions=[AdaptiveReplayRatio(interval=6), Counts()])
    model.learn(16 + 6 * 4)
    assert Counts.seen == 6 * 8 * 2 * (16 + 12)  # steps of 8 transitions through two networks
    model.interventions[0].after_update()
    assert model.hooks.metrics()["replay/fau"] == Counts.active / Counts.seen


@pytest.mark.parametrize(
    ("kind", "arguments", "interval", "window"),
    [
        ("sac-mlp", {}, 12_500, 8_000),  # of 8 transitions
        ("sac-mlp", {"batch_size": 256}, 12_500, 250),
        ("dqn-mlp", {"batch_size": 32}, 2_000, 2_000),
        ("td3-mlp", {"batch_size": 100}, 12_500, 640),
    ],
)
def test_published_numbers(kind: str, arguments: dict[str, Any], interval: int, window: int) -> None:
    intervention = AdaptiveReplayRatio()
    ours(kind, interventions=[intervention], **arguments)
    looked = [step for step in range(1, interval + 1) if intervention.taps_at(step)]
    assert looked == list(range(interval - window + 1, interval + 1))
    assert not intervention.taps_at(interval + 1) or window == interval


# ---------------------------------------------------------------------------------------------------- what follows


class Watch(BaseCallback):
    """Gradient steps after every update, the ratio in force, and the gradient steps at which targets were copied."""

    def _on_training_start(self) -> None:
        self.steps: list[int] = []
        self.ratios: list[float] = []
        self.copies: list[int] = []
        self.target = self._target()
        self.model.update_ended.append(self._ended)

    def _target(self) -> Tensor:
        return next(iter(self.model.q_net_target.parameters())).clone() if isinstance(self.model, DQN) else Tensor()

    def _ended(self) -> None:
        self.steps.append(self.model.optimizer_steps)
        self.ratios.append(self.model.replay_ratio)

    def _on_step(self) -> bool:
        if not torch.equal(self.target, self._target()):
            self.target = self._target()
            self.copies.append(self.model.optimizer_steps)
        return True


def test_dqn_makes_more_gradient_steps_and_as_many_between_copies_of_its_target() -> None:
    """Comparisons at gradient steps 10 and 20; the second is read an update later, and the next update is larger."""
    watch = Watch()
    intervention = AdaptiveReplayRatio(interval=10, threshold=0.99)
    model = ours(
        "dqn-mlp", interventions=[intervention], learning_starts=0, train_freq=2, gradient_steps=1,
        target_update_interval=16,
    )  # fmt: skip
    model.learn(160, callback=watch)
    assert watch.steps[:21] == list(range(1, 22))
    assert watch.steps[21:] == list(range(25, 25 + 4 * 59, 4))
    assert watch.ratios == [0.5] * 20 + [2.0] * 60
    assert watch.copies == [8, 16, *range(25, 250, 8)]  # gradient steps; every 16 steps of the game, then every 4
    assert model.target_update_interval == 16


@pytest.mark.parametrize(
    ("target", "games", "low", "high"),
    [(1000, 64, 15, 4), (4000, 16, 250, 62), (100, 7, 14, 4), (33, 2, 16, 4), (5, 2, 2, 1), (1, 2, 1, 1)],
)
def test_target_intervals_are_the_nearest_that_steps_of_all_games_allow(
    target: int, games: int, low: int, high: int
) -> None:
    model = ours("dqn-mlp", target_update_interval=target)
    model.n_envs = games
    for times, expected in ((None, low), (1, low), (4, high)):
        if times is not None:
            model.replay_ratio = times * model.given_replay_ratio
        assert max(model._target_interval() // games, 1) == expected


def test_sac_goes_low_again_where_plasticity_drops() -> None:
    intervention = AdaptiveReplayRatio(interval=4, threshold=0.1, rule="two_way", drop=0.3, low=0.5, high=1.5)
    model = ours("sac-mlp", interventions=[intervention])
    layer = model.networks["critic"].layers[0].name
    assert model.replay_ratio == 0.5
    found = []
    for interval, active in enumerate([0.6, 0.6, 0.6, 0.2, 0.2, 0.2, 0.2]):
        for step in range(4 * interval + 1, 4 * interval + 5):
            shown(intervention, step, active, layer)
        intervention.after_update()
        found.append(model.replay_ratio)
        assert (intervention.idle() is None) is (interval > 0)  # also where it is low again
    assert found == [0.5, 1.5, 1.5, 0.5, 0.5, 1.5, 1.5]


def test_a_revealed_switch_lowers_it_where_the_fraction_falls_at_all() -> None:
    for switched, ratio in ((False, 1.0), (True, 0.25)):
        intervention = AdaptiveReplayRatio(interval=1, threshold=0.01, rule="two_way", drop=0.3)
        model = ours("dqn-mlp", interventions=[intervention])
        for step, active in enumerate([0.6, 0.6, 0.5], start=1):
            if switched and step == 3:
                model.hooks.after_update([SWITCH])
            shown(intervention, step, active)
        intervention.after_update()
        assert model.replay_ratio == ratio


def test_ppos_are_epochs() -> None:
    watch = Watch()
    intervention = AdaptiveReplayRatio(interval=16, threshold=0.99)
    build("ppo", [intervention], **relu()).learn(32 * 6, callback=watch)  # 4 minibatches in each of 2 epochs
    assert watch.ratios == [2.0, 2.0, 2.0, 2.0, 5.0, 5.0]
    assert watch.steps == [8, 16, 24, 32, 40, 60]


def test_where_it_is_never_raised_nothing_is_changed() -> None:
    """METHODS 15.26."""
    for kind in ("dqn-mlp", "sac-mlp"):
        model = ours(kind, interventions=[AdaptiveReplayRatio(interval=3, threshold=0.0)])
        assert_same(state(model.learn(64)), state(ours(kind).learn(64)))
        assert "replay/fau" in model.hooks.metrics()


# ---------------------------------------------------------------------------------------------------- what it keeps


def low_again() -> list[Intervention]:
    return [AdaptiveReplayRatio(interval=7, window=5, threshold=0.2, rule="two_way", drop=0.2), GXD(period=10**6)]


@pytest.mark.parametrize("agent", ["ppo", "dqn", "sac"])
def test_going_on_equals_never_having_stopped(agent: str, tmp_path: Path) -> None:
    """In the middle of a window and with a fraction under way; raised, and the ratio of the run before counts."""
    (held, _), whole, again = whole_and_resumed(agent, low_again, tmp_path, 256, **relu())
    assert held["raised"]
    assert again == whole


def test_a_saved_agent_goes_on_as_it_was(tmp_path: Path) -> None:
    """Its ratio before it was raised is known too."""
    model = ours("dqn-mlp", interventions=[AdaptiveReplayRatio(interval=4, threshold=0.9)]).learn(64)
    assert model.replay_ratio == 1.0
    model.save(tmp_path / "saved")
    again = DQN.load(tmp_path / "saved", env=world("dqn-mlp"), device="cpu")
    assert again.replay_ratio == 1.0
    (one,), (other,) = model.intervention_state()["interventions"], again.intervention_state()["interventions"]
    assert (one, again.given_replay_ratio) == (other, 0.25)
    begun = DQN.load(
        tmp_path / "saved", env=world("dqn-mlp"), device="cpu", interventions=[AdaptiveReplayRatio(interval=4)]
    )
    assert begun.replay_ratio == 0.25  # one that has seen nothing begins low


def test_a_saved_ppo_knows_the_epochs_that_it_was_given(tmp_path: Path) -> None:
    model = build("ppo", [AdaptiveReplayRatio(interval=16, threshold=0.99)], **relu()).learn(32 * 6)
    model.save(tmp_path / "saved")
    again = PPO.load(tmp_path / "saved", env=model.get_env(), device="cpu")
    assert (again.replay_ratio, again.given_replay_ratio, again.n_epochs) == (5.0, 2.0, 2)
    assert again.learn(32, reset_num_timesteps=False).optimizer_steps == model.optimizer_steps + 20


def test_a_replaced_layer_changes_no_mode() -> None:
    model = ours("dqn-mlp", interventions=[AdaptiveReplayRatio(interval=4, threshold=0.9)]).learn(64)
    model.q_net.q_net[2] = nn.Linear(16, 12)
    model.learn(16, reset_num_timesteps=False)
    assert model.replay_ratio == 1.0
    assert model.given_replay_ratio == 0.25


@pytest.mark.parametrize(("agent", "low"), [("ppo", 2.0), ("dqn", 0.25)])
def test_layers_that_are_all_new_are_learnt_from_as_the_first_ones_were(agent: str, low: float) -> None:
    """A fresh critic is early in its training again; a fraction on its way was the old one's."""
    intervention, reset = AdaptiveReplayRatio(interval=8, threshold=0.9), FullReset(period=10**6)
    model = build(agent, [intervention, reset], **relu()).learn(160)
    assert model.replay_ratio > low
    reset.act(1)
    state = intervention.state_dict()
    assert (model.replay_ratio, state["raised"], state["last"], state["arriving"]) == (low, False, None, [])
    model.learn(160, reset_num_timesteps=False)
    assert model.replay_ratio > low


@pytest.mark.parametrize(
    ("arguments", "given", "low", "high"),
    [({"low": 0.5}, {}, 0.5, 2.0), ({}, {"gradient_steps": 2}, 0.5, 2.0), ({"high": 3.0}, {}, 0.25, 3.0)],
)
def test_what_another_one_has_learnt_brings_none_of_its_settings(
    arguments: dict[str, Any], given: dict[str, Any], low: float, high: float
) -> None:
    source = ours("dqn-mlp", interventions=[AdaptiveReplayRatio(interval=4, threshold=0.9)]).learn(64)
    (state,) = source.intervention_state()["interventions"]
    assert (source.replay_ratio, state["raised"]) == (1.0, True)
    for raised in (False, True):
        one = AdaptiveReplayRatio(interval=4, threshold=0.9, **arguments)
        model = ours("dqn-mlp", interventions=[one], **given)
        one.load_state_dict({**state, "raised": raised})
        assert model.replay_ratio == (high if raised else low)


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaptiveReplayRatio(low=0), "low is 0; give a number of gradient steps for each step"),
        (lambda: AdaptiveReplayRatio(low=2, high=2), "high is 2; give a number above low, 2"),
        (lambda: AdaptiveReplayRatio(threshold=-1), "threshold is -1; give a difference of fractions of at least 0"),
        (lambda: AdaptiveReplayRatio(interval=0), "interval is 0; give a whole number of gradient steps of at least 1"),
        (lambda: AdaptiveReplayRatio(rule="both"), "rule is 'both'; give one_way or two_way"),
        (lambda: AdaptiveReplayRatio(rule="two_way", drop=1e-4), "drop is 0.0001; give a difference of fractions of"),
        (lambda: AdaptiveReplayRatio(drop=0.1), "drop is 0.1, but with rule one_way nothing is lowered; leave drop"),
        (
            lambda: build("ppo", [AdaptiveReplayRatio()]),
            "adaptive_replay_ratio: the units of critic.0 are above 0 about half of the time, whatever they have lost, "
            "because of Tanh; give the network activation relu, or another network",
        ),
        (
            lambda: ours("dqn-norm-crelu", interventions=[AdaptiveReplayRatio()]),
            "adaptive_replay_ratio: the units of critic.0 are above 0 about half",
        ),
        (
            lambda: build("ppo", [AdaptiveReplayRatio(high=2.5)], **relu()),
            "adaptive_replay_ratio: high is 2.5, but of this learner these are epochs; give whole ones",
        ),
        (
            lambda: ours("dqn-mlp", interventions=[AdaptiveReplayRatio(high=0.1)]),
            "adaptive_replay_ratio: high is 0.1, but low is 0.25; give a higher one",
        ),
        (
            lambda: ours("dqn-mlp", interventions=[AdaptiveReplayRatio(network="actor")]),
            "adaptive_replay_ratio: actor has no hidden units in this policy .with hidden units: critic.; give network",
        ),
        (
            lambda: ours("dqn-mlp", train_freq=(1, "episode"), interventions=[AdaptiveReplayRatio()]),
            "adaptive_replay_ratio: train_freq counts episodes, so that the replay ratio is not known; give low",
        ),
        (
            lambda: ours("dqn-mlp", gradient_steps=0, interventions=[AdaptiveReplayRatio()]),
            "adaptive_replay_ratio: the agent makes no gradient steps; give low",
        ),
        (
            lambda: ours("dqn-mlp", interventions=[AdaptiveReplayRatio(), AdaptiveReplayRatio(interval=9)]),
            "adaptive_replay_ratio and adaptive_replay_ratio both set the replay ratio; leave one of them out",
        ),
        (
            lambda: Regression([AdaptiveReplayRatio(network="net")]),
            "adaptive_replay_ratio: a PlasticOptimizer has no replay ratio: the loop decides how often it steps",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_a_run_that_is_too_short_is_told() -> None:
    with pytest.warns(UserWarning, match="at most 12 gradient steps, too few for adaptive_replay_ratio .interval 10."):
        model = ours("dqn-mlp", interventions=[AdaptiveReplayRatio(interval=10)]).learn(64)
    assert model.hooks.idle() == {"adaptive_replay_ratio": "no two intervals of 10 gradient steps ended"}
