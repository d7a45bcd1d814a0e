"""What an intervention sees of a learner, and when it is called.

A learner trains; interventions keep its networks plastic. They meet here: a learner implements `Learner` and calls
the methods of `Intervention` at fixed points of its training loop, handing over an `Update` for every backward pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from agents.plasticity.units import Network


@dataclass(frozen=True)
class Update:
    """What one backward pass saw.

    Attributes:
        networks: names of the networks that this backward reaches.
        batch: the minibatch, as the learner's buffer gives it.
        losses: name -> the RL loss's terms; ``losses["loss"]`` is the scalar that was differentiated.
        optimizer: the optimizer that will step on these gradients.
        learning_rate: its learning rate at this step.
        step: how many steps this optimizer has made once it makes this one (the first update has step 1).
        taps: unit layer's name -> (a, dL/da) of the training forward alone, L being the RL loss without penalties and
            before clipping; shapes (batch, units) or (batch, channels, height, width). Filled only when an
            intervention asked for it at this step (`Intervention.needs` and `score_every`).
    """

    networks: tuple[str, ...]
    batch: Any
    losses: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer
    learning_rate: float
    step: int
    taps: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Switch:
    """A boundary of the stream that the learner was shown: `task` has begun, as segment number `segment`."""

    task: str
    task_index: int
    segment: int


@dataclass(frozen=True)
class Edit:
    """A surgery: which units of which layers were redrawn.

    Attributes:
        masks: unit layer's name -> bool tensor of shape (units,), true for units that are new.
    """

    masks: Mapping[str, Tensor]


class Learner(Protocol):
    """What interventions and diagnostics may ask of a learner."""

    @property
    def networks(self) -> Mapping[str, Network]:
        """The networks that have hidden units, by their short names (``actor``, ``critic``, ``features``)."""
        ...

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Every optimizer that steps on the networks' parameters."""
        ...

    seed: int | None
    num_timesteps: int
    device: torch.device

    @property
    def gradient_steps(self) -> int:
        """How many optimizer steps have been made since training began."""
        ...

    def sample(self, n: int, generator: torch.Generator) -> Any:
        """At most `n` transitions of the data at hand, drawn with `generator` alone."""
        ...

    def outputs(self, batch: Any) -> Mapping[str, Tensor]:
        """Output network's name -> its outputs on the batch's observations, shape (batch, outputs)."""
        ...

    def losses(self, batch: Any) -> Mapping[str, Tensor]:
        """The RL loss and its terms on a batch, pure: the same batch and parameters give the same numbers."""
        ...

    def announce(self, edit: Edit, author: Intervention) -> None:
        """Tell the learner and all other interventions which units `author` has redrawn."""
        ...


class Intervention:
    """Base of everything that keeps networks plastic; a method overrides what it needs.

    Attributes:
        name: registry name, used for seeding, saving and logging.
        needs: of {"activations", "activation_grads"}: what the learner must tap during the training backward;
            what nobody needs is never hooked.
        score_every: the taps are opened for this intervention at every `score_every`-th gradient step.
        uses_boundaries: it acts on task switches, so it needs a stream that reveals them.
    """

    name: str = ""
    needs: frozenset[str] = frozenset()
    score_every: int = 1
    uses_boundaries: bool = False

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that build this intervention again: plain data, kept under the same attributes."""
        return {key: getattr(self, key) for key in inspect.signature(type(self)).parameters}

    def attach(self, learner: Learner) -> None:
        """The networks are built: look at them, refuse what cannot work. Called again after a load."""

    def penalty(self, update: Update) -> Tensor | None:
        """A term that is added to this backward's loss before clipping, or None. `update.taps` is still empty."""
        return None

    def after_backward(self, update: Update) -> None:
        """Gradients of RL loss and penalties are in ``.grad``, not yet clipped."""

    def after_step(self, update: Update) -> None:
        """The optimizer has stepped."""

    def after_update(self) -> None:
        """End of one ``train()``: the place for resets and probes."""

    def on_task_switch(self, switch: Switch) -> None:
        """A boundary was revealed; delivered before the next `after_update`, never in the middle of a rollout."""

    def on_surgery(self, edit: Edit) -> None:
        """Another intervention has redrawn these units: move ages, means and anchors along."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that must survive saving and loading, as tensors under flat names."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave; called after `attach`."""

    def metrics(self) -> dict[str, float]:
        """Scalars for the log, by tag."""
        return {}
