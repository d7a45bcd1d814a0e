"""Task switches that a stream reveals: how a learner is told of them, and what it forgets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage, unwrap_vec_normalize

from agents.at_switch import AtSwitch
from agents.infos import Infos
from agents.plasticity.protocols import Intervention, Switch
from agents.spaces import going_on_with
from agents.specs import AgentSpec
from agents.vec_env import VectorEnvAdapter

if TYPE_CHECKING:
    from agents.plasticity.hooks import Hooks


class SwitchingMixin(BaseAlgorithm):
    """The part of a learner that deals with task switches.

    Attributes:
        at_switch: arguments of `AtSwitch`: what is forgotten at every revealed task switch.
        switches_seen: task switches that were revealed since training began.
        pending_switches: those that were revealed since the last update, which delivers them.
    """

    COUNTERS: ClassVar[tuple[str, ...]] = ("switches_seen", "_segment", "_begins_anew")
    spec: ClassVar[AgentSpec]
    interventions: list[Intervention]
    hooks: Hooks

    def __init__(self, *args: Any, at_switch: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self.at_switch = dict(at_switch or {})
        self.switches_seen = 0
        self.pending_switches: list[Switch] = []
        self._segment: int | None = None  # that the last step was in
        self._begins_anew = False
        super().__init__(*args, **kwargs)

    @property
    @abstractmethod
    def optimizers(self) -> Sequence[torch.optim.Optimizer]: ...

    @property
    def forgets(self) -> AtSwitch:
        """What is forgotten at every revealed task switch.

        Raises:
            ValueError: `at_switch` is impossible, or asks for what this learner does not have.
        """
        found = AtSwitch.of(self.at_switch)
        for key, value in found.changes.items():
            if key not in self.spec.forgets:
                raise ValueError(
                    f"at_switch.{key} is {value!r}, but {type(self).__name__} has nothing of the kind; leave it out"
                )
        return found

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_segment"]

    def _setup_model(self) -> None:
        super()._setup_model()  # type: ignore[safe-super]  # the algorithm comes after this class
        self._check_env(self.env)

    def _check_env(self, env: VecEnv | None) -> None:
        """Check `at_switch` by itself, and with the interventions against an environment.

        Raises:
            ValueError: it is impossible, or they need switches that the environment hides, or a normaliser that it does
                not have.
        """
        what = self.forgets
        if env is None:
            return
        revealed = _reveals(env)
        if what.changes and not revealed:
            raise ValueError(
                f"at_switch is {what.changes}, but this environment hides task switches; make the stream "
                "with boundary='revealed' or leave at_switch out (of a loaded agent with load(..., at_switch={}))"
            )
        for intervention in self.interventions:
            if intervention.uses_boundaries and not revealed:
                raise ValueError(
                    f"{intervention.name} acts on task switches, which this environment hides; "
                    f"make the stream with boundary='revealed' or leave {intervention.name} out"
                )
        normalizer = unwrap_vec_normalize(env)
        if what.normalizer == "reset" and (normalizer is None or not normalizer.training):
            found = "no normalizer" if normalizer is None else "a normalizer whose training is off"
            raise ValueError(
                f"at_switch.normalizer is 'reset', but the environment has {found}; wrap it in VecNormalize or leave "
                "it out"
            )

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """As in SB3; an environment that `at_switch` or an intervention does not fit is refused."""
        env = self._wrap_env(env, self.verbose)
        self._check_env(env)
        if (env.num_envs, env.action_space) == (self.n_envs, self.action_space):  # SB3 will not refuse it for these
            self.observation_space = going_on_with(self.observation_space, env.observation_space)
            self.policy.observation_space = self.observation_space
        super().set_env(env, force_reset)
        self._segment = None

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        told = infos
        if isinstance(infos, Infos) and dones is not None:  # SB3 goes through all
            games = infos.may_have("episode", "is_success")
            told, dones = infos.take(games), dones[list(games)]
        super()._update_info_buffer(told, dones)
        env = cast(VecEnv, self.env)
        if not _reveals(env):  # nor need the infos of another environment be there
            return
        # At a switch the step's info is of the task that ended; the one that began has told itself with its first
        # episodes. A callback that stopped training at a switch has kept it from here: then the next step shows it.
        stands = env.unwrapped.reset_infos[0] if infos[0].get("task_switched") else infos[0]
        segment = stands.get("segment")
        if segment is not None and self._segment not in (None, segment):
            self.pending_switches.append(Switch(stands["task"], stands["task_index"], segment))
        self._segment = segment

    def _end_update(self) -> None:
        """The end of `train`: switches that were revealed since the last one are delivered, and resets act."""
        switches, self.pending_switches = self.pending_switches, []
        self.switches_seen += len(switches)
        self.hooks.after_update(switches)
        if switches:
            self._forget(self.forgets)
        if self._begins_anew:
            self._begins_anew = False
            self._forget_everything()

    # ------------------------------------------------------------------ forgetting

    def begin_anew(self) -> None:
        """Forget all that was gathered beside the networks, at the end of this update (`Learner.begin_anew`)."""
        # Not at once: interventions that are called later in this update may still look at the data.
        self._begins_anew = True

    def _everything(self) -> AtSwitch:
        """All that this learner can forget."""
        normalizer = self._vec_normalize_env
        resets = normalizer is not None and normalizer.training
        return AtSwitch(optimizer="reset", normalizer="reset" if resets else "keep")

    def _forget_everything(self) -> None:
        self._forget(self._everything())

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
        if not env.norm_obs:
            return
        held: Any = env.obs_rms
        renewed: Any
        if isinstance(held, dict):  # of dict observations
            renewed = {key: RunningMeanStd(shape=rms.mean.shape) for key, rms in held.items()}
        else:
            renewed = RunningMeanStd(shape=held.mean.shape)
        env.obs_rms = renewed
        # Behind wrappers of another kind the next action is chosen by the old statistics, this once.
        if self.env is env:
            self._last_obs = env.normalize_obs(env.get_original_obs())
        elif isinstance(self.env, VecTransposeImage) and self.env.venv is env:
            self._last_obs = self.env.transpose_observations(env.normalize_obs(env.get_original_obs()))


def _reveals(env: VecEnv) -> bool:
    """Whether learners may be told of this environment's task switches."""
    adapter = env.unwrapped
    return isinstance(adapter, VectorEnvAdapter) and getattr(adapter.venv.unwrapped, "boundary", "hidden") != "hidden"
