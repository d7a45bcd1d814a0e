"""Adaptive replay ratio: data is learnt from more often once the critic is plastic again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch

from agents.plasticity.arrival import Arrival
from agents.plasticity.diagnostics.activations import LOWEST
from agents.plasticity.network_intervention import check_steps
from agents.plasticity.protocols import Edit, Intervention, Learner, Switch, Update
from agents.plasticity.units import UnitLayer
from agents.plasticity.validation import check

Rule = Literal["one_way", "two_way"]

INTERVAL = 12_500  # published: 50,000 frames, which are 25,000 actions, and a gradient step for every other one
INTERVAL_OF_VALUES = 2_000
WINDOW = 64_000  # transitions: published is one episode of 250 gradient steps on 256 each
RAISED = 4.0  # published: from 0.5 to 2
RAISED_EPOCHS = 2.5  # from 4 to 10
DROPS = 10.0


class Mode:
    """Whether a replay ratio is raised, decided by a series of fractions of active units.

    Args:
        threshold: it is raised where two successive fractions differ by no more.
        drop: how far one must be below the highest since then to lower it again; None for never.

    Attributes:
        raised: whether it is.
        last: the fraction before, with which the next one is compared; None where there is none.
        highest: of those since it was raised.
    """

    def __init__(self, threshold: float, drop: float | None) -> None:
        self._threshold, self._drop = threshold, drop
        self.raised = False
        self.last: float | None = None
        self.highest = 0.0

    def see(self, fraction: float, *, switched: bool) -> None:
        """Decide by the next fraction.

        Args:
            fraction: of active units.
            switched: a switch was revealed since the last one.
        """
        last, self.last = self.last, fraction
        if not self.raised:
            comparable = self._drop is None or not switched
            if comparable and last is not None and abs(fraction - last) <= self._threshold:
                self.raised, self.highest = True, fraction
        elif self._drop is not None:
            self.highest = max(self.highest, fraction)
            told = switched and last is not None and last - fraction > self._threshold
            if told or self.highest - fraction > self._drop:
                self.raised, self.last = False, None


class AdaptiveReplayRatio(Intervention):
    """Adaptive replay ratio: learn rarely from data until the critic is plastic again, then often (arXiv 2310.07418).

    Early in training a high replay ratio costs plasticity for good; once the fraction of active units of the critic
    (FAU, the share of its hidden activations that are above 0) has recovered, it is safe. Every `interval` gradient
    steps that fraction, the mean over the training minibatches of the last `window`, is compared with the one before;
    where they differ by at most `threshold` the replay ratio is raised from `low` to `high`. As published, with that
    for good (DrQ-v2 and DrQ(eps); the numbers are the published ones where not said otherwise, and data augmentation
    was part of all published results). Ours: the first fraction is compared with none, where the released code
    compares it with the first minibatch's, so that nothing is raised before two intervals have passed.

    The rule ``two_way`` is ours, for worlds that change. A fraction that is more than `drop` below the highest since
    the ratio was raised lowers it again: plasticity has dropped, whatever was the reason. Where a task switch was
    revealed since the comparison before, a fall of more than `threshold` does. Both begin anew, with two intervals to
    pass before it is raised again; fractions from before and after a revealed switch are not compared to raise it.

    Where a reset draws all these hidden layers anew as a whole (``oracle``, ``full_reset``), everything begins anew,
    with `low`; this is ours, too.

    With PPO the replay ratio is the number of epochs over each rollout. This is experimental: no paper has it.

    DQN copies its target network every so many steps of the games; while a replay ratio is set these are scaled so
    that there are as many gradient steps between copies as before, unless its `train_freq` counts episodes.

    Args:
        network: whose hidden units tell; None for ``critic``, or for ``features`` where that has no hidden layer.
        low: gradient steps for each step of a game (PPO: epochs) at first; None for what the agent was given.
            Published is 0.5.
        high: after that; None for four times `low`, as published (2), or with PPO 2.5 times, in whole epochs.
        threshold: the fraction has settled where it changes by no more than this. More raises the ratio earlier.
        interval: gradient steps from one comparison to the next; None for 12,500, and with DQN 2,000. (The papers count
            50 episodes of 1,000 frames, half of which are actions that are learnt from at every other one, and 2,000.)
        window: gradient steps at its end that the fraction is the mean of; None for 64,000 transitions of minibatches,
            as in the papers' episode, and at most the interval. Fewer cost less and are noisier: noise hides that
            the fraction has settled.
        rule: ``one_way`` as published, or ``two_way``.
        drop: of ``two_way``, as above; None for ten times the threshold.
    """

    name = "adaptive_replay_ratio"
    tag = "replay"
    needs = frozenset({"activations"})
    of_units = True

    def __init__(
        self,
        *,
        network: str | None = None,
        low: float | None = None,
        high: float | None = None,
        threshold: float = 1e-3,
        interval: int | None = None,
        window: int | None = None,
        rule: Rule = "one_way",
        drop: float | None = None,
    ) -> None:
        check("network", network, network is None or isinstance(network, str), "the name of a network, such as critic")
        for key, ratio in (("low", low), ("high", high)):
            if ratio is not None:
                check(key, ratio, 0 < ratio < math.inf, "a number of gradient steps for each step of a game, above 0")
        check("threshold", threshold, 0 <= threshold < 1, "a difference of fractions of at least 0 and below 1")
        for key, steps in (("interval", interval), ("window", window)):
            if steps is not None:
                check_steps(key, steps, 1)
        check("rule", rule, rule in ("one_way", "two_way"), "one_way or two_way")
        if low is not None and high is not None:
            check("high", high, high > low, f"a number above low, {low:g}")
        if drop is not None:
            check("drop", drop, threshold <= drop, f"a difference of fractions of at least threshold, {threshold:g}")
            if rule == "one_way":
                raise ValueError(f"drop is {drop:g}, but with rule one_way nothing is lowered; leave drop out")
        self.network, self.low, self.high, self.threshold = network, low, high, threshold
        self.interval, self.window, self.rule, self.drop = interval, window, rule, drop

    # ------------------------------------------------------------------ what it is of

    def attach(self, learner: Learner) -> None:
        self._learner = learner
        layers = self._layers_of(learner)
        self._layers = frozenset(layer.name for layer in layers)
        self._weights = {layer.producer.weight for layer in layers}
        self._every = self._interval_of(learner)
        self._low = self._ratio(learner)
        self._high = self._raised(learner)
        if self._high <= self._low:
            raise ValueError(f"{self.name}: high is {self._high:g}, but low is {self._low:g}; give a higher one")
        self._active = torch.zeros((), dtype=torch.int64, device=learner.device)
        self._fraction: float | None = None
        self._begin()
        self._put_in_force()

    def _begin(self) -> None:
        """Nothing has been seen, and the ratio is not raised."""
        drop = DROPS * self.threshold if self.drop is None else self.drop
        self._mode = Mode(self.threshold, drop if self.rule == "two_way" else None)
        self._switched = False
        self._active.zero_()
        self._seen = 0  # activations
        self._sent: list[tuple[Arrival, int, bool]] = []  # in this update: active ones of so many, and after a switch
        self._arriving: list[tuple[Arrival, int, bool]] = []  # in the one before

    def _layers_of(self, learner: Learner) -> tuple[UnitLayer, ...]:
        networks = learner.networks
        wanted = [self.network] if self.network is not None else ["critic", "features"]
        found = next((name for name in wanted if name in networks and networks[name].layers), None)
        if found is None:
            known = [name for name, network in networks.items() if network.layers]
            raise ValueError(
                f"{self.name}: {' and '.join(wanted)} "
                f"{'has' if len(wanted) == 1 else 'have'} no hidden units in this policy (with hidden units: "
                f"{', '.join(known) or 'none'}); give network one that has, or a hidden layer with net_arch"
            )
        layers = networks[found].layers
        for layer in layers:
            if layer.fold > 1 or type(layer.tap) in LOWEST:
                raise ValueError(
                    f"{self.name}: the units of {layer.name} are above 0 about half of the time, whatever they have "
                    f"lost, because of {type(layer.tap).__name__}; give the network activation relu, or another network"
                )
        return layers

    def _interval_of(self, learner: Learner) -> int:
        """Gradient steps between comparisons."""
        if self.interval is not None:
            return self.interval
        values_alone = all(form.kind == "values" for form in learner.output_forms.values())
        return INTERVAL_OF_VALUES if values_alone else INTERVAL

    @property
    def _window(self) -> int:
        """Gradient steps that a fraction is of."""
        size = self._learner.batch_size
        wanted = self.window or (self._every if size is None else math.ceil(WINDOW / size))
        return min(wanted, self._every)

    def _ratio(self, learner: Learner) -> float:
        """The replay ratio to begin with."""
        try:
            given = learner.given_replay_ratio
        except NotImplementedError as error:
            raise ValueError(f"{self.name}: {error}") from error
        low = given if self.low is None else self.low
        if low is None:
            raise ValueError(
                f"{self.name}: train_freq counts episodes, so that the replay ratio is not known; give low"
            )
        if not low:
            raise ValueError(f"{self.name}: the agent makes no gradient steps; give low, how many for each step")
        return self._whole("low", low, learner)

    def _raised(self, learner: Learner) -> float:
        if self.high is not None:
            return self._whole("high", self.high, learner)
        return self._low * RAISED if learner.replays else float(math.ceil(self._low * RAISED_EPOCHS))

    def _whole(self, key: str, ratio: float, learner: Learner) -> float:
        if not learner.replays and not float(ratio).is_integer():
            raise ValueError(f"{self.name}: {key} is {ratio:g}, but of this learner these are epochs; give whole ones")
        return float(ratio)

    def claims(self) -> dict[str, list[str]]:
        return {"set {}": ["the replay ratio"]}

    def hindrance(self, steps: int) -> str | None:
        now = self._learner.optimizer_steps
        due = (now + steps) // self._every - now // self._every
        return f"interval {self._every:,}" if due < 1 + (self._mode.last is None) else None

    # ------------------------------------------------------------------ hooks

    def taps_at(self, step: int) -> bool:
        return -step % self._every < self._window

    def after_backward(self, update: Update) -> None:
        seen = [tapped[0] for name, tapped in update.taps.items() if name in self._layers]
        if not seen or not self.taps_at(update.step):  # another network's step; taps that another one asked for
            return
        self._active += torch.stack([(activations > 0).sum() for activations in seen]).sum()
        self._seen += sum(activations.numel() for activations in seen)
        if update.step % self._every == 0:
            self._sent.append((Arrival(self._active), self._seen, self._switched))
            self._active.zero_()
            self._seen, self._switched = 0, False

    def after_update(self) -> None:
        for active, seen, switched in self._arriving:
            self._fraction = int(active.read()) / seen
            before = self._mode.raised
            self._mode.see(self._fraction, switched=switched)
            if self._mode.raised != before:
                self._put_in_force()
        # An update later they are there: a GPU need not be waited for.
        self._arriving, self._sent = self._sent, []

    def on_task_switch(self, switch: Switch) -> None:
        self._switched = True

    def on_surgery(self, edit: Edit) -> None:
        """Hidden layers that are all new are learnt from as the first ones were."""
        if self._weights <= set(edit.tensors):
            self._begin()
            self._put_in_force()

    def _put_in_force(self) -> None:
        ratio, learner = self._high if self._mode.raised else self._low, self._learner
        # One that is in force already is not set: without a change the learner is as without this.
        if learner.given_replay_ratio is None or learner.replay_ratio != ratio:
            learner.replay_ratio = ratio

    # ------------------------------------------------------------------ state and log

    def state_dict(self) -> dict[str, Any]:
        waiting = [*self._arriving, *self._sent]
        return {
            "raised": self._mode.raised,
            "last": self._mode.last,
            "highest": self._mode.highest,
            "switched": self._switched,
            "active": self._active.clone(),
            "seen": self._seen,
            "fraction": self._fraction,
            "arriving": [[int(active.read()), seen, switched] for active, seen, switched in waiting],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._mode.raised, self._mode.last, self._mode.highest = state["raised"], state["last"], state["highest"]
        self._put_in_force()
        self._switched = state["switched"]
        self._active.copy_(state["active"])
        self._seen, self._fraction = state["seen"], state["fraction"]
        self._arriving = [
            (Arrival(torch.tensor(active)), seen, switched) for active, seen, switched in state["arriving"]
        ]

    def idle(self) -> str | None:
        if self._mode.raised or self._mode.highest:  # or was raised, and lowered again
            return None
        if self._learner.optimizer_steps // self._every < 2:
            return f"no two intervals of {self._every:,} gradient steps ended"
        return f"the fraction of active units has not settled to within {self.threshold:g}"

    def metrics(self) -> dict[str, float]:
        """``ratio``, which is in force, and ``fau``, the last fraction of active units; nothing before there is one."""
        fraction = {} if self._fraction is None else {"fau": self._fraction}
        return {"ratio": self._learner.replay_ratio, **fraction}
