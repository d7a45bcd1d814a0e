"""Actions that mean one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.checks import check_int
from envs.games import Step
from envs.shifts.base import VectorShift
from envs.shifts.wrapper import Shift


class VectorActionPermutation(VectorShift):
    """`ActionPermutation` around a batch of games, the same in all of them."""

    seed: int | None
    permutation: list[int] | None

    def _checked(self, seed: Any = None, permutation: Any = None) -> dict[str, Any]:
        space = self.games.single_action_space
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise ValueError(f"{self.label} needs Discrete actions, got {space}; use it on such a game")
        if (seed is None) == (permutation is None):
            raise ValueError(
                f"{self.label} needs a seed or a permutation, got seed={seed!r} and "
                f"permutation={permutation!r}; give one of the two"
            )
        if seed is not None:
            seed = check_int("seed", seed, 0, "give a number such as 1, which decides the permutation")
            return {"seed": seed, "permutation": None}
        return {"seed": None, "permutation": _checked_permutation(permutation, space)}

    def _take(self, **arguments: Any) -> None:
        super()._take(**arguments)
        space = self.games.single_action_space
        assert isinstance(space, gymnasium.spaces.Discrete)  # _checked refused all others
        self._start = int(space.start)
        if self.permutation is None:
            self._executed = np.random.default_rng(self.seed).permutation(int(space.n)) + self._start
        else:
            self._executed = np.array(self.permutation)

    @property
    def executed(self) -> list[int]:
        """The action that is executed for each of the space's, in their order."""
        return [int(action) for action in self._executed]

    def _relabelled(self, actions: NDArray[Any]) -> NDArray[np.int64]:
        places = np.asarray(actions) - self._start
        if ((places < 0) | (places >= len(self._executed))).any():
            raise ValueError(f"actions must be in {self.games.single_action_space}, got {actions}; give others")
        relabelled: NDArray[np.int64] = np.take(self._executed, places)
        return relabelled

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`, with the actions that stand for ``actions``."""
        return self.games.step(self._relabelled(np.asarray(actions)), active)


class ActionPermutation(Shift):
    """Executes another action than the one chosen, always the same other one.

    Args:
        env: an environment with Discrete actions.
        seed: decides the permutation, ``numpy.random.default_rng(seed).permutation(n)``; one of n! is the identity.
        permutation: in place of ``seed``, the action that is executed for each of the space's, in their order.

    Raises:
        ValueError: the actions are not Discrete, or not exactly one of the arguments is given, and rightly.

    >>> env = ActionPermutation(gymnasium.make("CartPole-v1"), permutation=[1, 0])
    >>> bare = gymnasium.make("CartPole-v1")
    >>> _ = env.reset(seed=0), bare.reset(seed=0)
    >>> (env.step(0)[0] == bare.step(1)[0]).all().item()
    True
    """

    batched = VectorActionPermutation
    shift: VectorActionPermutation

    def __init__(
        self, env: gymnasium.Env[Any, Any], seed: int | None = None, permutation: Sequence[int] | None = None
    ) -> None:
        super().__init__(env, seed=seed, permutation=permutation)

    @property
    def executed(self) -> list[int]:
        """The action that is executed for each of the space's, in their order."""
        return self.shift.executed


def _checked_permutation(permutation: Any, space: gymnasium.spaces.Discrete) -> list[int]:
    actions = list(range(int(space.start), int(space.start + space.n)))
    found = permutation.tolist() if isinstance(permutation, np.ndarray) else permutation
    whole = isinstance(found, list | tuple) and all(isinstance(a, int) and not isinstance(a, bool) for a in found)
    if not whole or sorted(found) != actions:
        raise ValueError(
            f"permutation must list each of the actions {actions[0]} to {actions[-1]} once, got {permutation!r}; "
            f"give one such as {actions[1:] + actions[:1]}"
        )
    return list(found)
