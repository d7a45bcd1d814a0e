"""How fast a learner computes: to the last bit as Stable-Baselines3, or with other rounding where that is faster."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from agents.inspection import InspectionMixin
from agents.networks.reading import as_read, convolves_densely
from agents.settings import SPEEDS
from agents.speed import Quick, fuse
from agents.speed.threads import few


class PaceMixin(InspectionMixin):
    """The part of a learner that computes as `speed` says.

    Attributes:
        speed: ``exact``, or ``fast`` where rounding may be another one, see `agents.speed`.
    """

    def __init__(self, *args: Any, speed: str = "exact", **kwargs: Any) -> None:
        if speed not in SPEEDS:
            raise ValueError(f"speed is {speed!r}; give {' or '.join(SPEEDS)}")
        self.speed = speed
        self._quick: Quick | None = None
        super().__init__(*args, **kwargs)

    @property
    @abstractmethod
    def optimizers(self) -> Sequence[torch.optim.Optimizer]: ...

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
