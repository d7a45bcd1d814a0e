"""Calls interventions at the fixed points of a training loop."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from agents.plasticity.compatibility import MisfitError, fits, refuse_contradictions, refuse_shared
from agents.plasticity.protocols import WARNINGS, Edit, Intervention, Learner, Switch, Update
from agents.plasticity.seeds import derive_seed
from agents.plasticity.taps import Parts, Seen, Taps
from agents.plasticity.units import Network, UnitLayer


class Hooks:
    """The interventions of one learner, called in order, the data that they need, and the count of units they reset.

    Args:
        learner: whose networks are not looked at before they are needed: a learner without interventions may have
            networks that are not understood.
        interventions: in the order in which they are called.
    """

    def __init__(self, learner: Learner, interventions: Sequence[Intervention]) -> None:
        self._learner = learner
        self._interventions = interventions
        self._units: dict[str, Tensor] = {}
        self._graph: dict[str, Network] | None = None  # that the interventions are attached to
        self._references: torch.Generator | None = None  # of reference batches, where one needs them

    def attach(self) -> None:
        """Attach the interventions to the learner's networks.

        Raises:
            MisfitError: one does not fit.
            ValueError: one belongs to another learner.
        """
        refuse_shared(self._interventions, self._learner)
        for number, intervention in enumerate(self._interventions):
            try:
                intervention.attach(self._learner)
            except ValueError as error:
                raise MisfitError(number, str(error)) from error
        refuse_contradictions(self._interventions)
        self._references = self._reference_generator()
        for intervention in self._interventions:  # not before: a learner that one does not fit will never be
            intervention.owner = self._learner
        self._graph = dict(self._learner.networks) if self._interventions else None

    def _reference_generator(self) -> torch.Generator | None:
        needing = [number for number, i in enumerate(self._interventions) if "reference_batch" in i.needs]
        if not needing:
            return None
        if self._learner.batch_size is None:
            name = self._interventions[needing[0]].name
            raise MisfitError(needing[0], f"{name} needs reference batches, whose size is not known; give batch_size")
        seed = torch.initial_seed() if self._learner.seed is None else self._learner.seed
        return torch.Generator().manual_seed(derive_seed(seed, "reference_batch"))

    def _follow(self) -> None:
        """Attach the interventions again where the learner's networks have been built anew, with all that still fits.

        Raises:
            ValueError: one does not fit the networks that are there now.
        """
        if self._graph is None:
            return
        networks = dict(self._learner.networks)
        if networks == self._graph:  # graphs are equal if they are the same object
            return
        replaced = _replaced(self._graph, networks)
        for intervention in self._interventions:
            held = intervention.state_dict()
            intervention.attach(self._learner)
            if fits(held, intervention.state_dict()):
                intervention.load_state_dict(held)
                intervention.on_surgery(replaced)
            else:
                warnings.warn(
                    f"{intervention.name}: modules were replaced by others of another shape, so that its ages, means "
                    "and periods begin anew",
                    stacklevel=4,
                )
        self._graph = networks

    @property
    def _layers(self) -> dict[str, UnitLayer]:
        return {layer.name: layer for network in self._learner.networks.values() for layer in network.layers}

    @property
    def _networks(self) -> tuple[str, ...]:
        """Names of the networks with hidden units."""
        return tuple(name for name, network in self._learner.networks.items() if network.layers)

    def needs_graph(self, step: int) -> bool:
        """Whether at a gradient step `taps` of any networks would be open, or a penalty may be taken of the loss."""
        self._follow()
        return self._penalizes_losses() or any(i.taps_at(step) for i in self._interventions)

    def looked_at(self, step: int) -> list[UnitLayer] | None:
        """The layers whose activations and gradients are wanted of a gradient step; None where more is, or a graph."""
        self._follow()
        looking = [i for i in self._interventions if i.taps_at(step)]
        if self._penalizes_losses() or any("preactivation_grads" in i.needs for i in looking):
            return None
        return [*self._layers.values()] if looking else []

    def _penalizes_losses(self) -> bool:
        return any(i.of_loss and type(i).penalty is not Intervention.penalty for i in self._interventions)

    def taps(self, step: int, networks: Collection[str] | None = None) -> Taps:
        """Taps to open around a training forward, on all layers where an intervention scores at this step, or on none.

        Args:
            step: the gradient step that the forward belongs to.
            networks: names of those that this forward trains; None for all.
        """
        self._follow()
        looking = [i for i in self._interventions if i.taps_at(step)]
        if not looking:
            return Taps(())
        layers = (layer for layer in self._layers.values() if networks is None or layer.network in networks)
        return Taps(layers, preactivations=any("preactivation_grads" in i.needs for i in looking))

    def backward(self, update: Update, taps: Taps | Parts, scaler: torch.amp.GradScaler | None = None) -> Update:
        """Gradients of the RL loss and of all penalties; returns the update with what the taps have seen, detached.

        Args:
            update: what the backward is of.
            taps: that were open in its forward.
            scaler: losses are differentiated scaled, and all gradients are unscaled when this returns.
        """
        scaled = scaler.scale if scaler is not None else lambda loss: loss
        update, penalty = self._penalized(update)
        loss = update.losses["loss"]
        scaled(loss).backward(retain_graph=penalty is not None)
        seen = taps.seen(None if scaler is None else scaled(torch.ones((), device=loss.device)))
        if penalty is not None:
            scaled(penalty).backward()
        if scaler is not None:
            scaler.unscale_(update.optimizer)
        return self._after_backward(update, seen)

    def after_own_backward(self, update: Update, seen: Seen) -> Update:
        """As `backward`, where the caller has made the RL loss's: the penalties' gradients are added to it.

        Args:
            update: what the backward was of.
            seen: by the taps in it.
        """
        update, penalty = self._penalized(update)
        if penalty is not None:
            penalty.backward()
        return self._after_backward(update, seen)

    def _penalized(self, update: Update) -> tuple[Update, Tensor | None]:
        """The update with its reference batch, and the sum of the penalties."""
        if self._references is not None:
            assert self._learner.batch_size is not None
            drawn = self._learner.sample(self._learner.batch_size, self._references)
            update = replace(update, reference_batch=drawn)
        penalties = [p for i in self._interventions if (p := i.penalty(update)) is not None]
        if len(penalties) > 1:
            return update, torch.stack([penalty.reshape(()) for penalty in penalties]).sum()
        return update, penalties[0] if penalties else None

    def _after_backward(self, update: Update, seen: Seen) -> Update:
        # A penalty may have kept the loss's graph; nothing that goes on from here may keep it alive.
        losses = {name: loss.detach() for name, loss in update.losses.items()} if update.losses else update.losses
        update = replace(update, losses=losses, **seen._asdict())
        for intervention in self._interventions:
            intervention.after_backward(update)
        return update

    def after_step(self, update: Update) -> None:
        """The optimizer has stepped."""
        for intervention in self._interventions:
            intervention.after_step(update)

    def after_update(self, switches: Iterable[Switch] = ()) -> None:
        """The end of an update; the switches revealed since the last one come first."""
        self._follow()
        for switch in switches:
            for intervention in self._interventions:
                intervention.on_task_switch(switch)
        for intervention in self._interventions:
            intervention.after_update()

    def announce(self, edit: Edit, author: Intervention) -> None:
        """Count the units that `author` has redrawn, partly redrawn ones in part, and tell the other interventions."""
        layers = self._layers
        for name, amounts in edit.amounts.items():
            count = amounts.double().sum()
            network = layers[name].network
            self._units[network] = self._units.get(network, torch.zeros_like(count)) + count
        for other in self._interventions:
            if other is not author:
                other.on_surgery(edit)

    def units_reset(self) -> dict[str, int]:
        """How many units have been reset in each network since training began, rounded to whole units."""
        return {name: round(float(self._units.get(name, 0.0))) for name in self._networks}

    def metrics(self) -> dict[str, float]:
        """What the interventions want to log, by tag; the second ``gxd`` has ``gxd_2`` in place of its name."""
        values: dict[str, float] = {}
        for title, intervention in self._titled().items():
            if intervention.tag:
                title = intervention.tag + title.removeprefix(intervention.name)
            for tag, value in intervention.metrics().items():
                group = WARNINGS if tag.startswith(WARNINGS) else ""
                values[f"{group}{title}/{tag.removeprefix(group).removeprefix(f'{intervention.name}/')}"] = value
        return values

    def idle(self) -> dict[str, str]:
        """Why the interventions have reset nothing, of those that know it; empty where a unit has been reset."""
        if any(self.units_reset().values()):
            return {}
        found = {title: intervention.idle() for title, intervention in self._titled().items()}
        return {title: reason for title, reason in found.items() if reason is not None}

    def _titled(self) -> dict[str, Intervention]:
        """The interventions by their names, the second ``gxd`` as ``gxd_2``."""
        titled: dict[str, Intervention] = {}
        met: Counter[str] = Counter()
        for intervention in self._interventions:
            met[intervention.name] += 1
            number = met[intervention.name]
            titled[intervention.name if number == 1 else f"{intervention.name}_{number}"] = intervention
        return titled

    def state_dict(self) -> dict[str, Any]:
        """What each intervention holds, in their order, and the counts: nested dicts and lists."""
        self._follow()
        counts = {name: self._units.get(name, torch.zeros((), dtype=torch.float64)).clone() for name in self._networks}
        drawn = {} if self._references is None else {"reference_batch": self._references.get_state()}
        return {"interventions": [i.state_dict() for i in self._interventions], "units_reset": counts, **drawn}

    def load_state_dict(self, state: Any) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ValueError: it is of other interventions.
        """
        self._follow()
        match state:
            case {"interventions": list(saved), "units_reset": Mapping() as counts} if all(map(_is_state, saved)):
                pass
            case _:
                raise ValueError("the saved state of the interventions has another form; give what state_dict gave")
        if len(saved) != len(self._interventions):
            raise ValueError(
                f"the saved state is of {len(saved)} interventions, but here are {len(self._interventions)}; give "
                "those that it was saved with, in the same order"
            )
        devices = {layer.network: layer.producer.weight.device for layer in self._layers.values()}
        drawn = {"reference_batch": state.get("reference_batch")} if self._references is not None else {}
        expected = {f"units_reset/{name}": counts.get(name) for name in devices} | drawn
        if lacking := [name for name, tensor in expected.items() if not isinstance(tensor, Tensor)]:
            raise ValueError(f"the saved state of the interventions has no {', '.join(lacking)}; it is of others")
        for intervention, held in zip(self._interventions, saved, strict=True):
            intervention.load_state_dict(held)
        if self._references is not None:
            self._references.set_state(state["reference_batch"].cpu())
        self._units = {name: counts[name].to(device) for name, device in devices.items()}


def _is_state(held: object) -> bool:
    return isinstance(held, Mapping)


def _replaced(before: Mapping[str, Network], now: Mapping[str, Network]) -> Edit:
    """What is new in graphs, as an edit: the units of other producers, and other parameters."""
    known = {parameter for network in before.values() for parameter in network.parameters}
    layers = [layer for network in now.values() for layer in network.layers]
    return Edit(
        {
            layer.name: torch.ones(layer.units, device=layer.producer.weight.device)
            for layer in layers
            if layer.producer.weight not in known
        },
        tuple(parameter for network in now.values() for parameter in network.parameters if parameter not in known),
    )
