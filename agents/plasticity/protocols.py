"""What an intervention sees of a learner, and when it is called.

A learner trains; interventions keep its networks plastic. They meet here: a learner implements `Learner` and calls
the methods of `Intervention` at fixed points of its training loop, handing over an `Update` for every backward pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from agents.plasticity.outputs import Form
from agents.plasticity.replicas import Replicas
from agents.plasticity.schedule import is_scored
from agents.plasticity.units import Network

WARNINGS = "warnings/"  # beginning of the tags of numbers that are zero as long as all is well


@dataclass(frozen=True)
class Update:
    """What one backward pass saw.

    Attributes:
        networks: names of the networks that this backward reaches.
        batch: the minibatch, as the learner's buffer gives it.
        losses: name -> the RL loss's terms; ``losses["loss"]`` is the scalar that is differentiated. From
            `Intervention.after_backward` on they are detached: their graph is gone. Of a `PlasticOptimizer` that was
            not given the loss there are none, and a look at one raises LookupError.
        optimizer: the optimizer that will step on these gradients.
        learning_rate: its learning rate at this step.
        step: the learner's gradient step that it belongs to (the first is 1, see `Learner.optimizer_steps`), for all of
            its optimizers alike, also one that steps at only some of them, as TD3's actor's.
        taps: unit layer's name -> (a, dL/da) of the training forward alone, L being the RL loss without penalties and
            before clipping; shapes (batch, units) or (batch, channels, height, width). Filled only when an
            intervention asked for it at this step (`Intervention.needs` and `score_every`).
        preactivation_grads: unit layer's name -> gradient of the same loss with respect to what goes into the layer's
            activation function; filled as `taps`, for the layers of which that is known.
        network: whose update this is, by which an intervention tells apart the steps of a learner that makes several:
            ``critic`` and ``actor`` of SAC, ``critic`` of DQN; ``policy`` of PPO, where one loss trains all; of
            `PlasticOptimizer` the network that `Learner.outputs` is of.
        reference_batch: `Learner.batch_size` transitions of the data at hand (`Learner.sample`), drawn independently of
            `batch` and of training's generators; None unless an intervention needs it.
    """

    networks: tuple[str, ...]
    batch: Any
    losses: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer
    learning_rate: float
    step: int
    taps: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    preactivation_grads: Mapping[str, Tensor] = field(default_factory=dict)
    network: str = ""
    reference_batch: Any = None


@dataclass(frozen=True)
class Switch:
    """A boundary of the stream that the learner was shown: `task` has begun, as segment number `segment`."""

    task: str
    task_index: int
    segment: int


@dataclass(frozen=True)
class Edit:
    """A surgery: how much of which units was redrawn.

    Attributes:
        amounts: unit layer's name -> float tensor of shape (units,): 0 where a unit is as it was, 1 where it is new,
            between them where old and new weights were mixed.
        tensors: parameters that were drawn anew as a whole.
    """

    amounts: Mapping[str, Tensor]
    tensors: Sequence[Tensor] = ()

    @property
    def masks(self) -> dict[str, Tensor]:
        """Unit layer's name -> bool tensor of shape (units,), true for units that are wholly new."""
        return {name: amount >= 1 for name, amount in self.amounts.items()}


class NoDataError(LookupError):
    """A learner has no data to draw a sample from; the message says how to give it some."""


class Learner(Protocol):
    """What interventions and diagnostics may ask of a learner.

    Everything but the networks and optimizers is asked for only by what needs it: a learner that cannot `sample` still
    takes all interventions that score training minibatches.
    """

    @property
    def networks(self) -> Mapping[str, Network]:
        """The networks by their short names (``actor``, ``critic``, ``features``), with hidden units or without.

        The same graphs until modules or parameters are replaced; then new ones.
        """

    @property
    def root(self) -> nn.Module:
        """The module that holds all networks and target networks: `snapshot` names things as it does."""
        ...

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Every optimizer that steps on the networks' parameters."""

    @property
    def targets(self) -> Mapping[Tensor, Tensor]:
        """Parameter -> the parameter of a target network that follows it; empty without target networks."""

    seed: int | None
    num_timesteps: int
    device: torch.device
    replicas: Replicas
    """Processes that train copies of these networks: resets agree with them on what is reset."""

    @property
    def batch_size(self) -> int | None:
        """Transitions of a minibatch, and so of reference batches; None where it is not known."""

    @property
    def replays(self) -> bool:
        """Whether later updates learn from the same data too; of PPO, which drops it after its epochs, they do not."""
        ...

    @property
    def replay_ratio(self) -> float:
        """Gradient steps for each step of a game (arXiv 2310.07418); may be set, and holds from the next rollout on.

        PPO, which drops its data, makes so many epochs over each rollout instead.

        Raises:
            NotImplementedError: the learner does not decide it.
        """

    @replay_ratio.setter
    def replay_ratio(self, ratio: float) -> None: ...

    @property
    def given_replay_ratio(self) -> float | None:
        """`replay_ratio` as the learner was built, whatever has been set since; None where that does not tell it.

        Raises:
            NotImplementedError: the learner does not decide it.
        """

    def weigh_by_age(self, decay_steps: int, min_weight: float) -> None:
        """Draw replayed transitions with weights of max(`min_weight`, 1 - age / `decay_steps`) from now on.

        Minibatches, and what `sample` gives; ages are steps of the games.

        Raises:
            NotImplementedError: the learner draws none, or a buffer of its own kind does it in its own way.
        """

    @property
    def optimizer_steps(self) -> int:
        """How many optimizer steps have been made since training began."""

    @property
    def paper_networks(self) -> Sequence[str]:
        """Names of the networks that published resets act on, with hidden units or without."""

    def sample(self, n: int, generator: torch.Generator) -> Any:
        """At most `n` transitions of the data at hand, drawn with `generator` alone.

        Raises:
            NoDataError: this learner has no data to draw from; the message says how to give it some.
        """

    @property
    def output_forms(self) -> Mapping[str, Form]:
        """Output network's name -> what the columns of its `outputs` are."""
        ...

    def outputs(
        self, batch: Any, parameters: Mapping[str, Tensor] | None = None, names: Collection[str] | None = None
    ) -> Mapping[str, Tensor]:
        """Output network's name -> its outputs on the batch's observations, (batch, outputs); in evaluation mode.

        Args:
            batch: of `sample`, or the minibatch of an update.
            parameters: of `snapshot`, perhaps an old one: the outputs are those of the networks with these, which
                gradients reach where they take any (a snapshot's take none), and no taps record them. None for the
                parameters at hand: gradients reach them, so that a penalty can be taken of the outputs; what keeps
                outputs for later must `detach` them or take them in ``torch.no_grad()``, or it keeps their graph.
            names: of the output networks that are wanted, see `output_forms`; None for all.

        Raises:
            ValueError: the parameters are those of other networks; modules were replaced in between.
        """

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of all parameters and buffers as they are now, by the names of ``named_parameters()``."""

    def pack(self, batch: Any) -> Any:
        """A batch as nested dicts and lists of tensors and JSON values, for an intervention's `state_dict`."""

    def unpack(self, saved: Any) -> Any:
        """What `pack` was given, on the learner's device.

        Raises:
            ValueError: it is no batch.
        """

    def distributions(self, batch: Any) -> Sequence[torch.distributions.Distribution]:
        """The policy on the batch's observations, one distribution per independent part of an action.

        Empty where the policy is no distribution (DQN).
        """

    def td_targets(self, batch: Any) -> Any:
        """What the batch's losses draw values to by bootstrapping, which takes no gradient; None where nothing does."""

    def sample_losses(self, batch: Any, td_targets: Any = None) -> Mapping[str, Tensor]:
        """Network's name -> the RL loss that trains it, of each transition, (batch,); in evaluation mode.

        Pure: the same batch and parameters give the same numbers. Networks that are trained by one loss share one
        tensor; the mean over the batch is what is differentiated in training. Open taps record each network in the
        forward of its own loss; all other passes run inside `agents.plasticity.taps.untapped`.

        Args:
            batch: of `sample`.
            td_targets: of `td_targets`, taken before networks were changed, so that losses before and after are of
                the same targets; None for those of the parameters at hand.
        """

    def parameter_name(self, parameter: Tensor) -> str:
        """Where the networks have a parameter, for messages; such as ``action_net.weight``."""

    @property
    def schedules(self) -> Sequence[str]:
        """Names of the hyperparameters that change as training proceeds, and that `begin_anew` does not start over."""

    def begin_anew(self) -> None:
        """Forget all that was gathered beside the networks, as a learner that has just been built.

        Replayed transitions, exploration, normalisation, and what every optimizer remembers; at the end of this
        update, so that interventions that are called later in it may still look at the data.
        """

    def announce(self, edit: Edit, author: Intervention) -> None:
        """Tell the learner and all other interventions which units `author` has redrawn."""


class Intervention:
    """Base of everything that keeps networks plastic; a method overrides what it needs.

    Attributes:
        name: registry name, used for seeding, saving and logging.
        needs: of {"activations", "activation_grads", "preactivation_grads"}: what the learner must tap during the
            training backward; and "reference_batch", for `Update.reference_batch`. What nobody needs is neither hooked
            nor drawn.
        score_every: the taps are opened for this intervention at one gradient step in each `score_every`, all places of
            an iteration alike (`taps_at`).
        of_units: it acts on hidden units alone, so that networks without them are refused.
        uses_boundaries: it acts on task switches, so it needs a stream that reveals them.
        of_loss: its `penalty`, where it has one, may be taken of ``update.losses``; what says that it is not costs less
            where these need no graph otherwise (SAC with speed fast).
        tag: what the tags of its `metrics` begin with in the log; empty for its name.
        owner: the learner that it is attached to; an intervention holds the state of one learner's units.
    """

    name: str = ""
    tag: str = ""
    needs: frozenset[str] = frozenset()
    score_every: int = 1
    of_units: bool = False
    uses_boundaries: bool = False
    of_loss: bool = True
    owner: Learner | None = None

    def taps_at(self, step: int) -> bool:
        """Whether it needs the taps of gradient step `step`."""
        return bool(self.needs - {"reference_batch"}) and is_scored(step, self.score_every)

    def hindrance(self, steps: int) -> str | None:
        """What will keep it from doing anything in the next `steps` gradient steps; None where it may act.

        Such as ``period 1,000``.
        """
        return None

    def idle(self) -> str | None:
        """Why it has done nothing till now, as far as it knows; asked where no unit has been reset. Waits for a GPU.

        Such as ``no period of 1,000 gradient steps has ended``.
        """
        return None

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that build this intervention again: plain data, kept under the same attributes."""
        return {key: getattr(self, key) for key in inspect.signature(type(self)).parameters}

    def attach(self, learner: Learner) -> None:
        """The networks are built: look at them, refuse what cannot work.

        Called again after a load, and where modules or parameters were replaced and the graph was built anew.
        """

    def claims(self) -> Mapping[str, Collection[str]]:
        """What it does and nobody else may do too -> to what it does that; asked after `attach`.

        Such as ``{"reset {} every 1,000 gradient steps": ["actor.0", "actor.1"]}``: a list in which two interventions
        would reset ``actor.0`` on one schedule is refused.
        """
        return {}

    def penalty(self, update: Update) -> Tensor | None:
        """A term that is added to this backward's loss before clipping, or None.

        It is differentiated apart from the loss, and `update.taps` is still empty. Of a learner that makes several
        steps it is asked at each, and `update.network` names the one that this is. In a training loop that has made the
        loss's backward itself, it is clipped by `PlasticOptimizer.step` alone, and may not be taken of the loss, whose
        graph is gone.
        """
        return None

    def after_backward(self, update: Update) -> None:
        """Gradients of RL loss and penalties are in ``.grad``, not yet clipped, unless a loop of one's own did that."""

    def after_step(self, update: Update) -> None:
        """The optimizer has stepped."""

    def after_update(self) -> None:
        """End of one ``train()``: the place for resets and probes."""

    def on_task_switch(self, switch: Switch) -> None:
        """A boundary was revealed; delivered before the next `after_update`, never in the middle of a rollout."""

    def on_surgery(self, edit: Edit) -> None:
        """Another intervention has redrawn these units: move ages, means and anchors along."""

    def state_dict(self) -> dict[str, Any]:
        """All that must survive saving and loading: nested dicts (keys: str) and lists of tensors and JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, tuples as lists and tensors perhaps on the CPU; called after `attach`."""

    def metrics(self) -> dict[str, float]:
        """Scalars for the log, by tag, which may begin with its name; called once per row of the log.

        What is zero as long as all is well has a tag that begins with ``warnings/``: TensorBoard shows it last.
        """
        return {}
