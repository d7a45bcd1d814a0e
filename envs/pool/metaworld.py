"""Meta-World (Yu et al., arXiv 1910.10897), version 3: tasks of one robot arm."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from envs.catalogue import METAWORLD
from envs.checks import check_choice, check_flag, check_int
from envs.pool.games import LARGEST, PoolGames, numbers
from envs.pool.worlds import worlds


class MetaWorldGames(PoolGames):
    """Games of Meta-World, as envpool plays them.

    Observations are 39 numbers of float32: the hand and the objects now and one step ago, and the goal; actions are 4
    from -1 to 1, the hand's movement and the force of its fingers. Where objects and goals lie is drawn anew for every
    episode. Rewards are Meta-World's dense ones, up to 10. Episodes do not end by themselves: they are truncated after
    ``episode_limit`` steps.

    Every step's info has ``success``, 1 or 0; that of an episode's last step also ``is_success``, whether it was 1 in
    any of its steps, which is what Continual World counts and SB3's ``rollout/success_rate`` shows.

    Args:
        task: one of ``envs.catalogue.METAWORLD``, such as "metaworld/hammer".
        n_envs: games played side by side.
        partially_observable: whether the goal is hidden (zeros), as in Meta-World's meta-learning benchmarks and in
            envpool where nothing else is said; its multi-task ones, and so Continual World, show it.
        episode_limit: steps after which an episode is truncated: Meta-World's 500; Continual World takes 200.
        render_mode: None.

    Raises:
        ImportError: envpool is not installed, or cannot be imported.
        ValueError: an argument is out of range.
    """

    suite = "Meta-World"
    told = ("success",)
    metadata = PoolGames.metadata | {"render_modes": []}

    def __init__(
        self,
        task: str,
        n_envs: int,
        *,
        partially_observable: bool = False,
        episode_limit: int = 500,
        render_mode: str | None = None,
    ) -> None:
        name = check_choice("a task of Meta-World", task, METAWORLD).removeprefix("metaworld/")
        hidden = check_flag("partially_observable", partially_observable, "give false to show the goal")
        limit = check_int("episode_limit", episode_limit, 1, "give a number of steps such as 200", maximum=LARGEST)
        super().__init__(
            task,
            n_envs,
            f"MetaWorld/{''.join(word.capitalize() for word in name.split('-'))}-v3",
            {"partially_observable": hidden, "max_episode_steps": limit},
            render_mode=render_mode,
            tallies={"is_success": ("success", np.maximum)},
            partially_observable=hidden,
            episode_limit=limit,
        )

    def _observed_space(self, space: Any) -> Box:
        return numbers(int(np.prod(space.shape)))

    def _observed(self, seen: Any) -> NDArray[np.float32]:
        observations: NDArray[np.float32] = seen.astype(np.float32)
        return observations


__getattr__ = worlds(METAWORLD, MetaWorldGames)
