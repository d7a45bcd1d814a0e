"""Interventions in a training loop of one's own: torch alone, no Stable-Baselines3."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from agents.plasticity.functional import run_with, snapshot
from agents.plasticity.hooks import Hooks
from agents.plasticity.outputs import Form
from agents.plasticity.protocols import Edit, Intervention, NoDataError, Switch, Update
from agents.plasticity.replicas import ALONE, Replicas, process_group
from agents.plasticity.taps import Taps
from agents.plasticity.units import LiveNetworks, Network, Traced, network_of
from agents.plasticity.verified import verified

Sample = Callable[[int, torch.Generator], Any]
NO_REPLAY_RATIO = "a PlasticOptimizer has no replay ratio: the loop decides how often it steps"


class PlasticOptimizer:
    """An optimizer whose networks take interventions.

    Two lines of a training loop change: the forward pass runs inside `forward`, and `step` takes the loss. It
    implements the protocol `Learner`.

    Args:
        optimizer: that steps on the networks' parameters. Learning-rate schedulers are built on it.
        networks: a module, or several by name; its hidden layers are found by `sequential` in a tree of
            `nn.Sequential` and by `traced` in any other module. In place of a module may stand the unit graph that one
            of them gave, or that was declared (`agents.plasticity.units`).
        interventions: called in this order.
        seed: of all that the interventions draw.
        example: a batch of inputs of the module: a tensor, a tuple of arguments, or a dict of named ones; of several,
            by network's name. Needed where a forward cannot be traced without data. What was traced without is
            verified in the first `forward`.
        replicas: where a process group of torch.distributed is up, its processes train copies of these networks, by
            `DistributedDataParallel` or otherwise: they take the seed of the first process, share the means of their
            utilities, and so reset the same units alike. False where each process trains networks of its own.
        sample: ``(n, generator) -> batch``, at most `n` examples of the data at hand, drawn with `generator` alone.
            Needed by what looks at a sample (ReDo, ``signal="outputs"``, the costs that resets log).
        sample_losses: ``batch -> (batch,)`` losses of each example; needed with `sample`. It is called in evaluation
            mode, except for the dropout of unit graphs, which do not hold it: switch that off in it.
        outputs: ``batch -> (batch, outputs)`` of the network, called in the same way; needed with `sample`.
        targets: parameter -> the parameter of a target network that follows it.
        batch_size: examples of a reference batch, for interventions that need one; then `sample` is needed, too.

    Example::

        optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [GXD(rate=1e-3)])
        for x, y in data:
            with optimizer.forward():
                loss = (model(x) - y).square().mean()
            optimizer.step(loss)

    Raises:
        ValueError: a network is not understood or bears another name than its key, an intervention does not fit
            it, or the optimizer needs a closure (LBFGS); the message says why.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        networks: nn.Module | Mapping[str, nn.Module | Network],
        interventions: Iterable[Intervention],
        *,
        seed: int = 0,
        example: Any = None,
        replicas: bool = True,
        sample: Sample | None = None,
        sample_losses: Callable[[Any], Tensor] | None = None,
        outputs: Callable[[Any], Tensor] | None = None,
        targets: Mapping[Tensor, Tensor] | None = None,
        batch_size: int | None = None,
    ) -> None:
        _refuse_closure(optimizer)
        if isinstance(networks, nn.Module):
            networks, example = {"net": networks}, {"net": example}
        self._live = _live(networks, {} if example is None else _by_name(example, networks))
        _check_names(self.networks)
        self.interventions = list(interventions)
        self.optimizers = (optimizer,)
        self.targets: Mapping[Tensor, Tensor] = targets or {}
        self.batch_size = batch_size
        self.num_timesteps = 0
        self.optimizer_steps = 0
        self.device = next(p.device for network in self.networks.values() for p in network.parameters)
        self.replicas = Replicas(process_group()) if replicas else ALONE
        self.seed: int | None = self.replicas.first(seed, self.device)
        if sample is not None and (sample_losses is None or outputs is None):
            missing = "sample_losses" if sample_losses is None else "outputs"
            raise ValueError(f"{missing} is None, but sample is given; give both functions of a batch with it")
        self._sample, self._sample_losses, self._outputs = sample, sample_losses, outputs
        self._hooks = Hooks(self, self.interventions)
        self._taps: Taps | None = None
        self._hooks.attach()

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Around the forward pass whose loss goes to `step`, and around nothing else.

        Raises:
            ValueError: a module does something else than what was traced, or is not run as a whole.
        """
        with verified(self.networks.values()), self._hooks.taps(self.optimizer_steps + 1) as self._taps:
            yield

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's, whose learning rates may be set."""
        return self.optimizers[0].param_groups

    def step(
        self,
        loss: Tensor | None = None,
        *,
        max_grad_norm: float | None = None,
        update_ends: bool = True,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        """Backward, optimizer step, and the resets that are due. Old gradients are cleared first.

        Args:
            loss: a scalar, the mean over the minibatch; not scaled.
            max_grad_norm: gradients are clipped to this norm.
            update_ends: resets may act now. False inside a sequence of steps that a reset must not disturb, such as
                PPO's epochs over one rollout; call `after_update` at its end.
            scaler: scales the loss, lets the optimizer step unless gradients are not finite, and is updated. A step
                that it leaves out counts like any other, but what is not finite enters no utility.
        """
        if loss is None:
            raise TypeError(
                "step was called without the loss; call step(loss), and with a GradScaler step(loss, scaler=scaler) in "
                "place of scaler.step and scaler.update"
            )
        if self._taps is None:
            raise RuntimeError("step was called without a forward pass; compute the loss inside `with forward():`")
        taps, self._taps = self._taps, None
        (optimizer,) = self.optimizers
        self.optimizer_steps += 1
        update = Update(
            networks=tuple(self.networks),
            batch=None,
            losses={"loss": loss},
            optimizer=optimizer,
            learning_rate=optimizer.param_groups[0]["lr"],
            step=self.optimizer_steps,
            network=list(self.networks)[-1],
        )
        optimizer.zero_grad()
        update = self._hooks.backward(update, taps, scaler)
        if max_grad_norm is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        self._hooks.after_step(update)
        if update_ends:
            self.after_update()

    def after_update(self, *switches: Switch) -> None:
        """Let the resets act that are due.

        Args:
            switches: task switches since the last call, for interventions that act on these.
        """
        self._hooks.after_update(switches)

    def units_reset(self) -> dict[str, int]:
        """How many units have been reset in each network."""
        return self._hooks.units_reset()

    def metrics(self) -> dict[str, float]:
        """What the interventions want to log, by tag."""
        return self._hooks.metrics()

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's and the interventions' state."""
        return {
            "optimizer": self.optimizers[0].state_dict(),
            "optimizer_steps": self.optimizer_steps,
            "hooks": self._hooks.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.optimizers[0].load_state_dict(state["optimizer"])
        self.optimizer_steps = state["optimizer_steps"]
        self._hooks.load_state_dict(state["hooks"])

    # ------------------------------------------------------------------ the protocol `Learner`

    @property
    def networks(self) -> Mapping[str, Network]:
        """The unit graphs by name; of a model they are built anew where one of its modules has been replaced.

        Raises:
            ValueError: what has been put in its place is not understood.
        """
        return self._live.now()

    def parameter_name(self, parameter: Tensor) -> str:
        """Where the model has a parameter."""
        return self._live.name_of(parameter)

    @property
    def schedules(self) -> tuple[()]:
        """None that are known: the learning rate's are the caller's."""
        return ()

    @property
    def replay_ratio(self) -> float:
        """Not known.

        Raises:
            NotImplementedError: always; also where it is set.
        """
        raise NotImplementedError(NO_REPLAY_RATIO)

    @replay_ratio.setter
    def replay_ratio(self, ratio: float) -> None:
        raise NotImplementedError(NO_REPLAY_RATIO)

    @property
    def paper_networks(self) -> Sequence[str]:
        """All of them."""
        return tuple(self.networks)

    def sample(self, n: int, generator: torch.Generator) -> Any:
        """At most `n` examples.

        Raises:
            NoDataError: no `sample` function was given.
        """
        if self._sample is None:
            raise NoDataError("PlasticOptimizer has no data; give it sample, sample_losses and outputs")
        return self._sample(n, generator)

    def td_targets(self, batch: Any) -> None:
        """None: whatever the losses are taken against is the caller's."""

    def sample_losses(self, batch: Any, td_targets: Any = None) -> Mapping[str, Tensor]:
        """Every network's name -> the losses, (batch,)."""
        assert self._sample_losses is not None
        with self._evaluation():
            losses = self._sample_losses(batch)
        return dict.fromkeys(self.networks, losses)

    @property
    def output_forms(self) -> Mapping[str, Form]:
        """The last network's name -> values, of which nothing more is known."""
        return {list(self.networks)[-1]: Form()}

    def outputs(
        self, batch: Any, parameters: Mapping[str, Tensor] | None = None, names: Collection[str] | None = None
    ) -> Mapping[str, Tensor]:
        """The last network's name -> its outputs, (batch, outputs); with these parameters, where some are given."""
        assert self._outputs is not None
        with self._evaluation():
            if parameters is None:
                found = self._outputs(batch)
            else:
                found = run_with(self._live.root, parameters, self._outputs, batch)
        return {list(self.networks)[-1]: found}

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of all parameters and buffers as they are now; of several networks their names begin with a number."""
        return snapshot(self._live.root)

    def pack(self, batch: Any) -> Any:
        """The batch as it is: the caller saves what `state_dict` gives."""
        return batch

    def unpack(self, saved: Any) -> Any:
        """What `pack` was given."""
        return saved

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        """The modules in evaluation mode; each back in its own afterwards."""
        training = [module for module in self._live.modules() if module.training]
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def distributions(self, batch: Any) -> Sequence[torch.distributions.Distribution]:
        """None: outputs have no meaning here."""
        return ()

    def begin_anew(self) -> None:
        """Forget what the optimizer remembers; data and exploration are the caller's."""
        self.optimizers[0].state.clear()

    def announce(self, edit: Edit, author: Intervention) -> None:
        """Tell the other interventions which units `author` has redrawn."""
        self._hooks.announce(edit, author)


def _refuse_closure(optimizer: torch.optim.Optimizer) -> None:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ValueError(
            f"{type(optimizer).__name__} computes the loss several times in a step, so that no one backward pass shows "
            "what units are worth; give an optimizer such as Adam"
        )


def _by_name(example: Any, networks: Mapping[str, Any]) -> Mapping[str, Any]:
    """The examples of several networks."""
    if not isinstance(example, Mapping) or not example.keys() <= networks.keys():
        raise ValueError(
            f"example is no mapping of networks' names to their inputs; the names are {', '.join(networks)}"
        )
    return example


def _live(given: Mapping[str, nn.Module | Network], examples: Mapping[str, Any]) -> LiveNetworks:
    """The unit graphs of modules, and those that the caller has made, who alone knows what else there is."""
    declared = [network for network in given.values() if isinstance(network, Network)]
    modules: list[nn.Module] = []
    for value in given.values():
        if isinstance(value, nn.Module | Traced):
            modules.append(value.module if isinstance(value, Traced) else value)
        else:
            modules += [part.module for part in value.parts]
    parameters = {parameter for network in declared for parameter in network.parameters}
    starts: dict[Tensor, float] = {}

    def build() -> Mapping[str, Network]:
        held = [parameter for network in declared for parameter in network.parameters]
        if any(parameter not in parameters for parameter in held) or any(_outgrown(network) for network in declared):
            raise ValueError(
                "a parameter was replaced after its unit graph was declared; declare the graph of what is there now, "
                "and build PlasticOptimizer with it"
            )
        networks = {
            name: network_of(value, name, None, examples.get(name), starts) if isinstance(value, nn.Module) else value
            for name, value in given.items()
        }
        starts.update(pair for network in networks.values() for pair in network.constants)
        return networks

    unique = tuple(dict.fromkeys(modules))
    return LiveNetworks(lambda: unique, build)


def _outgrown(network: Network) -> bool:
    """Whether the module that a graph was traced from has parameters that the graph does not know."""
    known = {*network.parameters, *(tensor for tensor, _ in network.constants)}
    return isinstance(network, Traced) and any(parameter not in known for parameter in network.module.parameters())


def _check_names(networks: Mapping[str, Network]) -> None:
    """Refuse networks without parameters, and those that updates would not find under their keys."""
    if not any(network.parameters for network in networks.values()):
        raise ValueError(f"networks has no parameters in {list(networks)}; give at least one network with its parts")
    for key, network in networks.items():
        for name in (network.name, *(layer.network for layer in network.layers)):
            if name != key:
                raise ValueError(
                    f"networks has {name!r} under the key {key!r}; give both one name, such as "
                    f"sequential(model, {key!r})"
                )
