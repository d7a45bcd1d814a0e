"""Schedules, ages and running utilities of resets, on a small learner without SB3."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from agents.plasticity import GXD, Edit, ReDo, ReGraMa, Update
from agents.plasticity.resets import derive_seed
from agents.plasticity.taps import Taps
from agents.plasticity.units import Network, TorchDefault, chain


class Regression:
    """A learner in thirty lines: two hidden layers fit a fixed random function."""

    def __init__(self, interventions: list, seed: int = 0, width: int = 20, rate: float = 1e-2) -> None:
        torch.manual_seed(seed)
        self.module = nn.Sequential(
            nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
        )
        layers = chain("net", list(self.module)[:-1], [(self.module[-1], 0)], TorchDefault())
        self.networks = {"net": Network("net", tuple(layers), tuple(self.module.parameters()))}
        self.optimizers = (torch.optim.Adam(self.module.parameters(), lr=rate),)
        self.seed, self.gradient_steps, self.num_timesteps = seed, 0, 0
        self.device = torch.device("cpu")
        self.edits: list[tuple[int, Edit]] = []
        self.x, self.y = torch.randn(64, 4), torch.randn(64, 3)
        self.interventions = interventions
        for intervention in interventions:
            intervention.attach(self)

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return self.x[torch.randperm(len(self.x), generator=generator)[:n]]

    def outputs(self, batch: torch.Tensor) -> dict:
        return {"net": self.module(batch)}

    def announce(self, edit: Edit, author: object) -> None:
        self.edits.append((self.gradient_steps, edit))
        for other in self.interventions:
            if other is not author:
                other.on_surgery(edit)

    def train(self, steps: int) -> None:
        """One update: some gradient steps, then `after_update`."""
        for _ in range(steps):
            self.gradient_steps += 1
            optimizer = self.optimizers[0]
            with Taps(self.networks["net"].layers) as taps:
                loss = (self.module(self.x) - self.y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            update = Update(("net",), self.x, {"loss": loss}, optimizer, 1e-2, self.gradient_steps, taps.read())
            for intervention in self.interventions:
                intervention.after_backward(update)
            optimizer.step()
            for intervention in self.interventions:
                intervention.after_step(update)
        for intervention in self.interventions:
            intervention.after_update()

    def resets_at(self) -> list[int]:
        return [step for step, edit in self.edits if any(mask.any() for mask in edit.masks.values())]

    def count(self) -> int:
        return sum(int(mask.sum()) for _, edit in self.edits for mask in edit.masks.values())


def test_a_rate_replaces_what_it_promises() -> None:
    """rate 0.002 of 2 x 20 units in each of 90 steps at which all are mature: 7.2 units, 3.6 in each layer."""
    learner = Regression([GXD(rate=0.002, period=10, maturity=0, score_every=1)])
    learner.train(90)
    assert learner.count() == 6  # 3 of each layer, the rest is left over
    left = {key: tensor for key, tensor in learner.interventions[0].state_dict().items() if key.startswith("left/")}
    assert list(left) == ["left/net.0", "left/net.1"]
    for tensor in left.values():
        torch.testing.assert_close(tensor, torch.tensor(0.6))


def test_resets_wait_for_the_end_of_the_update_and_for_their_period() -> None:
    learner = Regression([GXD(rate=0.01, period=10, maturity=0, score_every=1)])
    for steps in (4, 5, 4, 30):
        learner.train(steps)
    # 9 steps are no period; at 13 one period is over, at 43 three more
    assert [step for step, _ in learner.edits] == [13, 43]
    assert [sum(int(m.sum()) for m in edit.masks.values()) for _, edit in learner.edits] == [2 * 2, 2 * 6]


def test_period_one_acts_at_every_step() -> None:
    learner = Regression([GXD(rate=0.05, period=1, maturity=0, score_every=1)])
    learner.train(5)
    assert learner.resets_at() == [1, 2, 3, 4, 5]


def test_no_unit_is_reset_before_it_is_mature() -> None:
    learner = Regression([GXD(rate=0.05, period=1, maturity=7, score_every=1)])
    learner.train(60)
    last = {}
    assert learner.resets_at()[0] == 7
    for step, edit in learner.edits:
        for name, mask in edit.masks.items():
            for unit in mask.nonzero().flatten().tolist():
                assert step - last.get((name, unit), 0) >= 7
                last[name, unit] = step
    assert len(last) < learner.count()  # some were reset twice, so that the claim was tried


@pytest.mark.parametrize("reset", [
    lambda maturity: GXD(rate=0.02, period=5, maturity=maturity, score_every=1),
    lambda maturity: ReGraMa(tau=0.3, period=5, maturity=maturity, cap=0.2),
])  # fmt: skip
def test_maturity_breaks_the_loop_of_flagging_fresh_units(reset) -> None:
    """A unit without outgoing weights earns no gradient at first: unprotected, it is flagged again at once."""

    def again(maturity: int) -> int:
        learner = Regression([reset(maturity)])
        for _ in range(20):
            learner.train(5)
        pairs = zip(learner.edits, learner.edits[1:], strict=False)
        return sum(int((a.masks[name] & b.masks[name]).sum()) for (_, a), (_, b) in pairs for name in a.masks)

    assert again(maturity=0) > 0
    assert again(maturity=30) == 0


def test_running_utility_is_a_bias_corrected_mean_of_the_scores() -> None:
    reset = GXD(period=10**9, score_every=4)
    reset.attach(Regression([]))
    layers = reset._layers
    scores, expected, weight, keep = [], 0.0, 0.0, 0.99**4
    for step in range(1, 21):
        a, g = torch.randn(8, 20), torch.randn(8, 20)
        taps = {"net.0": (a, g)} if step % 4 == 0 else {}
        reset.after_backward(Update(("net",), None, {}, None, 0.0, step, taps))
        if taps:
            scores.append((a * g).abs().sum(0))
            expected, weight = keep * expected + (1 - keep) * scores[-1], keep * weight + (1 - keep)
    utilities = reset.utilities(layers)
    torch.testing.assert_close(utilities["net.0"], expected / weight)
    torch.testing.assert_close(utilities["net.0"], torch.stack(scores).mean(0), rtol=0.2, atol=0.2)
    assert utilities["net.1"].isnan().all()


def test_the_cheapest_units_are_taken() -> None:
    reset = GXD(rate=0.1, period=1, maturity=0, score_every=1)
    learner = Regression([reset])
    layer = learner.networks["net"].layers[0]
    with torch.no_grad():
        layer.consumers[0].weight[:, [3, 8]] *= 1e-6  # hardly heard
    learner.train(1)
    assert learner.edits[0][1].masks["net.0"].nonzero().flatten().tolist() == [3, 8]


def test_redo_resets_dormant_units_and_no_others() -> None:
    learner = Regression([ReDo(tau=0.025, period=1)], rate=1e-9)
    layer = learner.networks["net"].layers[1]
    with torch.no_grad():
        layer.producer.bias[[2, 5, 11]] = -100.0
        score = learner.module[:4](learner.x).mean(0)
    learner.train(1)
    mask = learner.edits[0][1].masks["net.1"]
    assert mask.nonzero().flatten().tolist() == (score <= 0.025 * score.mean()).nonzero().flatten().tolist()
    assert mask[[2, 5, 11]].all()
    assert not mask.all()
    assert not layer.producer.bias[[2, 5, 11]].eq(-100).any()


def test_redo_leaves_a_layer_that_is_silent_altogether_unless_allowed() -> None:
    for allow_full, expected in ((False, 0), (True, 20)):
        learner = Regression([ReDo(period=1, allow_full=allow_full)])
        with torch.no_grad():
            learner.networks["net"].layers[0].producer.bias.fill_(-100.0)
        learner.train(1)
        assert int(learner.edits[0][1].masks["net.0"].sum()) == expected


def test_regrama_scores_weight_gradients_and_keeps_to_its_cap() -> None:
    learner = Regression([ReGraMa(tau=1.0, period=6, maturity=0, cap=0.1)])
    with torch.no_grad():
        learner.networks["net"].layers[0].producer.bias[[4, 9]] = -100.0  # no activation, so no weight gradient
    learner.train(6)
    masks = learner.edits[0][1].masks
    assert masks["net.0"].nonzero().flatten().tolist() == [4, 9]
    assert int(masks["net.1"].sum()) == 2  # the cap: a tenth of 20, although half the units are below the mean


def test_another_interventions_surgery_makes_units_young() -> None:
    reset = GXD(rate=0.5, period=1, maturity=5, score_every=1)
    learner = Regression([reset])
    learner.train(4)
    mask = torch.arange(20) < 15
    reset.on_surgery(Edit({"net.0": mask, "other.0": mask}))
    learner.train(1)
    assert not (learner.edits[-1][1].masks["net.0"] & mask).any()
    assert int(learner.edits[-1][1].masks["net.0"].sum()) == 2  # half of the five that were left
    assert int(learner.edits[-1][1].masks["net.1"].sum()) == 10


def test_without_a_signal_nothing_is_reset_and_training_goes_on() -> None:
    learner = Regression([GXD(rate=0.5, period=1, maturity=0, score_every=1), ReGraMa(period=1, maturity=0)])
    learner.y = learner.module(learner.x).detach()  # the loss is zero, and so is every gradient
    learner.train(3)
    assert learner.count() == 0
    learner.y = torch.full_like(learner.y, torch.nan)
    learner.train(1)
    assert learner.count() == 0


def test_state_survives_a_round_trip() -> None:
    def make() -> GXD:
        return GXD(rate=0.02, period=3, maturity=4, score_every=2)

    one = Regression([make()])
    one.train(20)
    other = Regression([make()], seed=9)
    other.interventions[0].load_state_dict(one.interventions[0].state_dict())
    other.module.load_state_dict(one.module.state_dict())
    other.optimizers[0].load_state_dict(copy.deepcopy(one.optimizers[0].state_dict()))
    other.x, other.y, other.gradient_steps = one.x, one.y, one.gradient_steps
    one.edits.clear()
    for learner in (one, other):
        learner.train(20)
    assert one.count() == other.count() > 0
    for name, tensor in one.module.state_dict().items():
        assert torch.equal(tensor, other.module.state_dict()[name])


def test_state_of_other_networks_is_refused() -> None:
    reset, other = GXD(), GXD()
    reset.attach(Regression([]))
    narrow = Regression([])
    narrow.networks = {"other": Network("other", (), ())}
    with pytest.raises(ValueError, match="no hidden units"):
        other.attach(narrow)
    state = {key.replace("net.1", "net.7"): tensor for key, tensor in reset.state_dict().items()}
    with pytest.raises(ValueError, match=r"gxd: the saved state is of other networks.*net\.7"):
        reset.load_state_dict(state)


def test_seeds_differ_by_every_part_and_are_the_same_everywhere() -> None:
    seeds = {derive_seed(*parts) for parts in [(1, "gxd"), (2, "gxd"), (1, "redo"), (1, "gxd", "actor.0"), (1,)]}
    assert len(seeds) == 5
    assert derive_seed(1, "gxd") == 6556830718758049422
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_what_is_drawn_depends_on_the_runs_seed() -> None:
    drawn = []
    for seed in (1, 1, 2):
        learner = Regression([])  # the same weights and data for all
        learner.seed, learner.interventions = seed, [GXD(rate=1.0, period=1, maturity=0, score_every=1)]
        learner.interventions[0].attach(learner)
        learner.train(1)
        drawn.append(learner.module[0].weight.detach().clone())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_reset_that_joins_a_trained_learner_waits_for_its_period_and_for_maturity() -> None:
    learner = Regression([])
    learner.train(25)
    reset = GXD(rate=0.01, period=10, maturity=12, score_every=1)
    learner.interventions = [reset]
    reset.attach(learner)
    for _ in range(30):
        learner.train(1)
    # Periods end at 30, 40 and 50; units are 12 steps old from 37 on.
    assert learner.resets_at() == [40, 50]


def test_a_score_that_is_not_finite_is_passed_over() -> None:
    learner = Regression([GXD(rate=0.01, period=10, maturity=0, score_every=1)])
    learner.train(9)
    reset = learner.interventions[0]
    before = reset.state_dict()["utility/net.0"]
    for bad in (torch.nan, torch.inf):
        taps = {"net.0": (torch.full((64, 20), bad), torch.ones(64, 20))}
        reset.after_backward(Update(("net",), None, {}, None, 0.0, 9, taps))
    assert torch.equal(reset.state_dict()["utility/net.0"], before)
    learner.train(1)
    assert learner.count() == 4


def test_units_without_a_score_do_not_move_the_threshold() -> None:
    """Half the layer is new and unscored when the others, all alike, are looked at: none is below half the mean."""
    learner = Regression([ReGraMa(tau=0.9, period=2, maturity=0, cap=1.0)])
    reset = learner.interventions[0]
    reset.score = lambda layer, update: torch.ones(layer.units)
    learner.train(1)
    reset.on_surgery(Edit({"net.0": torch.arange(20) < 10, "net.1": torch.arange(20) < 10}))
    reset.score = lambda layer, update: None
    learner.train(1)
    assert len(learner.edits) == 1
    assert learner.count() == 0


def test_layers_without_a_signal_are_told() -> None:
    reset = GXD(rate=0.5, period=2, maturity=0, score_every=1)
    learner = Regression([reset])
    assert reset.metrics() == {"gxd/net/no_signal": 0.0}
    learner.train(2)
    assert reset.metrics() == {"gxd/net/no_signal": 0.0}
    learner = Regression([reset])
    learner.y = learner.module(learner.x).detach()
    for _ in range(3):
        learner.train(2)
    assert reset.metrics() == {"gxd/net/no_signal": 6.0}  # two layers, three selections


class HostWaitError(RuntimeError):
    """A tensor's value was asked for on the host."""


@pytest.mark.parametrize("reset", [
    lambda: GXD(rate=0.05, period=1, maturity=2, score_every=1),
    lambda: ReDo(tau=0.5, period=1),
    lambda: ReGraMa(tau=0.9, period=1, maturity=2),
])  # fmt: skip
def test_nothing_waits_for_the_device(reset, monkeypatch: pytest.MonkeyPatch) -> None:
    """With early exits off no hook looks at a tensor's value; the result is that with early exits on."""

    def run(watched: bool) -> dict[str, torch.Tensor]:
        learner = Regression([reset()])
        for name in ("after_backward", "after_step", "after_update"):
            hook = getattr(learner.interventions[0], name)

            def guarded(*arguments, hook=hook):
                with monkeypatch.context() as patch:
                    if watched:
                        patch.setattr("agents.plasticity.surgery.may_branch", lambda device: False)
                        for method in (
                            "item",
                            "tolist",
                            "nonzero",
                            "cpu",
                            "__bool__",
                            "__int__",
                            "__float__",
                            "__index__",
                        ):
                            patch.setattr(torch.Tensor, method, refuse)
                    hook(*arguments)

            setattr(learner.interventions[0], name, guarded)
        learner.train(8)
        assert learner.count() > 0
        return {key: tensor.clone() for key, tensor in learner.module.state_dict().items()}

    def refuse(*arguments, **keywords):
        raise HostWaitError

    free, watched = run(False), run(True)
    assert all(torch.equal(free[key], watched[key]) for key in free)


WRONG = [
    (lambda: GXD(period=0), "period is 0; give a whole number of gradient steps of at least 1"),
    (lambda: GXD(period=2.5), r"period is 2\.5; give a whole number"),
    (lambda: GXD(period="10"), "period is '10'; give a whole number"),
    (lambda: GXD(rate=1.5), r"rate is 1\.5; give a share of units per gradient step between 0 and 1"),
    (lambda: GXD(rate=float("nan")), "rate is nan"),
    (lambda: GXD(maturity=-1), "maturity is -1; give a whole number of gradient steps of at least 0"),
    (lambda: GXD(score_every=True), "score_every is True"),
    (lambda: GXD(networks=[]), r"networks is \[\]; give a list of different networks"),
    (lambda: GXD(networks="actor"), r"networks is 'actor'; give a list of different networks"),
    (lambda: GXD(networks=["actor", "actor"]), r"networks is \['actor', 'actor'\]; give a list of different"),
    (lambda: ReDo(tau=-0.1), r"tau is -0\.1; give a threshold of at least 0"),
    (lambda: ReGraMa(cap=0), "cap is 0; give a share of a layer above 0"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_impossible_arguments_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_arguments_build_the_same_again() -> None:
    for reset in (GXD(rate=0.5, networks=["actor"]), ReDo(tau=0.1, allow_full=True), ReGraMa(cap=0.2, score_every=3)):
        assert type(reset)(**reset.arguments()).arguments() == reset.arguments()
    assert GXD().arguments() == {
        "networks": None, "rate": 1e-4, "period": 1000, "maturity": 1000, "score_every": 16,
    }  # fmt: skip
    assert ReDo().arguments() == {"networks": None, "tau": 0.025, "period": 1000, "maturity": 0, "allow_full": False}
    assert ReGraMa().arguments() == {
        "networks": None, "tau": 0.01, "period": 1000, "maturity": 1000, "score_every": 1, "cap": 0.05,
    }  # fmt: skip
    assert (GXD.decay, ReGraMa.decay) == (0.99, 0.9)
