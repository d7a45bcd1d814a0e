"""What all learners share: their networks, and the points at which interventions are called."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.augmentation import RandomShift
from agents.memory import keep_freed_memory
from agents.networks.builder import LAYER_NORM, fitted
from agents.pace import PaceMixin
from agents.plasticity import compiler
from agents.plasticity.hooks import Hooks
from agents.plasticity.optimizers import HiddenWeights, stepping
from agents.plasticity.protocols import Edit, Intervention, Update
from agents.plasticity.replicas import ALONE
from agents.plasticity.seeds import derive_seed
from agents.plasticity.taps import Seen, Taps
from agents.plasticity.units.builders import NORMS
from agents.saving import SavingMixin
from agents.spaces import check_playable
from agents.specs import AgentSpec
from agents.switching import SwitchingMixin
from agents.vec_env import StreamMonitor, VectorEnvAdapter

IN_DISTRIBUTIONS = ("distribution", "gaussian_actions", "_latent_sde")  # of the forward before, every forward sets them


class LearnerMixin(PaceMixin, SwitchingMixin, SavingMixin):
    """Hook points for interventions; mixed into an SB3 algorithm, in front of it. Implements the protocol `Learner`.

    Attributes:
        optimizer_steps: optimizer steps made since training began.
        random_shift: pixels by which the images of a minibatch are moved at random at most; 0 for none.
        augmentation: what moves them; None where nothing does.
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

    def __init__(self, *args: Any, random_shift: int = 0, **kwargs: Any) -> None:
        self.random_shift = random_shift
        self.augmentation: RandomShift | None = None
        self.optimizer_steps = 0
        self.update_ended: list[Callable[[], None]] = []
        self._norm_by_name = False
        super().__init__(*args, **kwargs)

    @classmethod
    def counters(cls) -> list[str]:
        """The `COUNTERS` of all classes that it is made of: what a checkpoint holds of them."""
        return [name for part in cls.__mro__ for name in vars(part).get("COUNTERS", ())]

    def _excluded_save_params(self) -> list[str]:
        unsaved = ("_live", "_live_parameters", "update_ended", "augmentation", "_quick")
        return [*super()._excluded_save_params(), *unsaved]

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

    def _optimize_by(
        self,
        network: str,
        batch: Any,
        losses: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        gradients: Iterable[tuple[Tensor, Tensor]],
        *,
        trains: Collection[str] | None = None,
        max_grad_norm: float | None = None,
        taps: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    ) -> Update:
        """As `_optimize`, of losses without a graph: parameters come with their gradients, and `Update.taps` too."""
        update = self._update_of(network, batch, losses, optimizer, trains)
        stepping.drop_gradients(optimizer)
        for parameter, gradient in gradients:
            if parameter.requires_grad:
                parameter.grad = gradient
        update = self.hooks.after_own_backward(update, Seen(dict(taps or {}), {}))
        if max_grad_norm is not None:
            stepping.clip_gradients(self._parameters(), max_grad_norm, exactly=False)
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

    def _augmented(self, batch: Any) -> Any:
        """A minibatch whose images are moved at random, where that is asked for."""
        return batch if self.augmentation is None else self.augmentation(batch)

    def announce(self, edit: Edit, author: Intervention) -> None:
        """Count the units that `author` has redrawn, and tell the other interventions."""
        self.hooks.announce(edit, author)

    def _end_update(self) -> None:
        with self.parameter_lock.writing():
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
