"""What interventions may ask of a training loop of one's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from agents.plasticity.functional import run_with, snapshot
from agents.plasticity.hooks import Hooks
from agents.plasticity.outputs import Form
from agents.plasticity.protocols import Edit, Intervention, NoDataError
from agents.plasticity.units import LiveNetworks, Network, Traced, network_of

Sample = Callable[[int, torch.Generator], Any]
NO_REPLAY_RATIO = "a PlasticOptimizer has no replay ratio: the loop decides how often it steps"


class LoopLearner:
    """What the protocol `Learner` asks of networks and data; `PlasticOptimizer` sets these up and steps."""

    optimizers: tuple[torch.optim.Optimizer]
    _hooks: Hooks
    _live: LiveNetworks
    _sample: Sample | None
    _sample_losses: Callable[[Any], Tensor] | None
    _outputs: Callable[[Any], Tensor] | None

    @property
    def networks(self) -> Mapping[str, Network]:
        """The unit graphs by name; of a model they are built anew where one of its modules has been replaced.

        Raises:
            ValueError: what has been put in its place is not understood.
        """
        return self._live.now()

    @property
    def root(self) -> nn.Module:
        """The module, or a list of them where there are several."""
        return self._live.root

    def parameter_name(self, parameter: Tensor) -> str:
        """Where the model has a parameter."""
        return self._live.name_of(parameter)

    @property
    def schedules(self) -> tuple[()]:
        """None that are known: the learning rate's are the caller's."""
        return ()

    @property
    def replays(self) -> bool:
        """Not known, and so not taken for granted."""
        return False

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
    def given_replay_ratio(self) -> float:
        """Not known either.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(NO_REPLAY_RATIO)

    def weigh_by_age(self, decay_steps: int, min_weight: float) -> None:
        """Not known how.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("a PlasticOptimizer draws no minibatches: weigh examples where the loop draws them")

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


def by_name(example: Any, networks: Mapping[str, Any]) -> Mapping[str, Any]:
    """The examples of several networks."""
    if not isinstance(example, Mapping) or not example.keys() <= networks.keys():
        raise ValueError(
            f"example is no mapping of networks' names to their inputs; the names are {', '.join(networks)}"
        )
    return example


def live(given: Mapping[str, nn.Module | Network], examples: Mapping[str, Any]) -> LiveNetworks:
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


def check_names(networks: Mapping[str, Network]) -> None:
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
