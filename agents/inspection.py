"""What a learner shows of itself: its networks, its data, and what it would put out and lose on some of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn
from torch.distributions import Distribution

from agents.buffers.packing import packed, unpacked
from agents.plasticity.composition import LiveParameters
from agents.plasticity.functional import run_with, snapshot
from agents.plasticity.outputs import Form
from agents.plasticity.units import LiveNetworks, Network
from agents.sb3_units import policy_networks, policy_targets
from agents.specs import AgentSpec

CLIP_RANGES = ("clip_range", "clip_range_vf")  # of PPO


class InspectionMixin(BaseAlgorithm):
    """The part of a learner that interventions, diagnostics and probes look at."""

    spec: ClassVar[AgentSpec]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._live = LiveNetworks(self._roots, self._build_networks)
        self._live_parameters: LiveParameters | None = None
        super().__init__(*args, **kwargs)

    @property
    def networks(self) -> Mapping[str, Network]:
        """The networks by short name, with hidden units or without; built anew where the policy has other modules.

        Raises:
            ValueError: the policy is not understood.
        """
        return self._live.now()

    def _roots(self) -> tuple[nn.Module]:
        return (self.policy,)

    def _build_networks(self) -> Mapping[str, Network]:
        return policy_networks(self.policy)

    @property
    def root(self) -> nn.Module:
        """The policy, which holds all networks."""
        return self.policy

    def parameter_name(self, parameter: Tensor) -> str:
        """Where the policy has a parameter, such as ``action_net.weight``."""
        return self._live.name_of(parameter)

    @property
    def schedules(self) -> tuple[str, ...]:
        """Names of the hyperparameters that change with the progress of the whole run."""
        found = {"learning_rate": self.lr_schedule, **{name: getattr(self, name, None) for name in CLIP_RANGES}}
        return tuple(name for name, schedule in found.items() if callable(schedule) and _varies(schedule))

    @property
    def targets(self) -> Mapping[Tensor, Tensor]:
        """Parameter -> the parameter of a target network that follows it; empty without target networks."""
        return policy_targets(self.policy)

    @property
    def paper_networks(self) -> Sequence[str]:
        """Names of the networks that published resets act on."""
        return self.spec.paper_networks

    @property
    def buffer(self) -> Any:
        """SB3's buffer of the transitions that it learns from."""
        return getattr(self, f"{self.spec.data}_buffer")

    @property
    def replays(self) -> bool:
        """Whether later updates learn from the same data too."""
        return self.spec.data == "replay"

    @property
    @abstractmethod
    def replay_ratio(self) -> float: ...

    @replay_ratio.setter
    @abstractmethod
    def replay_ratio(self, ratio: float) -> None: ...

    @property
    @abstractmethod
    def given_replay_ratio(self) -> float | None: ...

    def weigh_by_age(self, decay_steps: int, min_weight: float) -> None:
        """Not possible where data is dropped after an update, see `OffPolicyMixin.weigh_by_age`.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{type(self).__name__} replays no transitions; give it to DQN, SAC or TD3")

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Any: ...

    @property
    @abstractmethod
    def output_forms(self) -> Mapping[str, Form]: ...

    def outputs(
        self, batch: Any, parameters: Mapping[str, Tensor] | None = None, names: Collection[str] | None = None
    ) -> Mapping[str, Tensor]:
        """Output network's name -> its outputs on the batch, as `_outputs` of each algorithm says; in evaluation mode.

        Args:
            batch: as the buffer or `sample` gives it.
            parameters: of `snapshot`; None for the parameters at hand, which then take gradients.
            names: of the output networks that are wanted; None for all.

        Raises:
            ValueError: the parameters are those of other networks.
        """
        with self._evaluation():
            names = self.output_forms if names is None else names
            if parameters is None:
                return self._outputs(batch, names)
            found: Mapping[str, Tensor] = run_with(
                self.policy, parameters, lambda batch: self._outputs(batch, names), batch
            )
            return found

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of all parameters and buffers of the policy as they are now, for `outputs`; without gradients."""
        return snapshot(self.policy)

    def pack(self, batch: Any) -> dict[str, Any]:
        """A batch as plain data, so that an intervention can keep it across a checkpoint.

        Of a buffer's own kind of batch only SB3's fields are kept: override both where the losses use more.

        Raises:
            ValueError: it lacks some of these.
        """
        return packed(batch)

    def unpack(self, saved: Any) -> Any:
        """What `pack` was given, on the learner's device.

        Raises:
            ValueError: it is no batch.
        """
        return unpacked(saved, self.device)

    @abstractmethod
    def _outputs(self, batch: Any, names: Collection[str]) -> Mapping[str, Tensor]: ...

    @abstractmethod
    def distributions(self, batch: Any) -> Sequence[Distribution]: ...

    @abstractmethod
    def td_targets(self, batch: Any) -> Tensor | None: ...

    @abstractmethod
    def sample_losses(self, batch: Any, td_targets: Any = None) -> Mapping[str, Tensor]: ...

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        """The policy's modules in evaluation mode; each back in its own afterwards."""
        training = [module for module in self.policy.modules() if module.training]
        for module in training:
            module.training = False  # quicker than through `train`, which asks every module for its children
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def _parameters(self) -> list[nn.Parameter]:
        """``list(self.policy.parameters())``."""
        if self._live_parameters is None or self._live_parameters.root is not self.policy:
            self._live_parameters = LiveParameters(self.policy)
        return self._live_parameters.now()


def _varies(schedule: Callable[[float], float]) -> bool:
    """Whether a schedule gives more than one value from the beginning of a run (1) to its end (0)."""
    return len({float(schedule(remaining)) for remaining in (1.0, 0.75, 0.5, 0.25, 0.0)}) > 1
