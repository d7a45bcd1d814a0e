"""What all learners share: their networks, and the points at which interventions are called."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.distributions import Distribution

from agents.augmentation import RandomShift
from agents.buffers.packing import packed, unpacked
from agents.memory import keep_freed_memory
from agents.networks.builder import LAYER_NORM, fitted
from agents.networks.reading import as_read, convolves_densely
from agents.plasticity import compiler
from agents.plasticity.composition import LiveParameters
from agents.plasticity.functional import run_with, snapshot
from agents.plasticity.hooks import Hooks
from agents.plasticity.optimizers import HiddenWeights, stepping
from agents.plasticity.outputs import Form
from agents.plasticity.protocols import Edit, Intervention, Update
from agents.plasticity.replicas import ALONE
from agents.plasticity.seeds import derive_seed
from agents.plasticity.taps import Taps
from agents.plasticity.units import LiveNetworks, Network
from agents.plasticity.units.builders import NORMS
from agents.saving import SavingMixin
from agents.sb3_units import policy_networks, policy_targets
from agents.settings import SPEEDS
from agents.spaces import check_playable
from agents.specs import AgentSpec
from agents.speed import Quick, fuse
from agents.speed.threads import few
from agents.switching import SwitchingMixin
from agents.vec_env import StreamMonitor, VectorEnvAdapter

CLIP_RANGES = ("clip_range", "clip_range_vf")  # of PPO
IN_DISTRIBUTIONS = ("distribution", "gaussian_actions", "_latent_sde")  # of the forward before, every forward sets them


class LearnerMixin(SwitchingMixin, SavingMixin):
    """Hook points for interventions; mixed into an SB3 algorithm, in front of it. Implements the protocol `Learner`.

    Attributes:
        optimizer_steps: optimizer steps made since training began.
        random_shift: pixels by which the images of a minibatch are moved at random at most; 0 for none.
        augmentation: what moves them; None where nothing does.
        speed: ``exact``, or ``fast`` where rounding may be another one, see `agents.speed`.
        update_ended: called in this order at the very end of every update, and of rollouts that none follows: nothing
            is half done there, it is the place for checkpoints.
    """

    COUNTERS: ClassVar[tuple[str, ...]] = (
        "num_timesteps", "_total_timesteps", "_num_timesteps_at_start", "_episode_num", "_n_updates",
        "_current_progress_remaining", "optimizer_steps",
    )  # fmt: skip
    """Of each class: its attributes that hold numbers, or dicts of them, and decide how training goes on."""
    spec: ClassVar[AgentSpec]
    batch_size: int
    optimizer_steps: int
    replicas = ALONE

    def __init__(self, *args: Any, random_shift: int = 0, speed: str = "exact", **kwargs: Any) -> None:
        if speed not in SPEEDS:
            raise ValueError(f"speed is {speed!r}; give {' or '.join(SPEEDS)}")
        self.speed = speed
        self._quick: Quick | None = None
        self.random_shift = random_shift
        self.augmentation: RandomShift | None = None
        self.optimizer_steps = 0
        self.update_ended: list[Callable[[], None]] = []
        self._norm_by_name = False
        self._live = LiveNetworks(self._roots, self._build_networks)
        self._live_parameters: LiveParameters | None = None
        super().__init__(*args, **kwargs)

    @classmethod
    def counters(cls) -> list[str]:
        """The `COUNTERS` of all classes that it is made of: what a checkpoint holds of them."""
        return [name for part in cls.__mro__ for name in vars(part).get("COUNTERS", ())]

    def _excluded_save_params(self) -> list[str]:
        unsaved = ("_live", "_live_parameters", "update_ended", "augmentation", "_quick")
        return [*super()._excluded_save_params(), *unsaved]

    # ------------------------------------------------------------------ networks

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

    def _upload(self, array: np.ndarray | Tensor) -> Tensor:
        """The array on the learner's device; a GPU is given its copy without waiting for it."""
        tensor = torch.as_tensor(array)
        if self.device.type == "cuda" and tensor.device.type == "cpu":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _setup_model(self) -> None:
        keep_freed_memory()
        compiler.leave_unloaded()
        named = {"norm": "layer"} if self._norm_by_name else {}
        self.policy_class, self.policy_kwargs = fitted(
            self.policy_class, {**named, **self.policy_kwargs}, self.observation_space, self.spec, self.policy_aliases
        )
        super()._setup_model()
        self._tell_hidden_weights()
        self._take_speed()
        if self.random_shift:
            seed = derive_seed(self.seed or 0, "random_shift")
            self.augmentation = RandomShift(self.random_shift, self.observation_space, self.device, seed)
        self.hooks = Hooks(self, self.interventions)
        self.hooks.attach()

    def _take_speed(self) -> None:
        """Compute as `speed` says, from now on."""
        fast = self.speed == "fast"
        self._quick = Quick.on(self.device) if fast else None
        fuse(self.optimizers, fused=fast)

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        """SB3's; how optimizers step is this learner's own matter."""
        super().set_parameters(*args, **kwargs)
        self._take_speed()

    def _quickly(self, *, frozen: bool = False) -> AbstractContextManager[Any]:
        """Around forwards of training alone: what is measured, and compared with each other, is computed exactly.

        Args:
            frozen: nobody uses the gradients of these networks' parameters.
        """
        if self._quick is None:
            return nullcontext()
        return self._quick.frozen if frozen else self._quick

    def _few_threads(self, batch_size: int) -> AbstractContextManager[Any]:
        """Around updates on minibatches of that size: as many threads as pay, where rounding may be another one."""
        if self._quick is None or self.device.type != "cpu":
            return nullcontext()
        parameters = self._parameters()
        convolves = any(parameter.dim() > 2 for parameter in parameters)  # seldom: modules take longer to look through
        if convolves and convolves_densely(self.policy, self.observation_space):
            return nullcontext()
        return few(parameters, batch_size)

    def _read(self, observations: Any, network: nn.Module) -> Any:
        """Observations as a network is given them in training: see `as_read`; `Quick` looks for booleans itself."""
        return as_read(observations, network) if self._quick is None else observations

    def _tell_hidden_weights(self) -> None:
        """Tell the optimizers that treat weights of hidden layers differently which these are.

        Raises:
            ValueError: the policy is not understood.
        """
        choosing = [optimizer for optimizer in self.optimizers if isinstance(optimizer, HiddenWeights)]
        if choosing:
            parts = [part for network in self.networks.values() for part in network.parts if part.height]
            layers = [part.module for part in parts if not isinstance(part.module, NORMS)]
            weights = {parameter for layer in layers for parameter in layer.parameters(recurse=False)}
            for optimizer in choosing:
                optimizer.choose(weights)

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        """SB3's; behind ``LayerNorm`` with layer normalisation, unless the algorithm has a policy of that name."""
        self._norm_by_name = policy_name not in self.policy_aliases and policy_name.startswith(LAYER_NORM)
        name = policy_name.removeprefix(LAYER_NORM) if self._norm_by_name else policy_name
        found: type[BasePolicy] = super()._get_policy_from_name(name)
        return found

    # ------------------------------------------------------------------ training

    def _setup_learn(
        self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True, *args: Any, **kwargs: Any
    ) -> tuple[int, BaseCallback]:
        """SB3's; interventions that training is too short for are told where it begins."""
        found = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args, **kwargs)
        if self.optimizer_steps:  # what was trained before counts too, and more may come
            return found
        steps = self._most_gradient_steps(self._total_timesteps - self.num_timesteps)
        hindered = [(i.name, reason) for i in self.interventions if (reason := i.hindrance(steps)) is not None]
        if hindered:
            listed = " and ".join(f"{name} ({reason})" for name, reason in hindered)
            warnings.warn(
                f"this run makes at most {steps:,} gradient steps, too few for {listed}, so that nothing is reset or "
                "changed there; give smaller numbers or more steps",
                stacklevel=3,
            )
        return found

    @abstractmethod
    def _most_gradient_steps(self, timesteps: int) -> int:
        """How many gradient steps training makes in so many steps of the games from now on, if it is not cut short."""

    @abstractmethod
    def fill_buffer(self) -> None:
        """Fill the buffer by playing as the learner does in the end: one rollout, or a whole replay buffer.

        Nothing is trained, and no target network moves; steps are counted from 0.
        """

    # ------------------------------------------------------------------ environments

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        if isinstance(env, VectorEnv):
            env = VectorEnvAdapter(env)
            env = StreamMonitor(env) if monitor_wrapper else env
        if isinstance(env, gymnasium.Env | VecEnv):  # another may be of old Gym, which SB3 translates
            check_playable(env.observation_space, env.action_space)
        return BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    # ------------------------------------------------------------------ hook points

    def _optimize(
        self,
        network: str,
        batch: Any,
        losses: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        taps: Taps,
        *,
        trains: Collection[str] | None = None,
        max_grad_norm: float | None = None,
    ) -> Update:
        """One backward, clip and optimizer step, which is `network`'s (see `Update`); what it saw, detached.

        Of the networks named in `trains` it trains those that the policy has; None for all.
        """
        update = self._update_of(network, batch, losses, optimizer, trains)
        stepping.drop_gradients(optimizer)
        update = self.hooks.backward(update, taps)
        if max_grad_norm is not None:
            stepping.clip_gradients(self._parameters(), max_grad_norm)
        stepping.step(optimizer)
        return update

    def _update_of(
        self,
        network: str,
        batch: Any,
        losses: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        trains: Collection[str] | None = None,
    ) -> Update:
        """What interventions are told of a step, before its backward; arguments as of `_optimize`."""
        known = self._live.names if self.interventions else ()  # none are looked at where nobody asks for them
        return Update(
            networks=tuple(name for name in known if trains is None or name in trains),
            batch=batch,
            losses=losses,
            optimizer=optimizer,
            learning_rate=optimizer.param_groups[0]["lr"],
            step=self.optimizer_steps,
            network=network,
        )

    def _parameters(self) -> list[nn.Parameter]:
        """``list(self.policy.parameters())``."""
        if self._live_parameters is None or self._live_parameters.root is not self.policy:
            self._live_parameters = LiveParameters(self.policy)
        return self._live_parameters.now()

    def _augmented(self, batch: Any) -> Any:
        """A minibatch whose images are moved at random, where that is asked for."""
        return batch if self.augmentation is None else self.augmentation(batch)

    def announce(self, edit: Edit, author: Intervention) -> None:
        """Count the units that `author` has redrawn, and tell the other interventions."""
        self.hooks.announce(edit, author)

    def _end_update(self) -> None:
        self._release_graphs()
        super()._end_update()
        for ended in self.update_ended:
            ended()

    def _release_graphs(self) -> None:
        """Drop what SB3's distributions hold of the last minibatch: its whole graph, all through the next rollout."""
        for holder in (self.policy, getattr(self.policy, "actor", None)):
            distribution = getattr(holder, "action_dist", None)
            for held in IN_DISTRIBUTIONS if distribution is not None else ():
                # A property would make torch's distribution of what it holds, to be looked at.
                if held in vars(distribution) or hasattr(type(distribution), held):
                    setattr(distribution, held, None)

    def dump_logs(self, *args: Any, **kwargs: Any) -> None:
        """SB3's row of logs, with ``reset/<network>/units`` and ``total``: units reset since the last row, and in all.

        Where something is forgotten at task switches, ``task/switches`` says how often that has been.
        """
        if self.forgets.changes:
            self.logger.record("task/switches", self.switches_seen, exclude="stdout")
        # Otherwise nobody has asked for them, here or before the run was gone on with: this is plain SB3.
        if self._live.built or self.units_logged:
            counts = self.units_reset()
            for name, count in counts.items():
                self.logger.record(f"reset/{name}/units", count - self.units_logged.get(name, 0), exclude="stdout")
                self.logger.record(f"reset/{name}/total", count, exclude="stdout")
            self.units_logged = counts
            for tag, value in self.hooks.metrics().items():
                self.logger.record(tag, value, exclude="stdout")
        super().dump_logs(*args, **kwargs)


def _varies(schedule: Callable[[float], float]) -> bool:
    """Whether a schedule gives more than one value from the beginning of a run (1) to its end (0)."""
    return len({float(schedule(remaining)) for remaining in (1.0, 0.75, 0.5, 0.25, 0.0)}) > 1
