"""Drives a batch and the ``minatar`` package side by side, with players good enough to see all that can happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import minatar
import numpy as np
from minatar_states import STARTS, Start, fields

from envs.games import Games

NOTHING, LEFT, UP, RIGHT, DOWN, FIRE = range(6)


def play_asterix(env: Any) -> int:
    """Towards treasure, away from what stands or arrives on the way."""
    things = [thing for thing in env.entities if thing is not None]
    enemies = {(x + ahead * (1 if right else -1), y) for x, y, right, gold in things if not gold for ahead in (0, 1)}
    gold = [(x, y) for x, y, _, gold in things if gold] or [(5, 5)]
    moves = {NOTHING: (0, 0), LEFT: (-1, 0), UP: (0, -1), RIGHT: (1, 0), DOWN: (0, 1)}

    def cost(action: int) -> tuple[bool, int]:
        dx, dy = moves[action]
        x, y = min(9, max(0, env.player_x + dx)), min(8, max(1, env.player_y + dy))
        return (x, y) in enemies, min(abs(x - gx) + abs(y - gy) for gx, gy in gold)

    return min(moves, key=cost)


def play_breakout(env: Any) -> int:
    """Stay below the ball."""
    return NOTHING if env.pos == env.ball_x else LEFT if env.pos > env.ball_x else RIGHT


def play_freeway(_: Any) -> int:
    return UP


def play_seaquest(env: Any) -> int:
    """Out of the way, then up for air when it is short or all seats are taken, else to divers; shoot meanwhile."""
    threats = {(e[0] + ahead * (1 if e[2] else -1), e[1])
               for e in [*env.e_fish, *env.e_subs, *env.e_bullets] for ahead in (0, 1, 2)}  # fmt: skip
    shot = env.shot_timer == 0 and any(
        e[1] == env.sub_y and (e[0] > env.sub_x) == env.sub_or for e in [*env.e_fish, *env.e_subs]
    )
    if (env.sub_x, env.sub_y) not in threats and shot:
        return FIRE
    rise = env.diver_count != 0 and (env.oxygen < 60 or env.diver_count == 6)
    goal = min(env.divers, key=lambda d: abs(d[0] - env.sub_x) + abs(d[1] - env.sub_y), default=[5, 4])
    moves = {NOTHING: (0, 0), LEFT: (-1, 0), UP: (0, -1), RIGHT: (1, 0), DOWN: (0, 1)}

    def cost(action: int) -> tuple[bool, bool, int]:
        dx, dy = moves[action]
        x, y = min(9, max(0, env.sub_x + dx)), min(8, max(0, env.sub_y + dy))
        return (x, y) in threats, y == 0 and not rise, y if rise else abs(goal[0] - x) + abs(goal[1] - y)

    return min(moves, key=cost)


def play_space_invaders(env: Any) -> int:
    """Shoot from below the aliens, and step aside before a bullet arrives."""
    above = env.e_bullet_map[6:9, env.pos].any()
    if not above and env.shot_timer == 0 and env.alien_map[:, env.pos].any():
        return FIRE
    columns = np.flatnonzero(env.alien_map.any(axis=0))
    goal = columns[np.argmin(abs(columns - env.pos))]
    if above:
        return LEFT if env.pos > 4 else RIGHT
    return NOTHING if goal == env.pos else LEFT if goal < env.pos else RIGHT


PLAYERS: Mapping[str, Callable[[Any], int]] = {
    "asterix": play_asterix,
    "breakout": play_breakout,
    "freeway": play_freeway,
    "seaquest": play_seaquest,
    "space_invaders": play_space_invaders,
}


@dataclass
class Seen:
    """What happened in the games of the package."""

    steps: int = 0
    episodes: int = 0
    top_ramp: int = 0
    events: Counter[str] = field(default_factory=Counter)

    def add(self, game: str, env: Any, reward: float, terminated: bool) -> None:
        self.steps += 1
        self.episodes += terminated
        self.top_ramp = max(self.top_ramp, env.difficulty_ramp() or 0)
        self.events[f"reward {reward:g}"] += 1
        if game == "seaquest":
            for name in ("f_bullets", "e_bullets", "e_fish", "e_subs", "divers"):
                entries = getattr(env, name)
                self.events[f"most {name}"] = max(self.events[f"most {name}"], len(entries))
                self.events[f"equal {name}"] += len({tuple(entry) for entry in entries}) < len(entries)
            self.events[f"divers {env.diver_count}"] += 1
            self.events["out of oxygen"] += env.oxygen < 0


class Pair:
    """``n`` games of each side with the same seeds, the batch made by ``make`` with these parameters.

    Args:
        skills: For every game, how often the scripted player acts; else the action is drawn.
        start: Changes the package's game at the start of every episode; the batch's is made the same.
    """

    def __init__(
        self,
        make: Callable[..., Games],
        game: str,
        skills: list[float],
        *,
        seed: int,
        start: Start | None = None,
        limit: int = 2500,
        sticky_prob: float = 0.1,
        ramping: bool = True,
    ) -> None:
        n = len(skills)
        self.game, self.skills, self.start, self.limit = game, np.array(skills), start, limit
        self.batch = make(game, n, episode_limit=limit, sticky_prob=sticky_prob, ramping=ramping)
        self.theirs = [minatar.Environment(game, sticky_prob, ramping) for _ in range(n)]
        self.rng = np.random.default_rng(seed)
        self.elapsed = np.zeros(n, int)
        self.observations, _ = self.batch.reset(seed=seed)
        for i, env in enumerate(self.theirs):
            env.seed(seed + i)
            env.reset()
            self._same(self.observations[i], env, f"first board of game {i}")
        self.seen = Seen()
        self._change(np.ones(n, bool))

    def play(self, n_steps: int) -> Seen:
        """Take that many steps in every game.

        Raises:
            AssertionError: At the first difference, saying where.
        """
        for step in range(n_steps):
            if step % 10 == 0:
                self.batch.set_state(self.batch.get_state())  # which refuses what no play reaches
            self._step(f"step {step}")
        return self.seen

    def _actions(self) -> np.ndarray:
        drawn = self.rng.integers(6, size=len(self.theirs))
        scripted = self.rng.random(len(self.theirs)) < self.skills
        player = PLAYERS[self.game]
        for i in np.flatnonzero(scripted):
            drawn[i] = player(self.theirs[i].env)
        return drawn

    def _step(self, where: str) -> None:
        actions = self._actions()
        observations, rewards, terminations, truncations, info = self.batch.step(actions)
        self.elapsed += 1
        for i, env in enumerate(self.theirs):
            reward, terminated = env.act(int(actions[i]))
            truncated = self.elapsed[i] >= self.limit and not terminated
            ours = (rewards[i], terminations[i], truncations[i])
            assert ours == (reward, terminated, truncated), f"{self.game}, {where}, game {i}: {ours}"
            ended = terminated or truncated
            self._same(info["final_obs"][i] if ended else observations[i], env, f"{where}, game {i}")
            self.seen.add(self.game, env.env, reward, bool(terminated))
            if ended:
                assert info["_final_obs"][i]
                assert info["_final_info"][i]
                env.reset()
                self.elapsed[i] = 0
                self._same(observations[i], env, f"{where}, game {i}, next episode")
        ended = terminations | truncations
        assert ended.any() == ("final_obs" in info)
        if ended.any():
            self._change(ended)

    def _same(self, observation: np.ndarray, env: Any, where: str) -> None:
        board = env.state()
        n = board.shape[2]
        if not (np.array_equal(observation[:, :, :n], board) and not observation[:, :, n:].any()):
            cells = np.argwhere(observation[:, :, :n] != board).tolist()
            raise AssertionError(f"{self.game}, {where}: cells (y, x, channel) {cells} differ")

    def _change(self, which: np.ndarray) -> None:
        """Apply ``start`` to both."""
        if self.start is None:
            return
        state = self.batch.get_state()
        for i in np.flatnonzero(which):
            env = self.theirs[i].env
            self.start(env, self.rng)
            for name, value in fields(self.game, env).items():
                state["games"][name][i] = value
        self.batch.set_state(state)


SKILLS = [0.0, 0.5, 0.9, 0.97, 1.0, 1.0, 0.8, 0.0]


def settings(game: str) -> Iterator[dict[str, Any]]:
    """Arguments of ``Pair`` that together see every rule."""
    yield {"sticky_prob": 0.1}
    yield {"sticky_prob": 0.0}
    yield {"sticky_prob": 0.1, "limit": 150}
    yield {"sticky_prob": 0.6, "ramping": False}
    for start in STARTS[game]:
        yield {"sticky_prob": 0.05, "start": start, "limit": 12 if start.__name__ == "anything" else 2500}
