"""Interventions in a training loop of one's own: torch alone, no Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from agents.plasticity.hooks import Hooks
from agents.plasticity.protocols import Edit, Intervention, NoDataError, Switch, Update
from agents.plasticity.taps import Taps
from agents.plasticity.units import LiveNetworks, Network, sequential

Sample = Callable[[int, torch.Generator], Any]


class PlasticOptimizer:
    """An optimizer whose networks take interventions.

    Two lines of a training loop change: the forward pass runs inside `forward`, and `step` takes the loss. It
    implements the protocol `Learner`.

    Args:
        optimizer: that steps on the networks' parameters.
        networks: a tree of `nn.Sequential`, or unit graphs (`agents.plasticity.units`) of anything else, by name.
        interventions: called in this order.
        seed: of all that the interventions draw.
        sample: ``(n, generator) -> batch``, at most `n` examples of the data at hand, drawn with `generator` alone.
            Needed by what looks at a sample (ReDo, ``signal="outputs"``, the costs that resets log).
        sample_losses: ``batch -> (batch,)`` losses of each example; needed with `sample`. It is called in evaluation
            mode, except for the dropout of unit graphs, which do not hold it: switch that off in it.
        outputs: ``batch -> (batch, outputs)`` of the network, called in the same way; needed with `sample`.
        targets: parameter -> the parameter of a target network that follows it.

    Example::

        optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [GXD(rate=1e-3)])
        for x, y in data:
            with optimizer.forward():
                loss = (model(x) - y).square().mean()
            optimizer.step(loss)

    Raises:
        ValueError: a network is not understood or bears another name than its key, or an intervention does not fit
            it; the message says why.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        networks: nn.Module | Mapping[str, Network],
        interventions: Iterable[Intervention],
        *,
        seed: int = 0,
        sample: Sample | None = None,
        sample_losses: Callable[[Any], Tensor] | None = None,
        outputs: Callable[[Any], Tensor] | None = None,
        targets: Mapping[Tensor, Tensor] | None = None,
    ) -> None:
        self._live = _declared(networks) if isinstance(networks, Mapping) else _built(networks)
        _check_names(self.networks)
        self.interventions = list(interventions)
        self.optimizers = (optimizer,)
        self.targets: Mapping[Tensor, Tensor] = targets or {}
        self.seed: int | None = seed
        self.num_timesteps = 0
        self.optimizer_steps = 0
        self.device = next(p.device for network in self.networks.values() for p in network.parameters)
        if sample is not None and (sample_losses is None or outputs is None):
            missing = "sample_losses" if sample_losses is None else "outputs"
            raise ValueError(f"{missing} is None, but sample is given; give both functions of a batch with it")
        self._sample, self._sample_losses, self._outputs = sample, sample_losses, outputs
        self._hooks = Hooks(self, self.interventions)
        self._taps: Taps | None = None
        self._hooks.attach()

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Around the forward pass whose loss goes to `step`, and around nothing else."""
        with self._hooks.taps(self.optimizer_steps + 1) as self._taps:
            yield

    def step(self, loss: Tensor, *, max_grad_norm: float | None = None, update_ends: bool = True) -> None:
        """Backward, optimizer step, and the resets that are due. Old gradients are cleared first.

        Args:
            loss: a scalar, the mean over the minibatch.
            max_grad_norm: gradients are clipped to this norm.
            update_ends: resets may act now. False inside a sequence of steps that a reset must not disturb, such as
                PPO's epochs over one rollout; call `after_update` at its end.
        """
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
        )
        optimizer.zero_grad()
        update = self._hooks.backward(update, taps)
        if max_grad_norm is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
        optimizer.step()
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
        hooks = {"optimizer_steps": torch.tensor(self.optimizer_steps), **self._hooks.state_dict()}
        return {"optimizer": self.optimizers[0].state_dict(), "interventions": hooks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.optimizers[0].load_state_dict(state["optimizer"])
        self.optimizer_steps = int(state["interventions"]["optimizer_steps"])
        self._hooks.load_state_dict(state["interventions"])

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

    def outputs(self, batch: Any) -> Mapping[str, Tensor]:
        """The last network's name -> its outputs, (batch, outputs)."""
        assert self._outputs is not None
        with self._evaluation():
            return {list(self.networks)[-1]: self._outputs(batch)}

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


def _built(model: nn.Module) -> LiveNetworks:
    """The unit graph of a model, as the network ``net``."""
    return LiveNetworks(lambda: (model,), lambda: {"net": sequential(model)})


def _declared(networks: Mapping[str, Network]) -> LiveNetworks:
    """Unit graphs that the caller has made, who alone knows what else there is."""
    modules = tuple(dict.fromkeys(part.module for network in networks.values() for part in network.parts))
    parameters = {parameter for network in networks.values() for parameter in network.parameters}

    def build() -> Mapping[str, Network]:
        if any(parameter not in parameters for module in modules for parameter in module.parameters(recurse=False)):
            raise ValueError(
                "a parameter was replaced after its unit graph was declared; declare the graph of what is there now, "
                "and build PlasticOptimizer with it"
            )
        return networks

    return LiveNetworks(lambda: modules, build)


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
