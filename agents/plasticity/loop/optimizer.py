"""An optimizer whose networks take interventions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo

from agents.plasticity.compatibility import listed
from agents.plasticity.hooks import Hooks
from agents.plasticity.loop.learner import LoopLearner, Sample, by_name, check_names, live
from agents.plasticity.loop.passes import Passes
from agents.plasticity.protocols import Intervention, Switch, Update
from agents.plasticity.replicas import ALONE, Replicas, process_group
from agents.plasticity.units import Network
from agents.plasticity.verified import verified

STATE_DICT_HOOKS = (
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


class _Wrapped:
    """An attribute of the optimizer inside, which puts others in its place, such as in `load_state_dict`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, outer: PlasticOptimizer, owner: type) -> Any:
        return getattr(outer.optimizers[0], self._name)

    def __set__(self, outer: PlasticOptimizer, value: Any) -> None:
        setattr(outer.optimizers[0], self._name, value)


class PlasticOptimizer(LoopLearner, torch.optim.Optimizer):
    """An optimizer whose networks take interventions.

    The forward pass of a training loop runs inside `forward`; all else stays as it was. Parameter groups, state and
    defaults are those of the optimizer inside, so that learning-rate schedulers, scalers and clipping take this one in
    its place. It implements the protocol `Learner`.

    Args:
        optimizer: that steps on the networks' parameters.
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
            optimizer.zero_grad()
            with optimizer.forward():
                loss = (model(x) - y).square().mean()
            loss.backward()
            optimizer.step()

    Shorter, for `step` clears gradients and makes the backward of a loss that it is given::

        for x, y in data:
            with optimizer.forward():
                loss = (model(x) - y).square().mean()
            optimizer.step(loss)

    Raises:
        ValueError: a network is not understood or bears another name than its key, an intervention does not fit
            it, or the optimizer needs a closure (LBFGS) or is a PlasticOptimizer; the message says why.
    """

    param_groups: list[dict[str, Any]] = _Wrapped()  # type: ignore[assignment]
    state: Any = _Wrapped()
    defaults: dict[str, Any] = _Wrapped()  # type: ignore[assignment]

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
        _refuse_unfit(optimizer)
        self.optimizers = (optimizer,)
        for name in STATE_DICT_HOOKS:  # the optimizer inside calls them
            setattr(self, name, getattr(optimizer, name))
        self.__setstate__({})  # not Optimizer.__init__, which would make groups and a state of its own
        if isinstance(networks, nn.Module):
            networks, example = {"net": networks}, {"net": example}
        self._live = live(networks, {} if example is None else by_name(example, networks))
        check_names(self.networks)
        self.interventions = listed(interventions)
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
        self._passes = Passes()
        self._hooks = Hooks(self, self.interventions)
        self._hooks.attach()

    @contextmanager
    def forward(self, scaler: torch.amp.GradScaler | None = None) -> Iterator[None]:
        """Around the forward pass whose loss is trained on, and around nothing else.

        Args:
            scaler: that will scale the loss before a backward of your own; None where `step` makes the backward.

        Raises:
            ValueError: a module does something else than what was traced, or is not run as a whole.
        """
        scale = None if scaler is None else scaler.scale(torch.ones((), device=self.device))
        with verified(self.networks.values()), self._hooks.taps(self.optimizer_steps + 1) as taps:
            self._passes.begin(taps, scale)
            try:
                yield
            except BaseException:
                self._passes.abandon(taps)
                raise
            taps.release()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """The optimizer's own; what was seen of these gradients is forgotten."""
        self._passes.forget()
        self.optimizers[0].zero_grad(set_to_none)

    @_disable_dynamo  # as torch does with zero_grad; the step of the optimizer inside may be compiled
    def step(
        self,
        closure: Tensor | Callable[[], Any] | None = None,
        *,
        max_grad_norm: float | None = None,
        update_ends: bool = True,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Any:
        """Optimizer step, and the resets that are due.

        Args:
            closure: None where you have made the backward; forwards since `zero_grad` count as parts of one batch, and
                of several backwards through one forward the first shows what its units are worth. Or a function, as
                torch knows it, that clears gradients, computes the loss inside `forward`, makes its backward and
                returns it. Or a loss, a scalar, the mean over the minibatch, not scaled: old gradients are cleared and
                its backward, through all forwards that it is made of, is made here.
            max_grad_norm: gradients are clipped to this norm. A clipping of your own comes before the penalties of
                interventions, and before those that look at weights' gradients (ReGraMa); this one behind them.
            update_ends: resets may act now. False inside a sequence of steps that a reset must not disturb, such as
                PPO's epochs over one rollout; call `after_update` at its end.
            scaler: with a loss: scales it, lets the optimizer step unless gradients are not finite, and is updated. A
                step that it leaves out counts like any other, but what is not finite enters no utility. After a
                backward of your own call ``scaler.step(optimizer)``; then a step that is left out does not count.

        Returns:
            What the closure returned, if one was given.

        Raises:
            RuntimeError: there was no `forward`.
        """
        result = None
        if isinstance(closure, Tensor):
            update = self._backward(closure, scaler)
        elif scaler is not None:
            raise TypeError("scaler is given without a loss; call step(loss, scaler=scaler) or scaler.step(optimizer)")
        else:
            with torch.enable_grad():
                result = None if closure is None else closure()
            update = self._after_own_backward(result)
        (optimizer,) = self.optimizers
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
        return result

    def _backward(self, loss: Tensor, scaler: torch.amp.GradScaler | None) -> Update:
        taps = self._passes.take()
        self.optimizers[0].zero_grad()
        return self._hooks.backward(self._update({"loss": loss}), taps, scaler)

    def _after_own_backward(self, loss: Any) -> Update:
        seen = self._passes.take_seen()
        losses = {"loss": loss} if isinstance(loss, Tensor) else _NotGiven()
        return self._hooks.after_own_backward(self._update(losses), seen)

    def _update(self, losses: Mapping[str, Tensor]) -> Update:
        self.optimizer_steps += 1
        return Update(
            networks=tuple(self.networks),
            batch=None,
            losses=losses,
            optimizer=self.optimizers[0],
            learning_rate=self.param_groups[0]["lr"],
            step=self.optimizer_steps,
            network=list(self.networks)[-1],
        )

    def after_update(self, *switches: Switch) -> None:
        """Let the resets act that are due.

        Args:
            switches: task switches since the last call, for interventions that act on these.
        """
        self._hooks.after_update(switches)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """The optimizer's own: a new module among the networks is found by itself."""
        self.optimizers[0].add_param_group(param_group)

    def units_reset(self) -> dict[str, int]:
        """How many units have been reset in each network."""
        return self._hooks.units_reset()

    def metrics(self) -> dict[str, float]:
        """What the interventions want to log, by tag."""
        return self._hooks.metrics()

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's, with the interventions' state under ``plasticity``."""
        names = [intervention.name for intervention in self.interventions]
        plasticity = {"optimizer_steps": self.optimizer_steps, "names": names, **self._hooks.state_dict()}
        return {**self.optimizers[0].state_dict(), "plasticity": plasticity}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ValueError: it is of other interventions, or of an optimizer without any.
        """
        state = dict(state_dict)
        if (plasticity := state.pop("plasticity", None)) is None:
            raise ValueError(
                "the saved state is of an optimizer without interventions; load it into that one, before "
                "PlasticOptimizer is built with it"
            )
        names = [intervention.name for intervention in self.interventions]
        saved = plasticity.get("names", names)
        if saved != names and len(saved) == len(names):  # resets of all kinds hold the same
            raise ValueError(
                f"the saved state is of {', '.join(saved)}, but here is {', '.join(names)}; give those that it was "
                "saved with, in the same order"
            )
        self.optimizers[0].load_state_dict(state)
        self.optimizer_steps = plasticity["optimizer_steps"]
        self._hooks.load_state_dict(plasticity)

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "a PlasticOptimizer holds the modules that it was given, and would not follow a copy of them; save its "
            "state_dict(), and load it into one that was built with the copy"
        )

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Whether it unscales gradients itself: no. A GradScaler asks for it, and for nothing else, before it steps."""
        if self._passes.unscaled:
            raise RuntimeError("a GradScaler steps, of which forward does not know; write `with forward(scaler):`")
        return False


class _NotGiven(dict[str, Tensor]):
    """The losses of an update whose backward was made elsewhere."""

    def __missing__(self, name: str) -> NoReturn:
        raise LookupError(
            f"an intervention looks at the {name!r} of the update, but step() was not given it; call step(loss) in "
            "place of loss.backward() and step(), or step(closure) with a closure that returns the loss"
        )


def _refuse_unfit(optimizer: torch.optim.Optimizer) -> None:
    if isinstance(optimizer, PlasticOptimizer):
        raise ValueError("optimizer is a PlasticOptimizer already; give all interventions to one")
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ValueError(
            f"{type(optimizer).__name__} computes the loss several times in a step, so that no one backward pass shows "
            "what units are worth; give an optimizer such as Adam"
        )
