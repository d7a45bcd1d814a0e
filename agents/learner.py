"""What all learners share: networks, interventions and their state in SB3's zip."""

from __future__ import annotations

import io
import pathlib
import warnings
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from safetensors import torch as safetensors
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import open_path
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage, is_vecenv_wrapped
from torch import Tensor, nn
from torch.distributions import Distribution

from agents.at_switch import AtSwitch
from agents.networks import MinAtarCNN
from agents.plasticity.hooks import Hooks
from agents.plasticity.protocols import Edit, Intervention, Switch, Update
from agents.plasticity.registry import INTERVENTIONS
from agents.plasticity.taps import Taps
from agents.plasticity.units import Network
from agents.sb3_units import policy_networks, policy_targets
from agents.vec_env import StreamMonitor, VectorEnvAdapter

STATE_MEMBER = "interventions.safetensors"
NATURE_CNN_MINIMUM = 36  # pixels: NatureCNN's three convolutions leave nothing of smaller images


class LearnerMixin(BaseAlgorithm):
    """Hook points for interventions; mixed into an SB3 algorithm, in front of it. Implements the protocol `Learner`.

    Attributes:
        interventions: called in this order.
        at_switch: arguments of `AtSwitch`: what is forgotten at every revealed task switch.
        optimizer_steps: optimizer steps made since training began.
        switches_seen: task switches that were revealed since training began.
    """

    interventions: list[Intervention]
    optimizer_steps: int
    switches_seen: int

    can_forget: ClassVar[frozenset[str]] = frozenset({"optimizer", "normalizer"})
    """The keys of `AtSwitch` that mean something to this learner."""
    _board_policies: ClassVar[tuple[type[BasePolicy], ...]]
    """Policies that are given `MinAtarCNN` on boards too small for SB3's NatureCNN."""
    _board_heads: ClassVar[Any]
    """Hidden layers behind it where none are given, as ``net_arch``."""

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        interventions: Sequence[Intervention] = (),
        at_switch: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(interventions, Intervention):
            raise ValueError(f"interventions is one {interventions.name}; give a list, such as [{interventions.name}]")
        self.interventions = list(interventions)
        # What a zip holds of the interventions: plain data that builds them again.
        self.intervention_specs: list[dict[str, Any]] = []
        self.at_switch: Mapping[str, Any] = dict(at_switch or {})
        self.optimizer_steps = 0
        self.switches_seen = 0
        self._begins_anew = False
        self._units_logged: dict[str, int] = {}
        self._pending_switches: list[Switch] = []
        self._networks: dict[str, Network] | None = None
        super().__init__(policy, env, *args, **kwargs)

    # ------------------------------------------------------------------ networks

    @property
    def networks(self) -> Mapping[str, Network]:
        """The networks by short name, with hidden units or without."""
        if self._networks is None:
            self._networks = policy_networks(self.policy)
        return self._networks

    @property
    @abstractmethod
    def optimizers(self) -> Sequence[torch.optim.Optimizer]: ...

    @property
    def targets(self) -> Mapping[Tensor, Tensor]:
        """Parameter -> the parameter of a target network that follows it; empty without target networks."""
        return policy_targets(self.policy)

    @property
    @abstractmethod
    def paper_networks(self) -> Sequence[str]: ...

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Any: ...

    @abstractmethod
    def outputs(self, batch: Any) -> Mapping[str, Tensor]: ...

    @abstractmethod
    def distributions(self, batch: Any) -> Sequence[Distribution]: ...

    @abstractmethod
    def sample_losses(self, batch: Any) -> Mapping[str, Tensor]: ...

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        """The policy in evaluation mode; back in its own afterwards."""
        training = self.policy.training
        self.policy.set_training_mode(False)
        try:
            yield
        finally:
            self.policy.set_training_mode(training)

    def _upload(self, array: np.ndarray | Tensor) -> Tensor:
        """The array on the learner's device; a GPU is given its copy without waiting for it."""
        tensor = torch.as_tensor(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _setup_model(self) -> None:
        self._at_switch = AtSwitch.of(self.at_switch)
        for key in self._at_switch.changes:
            if key not in self.can_forget:
                raise ValueError(
                    f"at_switch.{key} is {self.at_switch[key]!r}, but {type(self).__name__} has nothing of the kind; "
                    "leave it out"
                )
        self._fit_network_to_boards()
        super()._setup_model()  # type: ignore[safe-super]  # the algorithm comes after this class
        self._networks = None
        if not self.interventions:
            # A zip was loaded: what it holds of the interventions came as plain data.
            self.interventions = [_build(spec) for spec in self.intervention_specs]
        self._check_boundaries()
        self._hooks = Hooks(self, self.interventions)
        for intervention in self.interventions:
            intervention.attach(self)

    def _fit_network_to_boards(self) -> None:
        """Give CNN policies the MinAtar network on boards that are too small for SB3's NatureCNN."""
        space = self.observation_space
        if (
            self.policy_class not in self._board_policies
            or "features_extractor_class" in self.policy_kwargs
            or not isinstance(space, spaces.Box)
            or len(space.shape) != 3
        ):
            return
        normalized = not self.policy_kwargs.get("normalize_images", True)
        image = is_image_space(space, check_channels=False, normalized_image=normalized)
        sides = space.shape[1:] if image else space.shape[:2]  # SB3 has put an image's channels first
        if min(sides) < NATURE_CNN_MINIMUM:
            defaults = {"net_arch": self._board_heads, "activation_fn": nn.ReLU}
            self.policy_kwargs = {"features_extractor_class": MinAtarCNN, **defaults, **self.policy_kwargs}

    # ------------------------------------------------------------------ environments

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        if isinstance(env, VectorEnv):
            env = VectorEnvAdapter(env)
            env = StreamMonitor(env) if monitor_wrapper else env
        return BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        super().set_env(env, force_reset)
        self._check_boundaries()

    def _boundaries_revealed(self) -> bool:
        adapter = None if self.env is None else self.env.unwrapped
        return isinstance(adapter, VectorEnvAdapter) and getattr(adapter.venv, "boundary", "hidden") == "revealed"

    def _check_boundaries(self) -> None:
        if self.env is None:
            return
        if self._at_switch.changes and not self._boundaries_revealed():
            raise ValueError(
                f"at_switch is {self._at_switch.changes}, but this environment hides task switches; "
                "make the stream with boundary='revealed' or leave at_switch out"
            )
        if self._at_switch.normalizer == "reset" and self._vec_normalize_env is None:
            raise ValueError(
                "at_switch.normalizer is 'reset', but the environment has no normalizer; wrap it in VecNormalize or "
                "leave it out"
            )
        for intervention in self.interventions:
            if intervention.uses_boundaries and not self._boundaries_revealed():
                raise ValueError(
                    f"{intervention.name} acts on task switches, which this environment hides; "
                    f"make the stream with boundary='revealed' or leave {intervention.name} out"
                )

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        super()._update_info_buffer(infos, dones)
        if infos[0].get("task_switched") and self._boundaries_revealed():
            # The step's info is of the task that ended; the one that began has told itself with its first episodes.
            begun = cast(VecEnv, self.env).unwrapped.reset_infos[0]
            self._pending_switches.append(Switch(begun["task"], begun["task_index"], begun["segment"]))

    # ------------------------------------------------------------------ task switches

    def begin_anew(self) -> None:
        """Forget all that was gathered beside the networks, at the end of this update (`Learner.begin_anew`)."""
        # Not at once: interventions that are called later in this update may still look at the data.
        self._begins_anew = True

    def _everything(self) -> AtSwitch:
        """All that this learner can forget."""
        return AtSwitch(optimizer="reset", normalizer="keep" if self._vec_normalize_env is None else "reset")

    def _forget(self, what: AtSwitch) -> None:
        if what.optimizer == "reset":
            for optimizer in self.optimizers:
                optimizer.state.clear()
        if what.normalizer == "reset":
            self._renew_normalizer()

    def _renew_normalizer(self) -> None:
        env = self._vec_normalize_env
        assert env is not None
        env.ret_rms = RunningMeanStd(shape=())
        env.returns = np.zeros(env.num_envs)
        if env.norm_obs:
            renewed = {key: RunningMeanStd(shape=rms.mean.shape) for key, rms in _statistics(env.obs_rms).items()}
            env.obs_rms = renewed if isinstance(env.obs_rms, dict) else renewed[""]
            self._last_obs = env.normalize_obs(env.get_original_obs())
            if isinstance(self.env, VecTransposeImage):
                self._last_obs = self.env.transpose_observations(self._last_obs)

    # ------------------------------------------------------------------ hook points

    def _trained(self, *names: str) -> tuple[str, ...]:
        """Those of the networks named that the policy has, or all; none are looked at where nobody asks for them."""
        networks = self.networks if self.interventions else ()
        return tuple(name for name in networks if not names or name in names)

    def _optimize(self, update: Update, taps: Taps, max_grad_norm: float | None = None) -> Update:
        """One backward, clip and optimizer step; returns the update with what the taps have seen."""
        update.optimizer.zero_grad()
        update = self._hooks.backward(update, taps)
        if max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), max_grad_norm)
        update.optimizer.step()
        return update

    def announce(self, edit: Edit, author: Intervention) -> None:
        """Count the units that `author` has redrawn, and tell the other interventions."""
        self._hooks.announce(edit, author)

    def units_reset(self) -> dict[str, int]:
        """How many units have been reset in each network since training began, rounded to whole units."""
        return self._hooks.units_reset()

    def _end_update(self) -> None:
        """The end of `train`: switches that were revealed since the last one are delivered, and resets act."""
        switches, self._pending_switches = self._pending_switches, []
        self.switches_seen += len(switches)
        self._hooks.after_update(switches)
        if switches:
            self._forget(self._at_switch)
        if self._begins_anew:
            self._begins_anew = False
            self._forget(self._everything())

    def dump_logs(self, *args: Any, **kwargs: Any) -> None:
        """SB3's row of logs, with ``reset/<network>/units``: the units reset since the last row.

        Where something is forgotten at task switches, ``at_switch/switches`` says how often that has been.
        """
        if self._at_switch.changes:
            self.logger.record("at_switch/switches", self.switches_seen, exclude="stdout")
        if self._networks is not None:  # nobody has asked for them: this is plain SB3
            counts = self.units_reset()
            for name, count in counts.items():
                self.logger.record(f"reset/{name}/units", count - self._units_logged.get(name, 0), exclude="stdout")
            self._units_logged = counts
            for tag, value in self._hooks.metrics().items():
                self.logger.record(tag, value, exclude="stdout")
        super().dump_logs(*args, **kwargs)

    # ------------------------------------------------------------------ save and load

    def _excluded_save_params(self) -> list[str]:
        ours = ["interventions", "_networks", "_hooks", "_units_logged", "_at_switch"]
        return [*super()._excluded_save_params(), *ours]

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """SB3's zip; the interventions' tensors lie in it as a member that stock SB3 passes over."""
        self.intervention_specs = [{"name": i.name, **i.arguments()} for i in self.interventions]
        if not self.interventions:
            super().save(path, exclude, include)
            return
        archive = io.BytesIO()
        super().save(archive, exclude, include)
        with zipfile.ZipFile(archive, mode="a") as members:
            members.writestr(STATE_MEMBER, safetensors.save(self._intervention_state()))
        file = open_path(path, "w", verbose=0, suffix="zip")
        file.write(archive.getvalue())
        if isinstance(path, str | pathlib.Path):
            file.close()

    def _intervention_state(self) -> dict[str, Tensor]:
        return {key: tensor.detach().cpu().contiguous() for key, tensor in self._hooks.state_dict().items()}

    @classmethod
    def load(cls, path: str | pathlib.Path | io.BufferedIOBase, env: Any = None, *args: Any, **kwargs: Any) -> Self:
        """SB3's `load`, a stock zip's too. Interventions come back with what they held.

        As SB3's own, it is pickle: load only files from people you trust.

        Args:
            path: of the zip, or an open file.
            env: the new environment; None for prediction alone.
            args: as in SB3.
            kwargs: as in SB3; ``interventions=[...]`` begins anew with these.
        """
        if "interventions" in kwargs:
            kwargs = {**kwargs, "interventions": list(kwargs["interventions"]), "intervention_specs": []}
        model = super().load(path, env, *args, **kwargs)
        if model.env is not None and is_vecenv_wrapped(model.env, VecTransposeImage):
            model._last_obs = _in_transposed_layout(model._last_obs)
        if "interventions" not in kwargs and model.interventions:
            file = open_path(path, "r", verbose=0, suffix="zip")
            with zipfile.ZipFile(file) as members:
                state = members.read(STATE_MEMBER) if STATE_MEMBER in members.namelist() else None
            if isinstance(path, str | pathlib.Path):
                file.close()
            if state is None:
                # Stock SB3 has saved it again: it keeps plain data and drops members that it does not know.
                warnings.warn(f"{path} holds no state of its interventions, they begin anew", stacklevel=2)
            else:
                model._hooks.load_state_dict(safetensors.load(state))
                model._units_logged = model.units_reset()
        return model


def _statistics(found: Any) -> dict[str, RunningMeanStd]:
    """The running statistics of each key of dict observations, or the only ones under no name."""
    return found if isinstance(found, dict) else {"": found}


def _in_transposed_layout(observations: Any) -> Any:
    """Images as `VecTransposeImage` lays them in memory, which a pickle forgets: convolutions round by layout."""
    if isinstance(observations, dict):
        return {key: _in_transposed_layout(value) for key, value in observations.items()}
    if observations is None or observations.ndim != 4:
        return observations
    return observations.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)


def _build(spec: Mapping[str, Any]) -> Intervention:
    arguments = dict(spec)
    name = arguments.pop("name")
    if name not in INTERVENTIONS:
        raise ValueError(
            f"the zip holds the intervention {name!r}, which is not registered; pass load(interventions=[...])"
        )
    intervention: Intervention = INTERVENTIONS[name].resolve()(**arguments)
    return intervention
