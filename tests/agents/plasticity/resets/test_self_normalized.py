"""Self-normalized resets: how long units are silent, how likely that is, and what is reset for it."""

from __future__ import annotations

import math

import pytest
import torch
from small_loop import Regression
from torch import nn

from agents.plasticity import SNR, PlasticOptimizer, UnitReset
from agents.plasticity.criteria import silence
from agents.plasticity.layers import CReLU, Fourier
from agents.plasticity.resets.silence import REMEMBERED, Silence

CPU = torch.device("cpu")


def batches(*fired: str) -> Silence:
    """Of minibatches of two examples, in each of which the units of an x fire in the second example."""
    heard = Silence(len(fired[0]), CPU)
    for each in fired:
        second = torch.tensor([float(unit == "x") for unit in each])
        heard.take_in(torch.stack([torch.zeros_like(second), second]))
    return heard


def test_silences_are_counted_in_examples() -> None:
    heard = batches("x..", "x..", "x..", "xx.", "x..")
    assert heard.silent.tolist() == [0, 2, 10]
    geometric = [REMEMBERED**n for n in range(5)]
    torch.testing.assert_close(heard.firings, torch.tensor([sum(geometric), 1.0, 0.0]))
    torch.testing.assert_close(heard.between, torch.tensor([2 * sum(geometric), 8.0, 0.0]))
    heard.clear(torch.tensor([True, False, False]))
    assert heard.silent.tolist() == [0, 2, 10]
    assert heard.firings.tolist() == [0, 1, 0]
    assert heard.between.tolist() == [0, 8, 0]


def test_a_unit_fires_at_any_position_and_with_any_of_its_values() -> None:
    channels = torch.zeros(3, 2, 4, 4)
    channels[1, 0, 2, 3] = 0.1
    halves = torch.zeros(3, 2, 2)
    halves[2, 0, 1] = 0.1
    for a in (channels, halves):
        heard = Silence(2, CPU)
        heard.take_in(a)
        assert heard.silent.tolist() == [0, 3]


def test_probabilities_worked_out_by_hand() -> None:
    silent = torch.tensor([0.0, 6.0, 6.0, 0.0, 99.0, 100.0, 100.0])
    firings = torch.tensor([0.0, 1.0, 3.0, 3.0, 0.0, 0.0, 3.0])
    between = torch.tensor([0.0, 2.0, 6.0, 6.0, 0.0, 0.0, 6.0])
    # Never fired: nothing is known; 2 of 2 + 6 examples; (6 of 6 + 6) to the third; not silent; too long for any
    expected = torch.tensor([1.0, 1 / 4, 1 / 8, 1.0, 1.0, 0.0, 0.0])
    torch.testing.assert_close(silence(silent, firings, between, longest=100), expected)


def test_many_firings_tell_the_tail_of_independent_ones() -> None:
    n, mean, quiet = 1e4, 5.0, 12.0
    found = silence(torch.tensor([quiet]), torch.tensor([n]), torch.tensor([n * mean]))
    assert float(found) == pytest.approx(math.exp(-quiet / mean), rel=1e-3)


def test_the_threshold_is_that_of_a_histogram_where_firings_are_independent() -> None:
    """A unit that fires in one of twenty minibatches: the published quantile of its own times, to within a fifth."""
    fired = torch.rand(40_000, generator=torch.Generator().manual_seed(0)) < 0.05
    at = fired.nonzero().flatten().double()
    quantile = float((at[1:] - at[:-1]).quantile(1 - 0.08))
    heard = Silence(1, CPU)
    for one in fired[-4000:].tolist():
        heard.take_in(torch.full((1, 1), float(one)))
    silences = torch.arange(200.0)
    of = [each.expand(200) for each in (heard.firings, heard.between)]
    ours = int((silence(silences, *of) <= 0.08).nonzero()[0])
    assert abs(ours - quantile) < 0.2 * quantile  # of the last hundred firings alone


class Feed:
    """One hidden layer whose units are 1 for the inputs that are given, and 0 for others."""

    def __init__(self, reset: UnitReset, units: int = 3) -> None:
        self.module = nn.Sequential(nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 2))
        with torch.no_grad():
            self.module[0].weight.copy_(torch.eye(units))
            self.module[0].bias.zero_()
        self.learner = PlasticOptimizer(torch.optim.SGD(self.module.parameters(), lr=0.0), self.module, [reset])

    def __call__(self, *fired: str) -> list[int]:
        """The units that have been reset in a minibatch for each text, as in `batches`; they go on as they were."""
        weight = self.module[0].weight
        for each in fired:
            x = torch.tensor([[float(unit == "x") for unit in each]] * 2)
            with self.learner.forward():
                loss = self.module(x).sum()
            self.learner.step(loss)
        found = (weight.detach() != torch.eye(len(weight))).any(1).nonzero().flatten().tolist()
        with torch.no_grad():
            weight.copy_(torch.eye(len(weight)))
            self.module[0].bias.zero_()
        return found


def test_what_falls_silent_is_reset_and_what_is_silent_often_is_not() -> None:
    feed = Feed(SNR(eta=0.05, paper=True))
    for _ in range(30):
        assert feed("xx.", "x..", "x..", "x..") == []
    # Of 70 remembered firings 2 examples apart, (140 / (140 + s))^70 is 1 in 20 at s = 6.1. Of 26.0, all but the first
    # of which were 8 examples apart and 203.8 in all, at s = 24.9, of which the second has waited 6 already.
    found = [feed("...") for _ in range(16)]
    assert [number for number, units in enumerate(found) if 0 in units] == [3]
    assert [number for number, units in enumerate(found) if 1 in units] == [9]
    assert not any(2 in units for units in found)  # it has never fired


def test_nothing_is_silent_for_longer_than_the_longest() -> None:
    feed = Feed(SNR(eta=0.0, longest=8, paper=True))
    assert [feed("x..") for _ in range(5)] == [[], [], [], [1, 2], []]
    assert [feed("xx.") for _ in range(3)] == [[], [], [2]]


def test_a_probability_of_none_is_no_reset() -> None:
    learner, plain = Regression([SNR(eta=0.0, period=1)]).train(3), Regression().train(3)
    assert all(torch.equal(p, plain.parameters()[name]) for name, p in learner.parameters().items())


def test_only_minibatches_that_are_looked_at_count() -> None:
    reset = SNR(score_every=4)
    learner = Regression([reset]).train(16)
    assert learner.metrics()["warnings/snr/net/not_finite"] == 0
    state = reset.state_dict()
    assert torch.equal(state["between/net.0"], 64 * state["firings/net.0"])
    assert float(state["firings/net.0"][0]) == pytest.approx(sum(REMEMBERED**n for n in range(4)))


def test_what_is_not_finite_has_fired() -> None:
    heard = Silence(2, CPU)
    heard.take_in(torch.tensor([[torch.nan, 0.0], [0.0, torch.inf]]))
    assert heard.silent.tolist() == [0, 0]
    assert all(tensor.isfinite().all() for tensor in heard.tensors().values())


def test_it_goes_on_where_it_stood() -> None:
    def feed() -> Feed:
        torch.manual_seed(0)
        return Feed(SNR(eta=0.05, period=2, score_every=1))

    whole, half, other = feed(), feed(), feed()
    shown = ["xx.", "x..", "x.x"] * 6
    for one in (whole, half):
        one(*shown)
    other.learner.load_state_dict(half.learner.state_dict())
    other.module.load_state_dict(half.module.state_dict())
    found = [whole("...") for _ in range(12)]
    assert found == [other("...") for _ in range(12)]
    assert any(found)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.SiLU, nn.GELU, nn.LeakyReLU, CReLU, Fourier])
def test_units_that_are_never_silent_are_refused(activation: type[nn.Module]) -> None:
    width = 8 if issubclass(activation, CReLU | Fourier) else 4
    model = nn.Sequential(nn.Linear(4, 4), activation(), nn.Linear(width, 3))
    message = (
        r"^net\.0: the criterion 'silence' looks at how long units put out 0, which they never do behind "
        rf"{activation.__name__}; build net with ReLU, or leave it out of networks$"
    )
    with pytest.raises(ValueError, match=message):
        Regression([SNR()], model=model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eta": 1.5}, r"^eta is 1\.5; give a probability between 0 and 1"),
        ({"longest": 0}, "^longest is 0; give a whole number of examples of at least 1"),
        ({"longest": 2.5}, r"^longest is 2\.5; give a whole number of examples"),
        ({"period": 0}, "^period is 0; give a whole number of gradient steps of at least 1"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SNR(**arguments)  # type: ignore[arg-type]


def test_it_is_the_general_form() -> None:
    reset = SNR()
    assert (reset.eta, reset.longest, reset.period, reset.score_every) == (0.08, 20_000, 1000, 16)
    paper = SNR(paper=True)
    assert (paper.period, paper.score_every, paper.maturity, paper.decay) == (1, 1, 0, 0.0)
    general = UnitReset(
        criterion={"name": "silence", "longest": 20_000},
        selection={"name": "absolute", "tau": 0.08, "allow_full": True},
        maturity=0,
        decay=0.0,
    )
    assert all(getattr(reset, key) == value for key, value in general.arguments().items())
