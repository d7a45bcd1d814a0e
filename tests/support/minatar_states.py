"""States of the ``minatar`` package's games that play rarely reaches, and how the batch holds a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import numpy as np

Start = Callable[[Any, np.random.Generator], None]
"""Changes a game of the package in place."""


def _bits(rows: np.ndarray) -> np.ndarray:
    return (rows != 0) @ (1 << np.arange(10))


def _asterix(env: Any) -> dict[str, Any]:
    names = [
        "player_x",
        "player_y",
        "spawn_speed",
        "spawn_timer",
        "move_speed",
        "move_timer",
        "ramp_index",
    ]
    found = [entity or [0, 0, True, None] for entity in env.entities]
    kinds = {None: 0, False: 1, True: 2}
    return {name: getattr(env, name) for name in names} | {
        "ramp_timer": env.ramp_timer + 2,  # theirs goes down to -1 and gets faster in the step after that
        "kind": [kinds[gold] for *_, gold in found],
        "x": [entity[0] for entity in found],
        "direction": [1 if entity[2] else -1 for entity in found],
    }


def _breakout(env: Any) -> dict[str, Any]:
    return {
        "paddle_x": env.pos,
        "direction_x": (-1, 1, 1, -1)[env.ball_dir],
        "direction_y": (-1, -1, 1, 1)[env.ball_dir],
        "inside": env.strike,
        "bricks": sum(int(row) << (10 * i) for i, row in enumerate(_bits(env.brick_map[1:4]))),
    } | {name: getattr(env, name) for name in ("ball_x", "ball_y", "last_x", "last_y")}


def _freeway(env: Any) -> dict[str, Any]:
    scalars = {"chicken_y": env.pos, "move_timer": env.move_timer, "time_left": env.terminate_timer}
    x, _, timer, speed = zip(*env.cars, strict=True)
    return scalars | {"x": x, "timer": timer, "speed": speed}


def _seaquest(env: Any) -> dict[str, Any]:
    names = {
        "sub_x": "sub_x", "sub_y": "sub_y", "oxygen": "oxygen", "n_divers": "diver_count", "surfaced": "surface",
        "spawn_speed": "e_spawn_speed", "spawn_timer": "e_spawn_timer", "diver_timer": "d_spawn_timer",
        "move_speed": "move_speed", "shot_timer": "shot_timer", "ramp_index": "ramp_index",
    }  # fmt: skip
    held: dict[str, Any] = {ours: getattr(env, theirs) for ours, theirs in names.items()}
    held["direction"] = 1 if env.sub_or else -1
    lists = {"bullets": "f_bullets", "enemy_bullets": "e_bullets", "fish": "e_fish", "subs": "e_subs"}
    for ours, theirs in (lists | {"swimming": "divers"}).items():
        entries = getattr(env, theirs)
        held[f"n_{ours}"] = len(entries)
        held[ours] = np.zeros((48, 5), np.int8)
        for row, (x, y, right, *timers) in zip(held[ours], entries, strict=False):
            row[: 3 + len(timers)] = [x, y, 1 if right else -1, *timers]
    return held


def _space_invaders(env: Any) -> dict[str, Any]:
    return {
        "cannon_x": env.pos,
        "shot_timer": env.shot_timer,
        "alien_direction": env.alien_dir,
        "move_interval": env.enemy_move_interval,
        "move_timer": env.alien_move_timer,
        "alien_shot_timer": env.alien_shot_timer,
        "ramp_index": env.ramp_index,
        "aliens": _bits(env.alien_map),
        "bullets": _bits(env.f_bullet_map),
        "alien_bullets": _bits(env.e_bullet_map),
    }


def fields(game: str, env: Any) -> dict[str, Any]:
    """The fields of the batch's game in the state of the package's."""
    held: dict[str, Any] = globals()[f"_{game}"](env)
    return held


def _setting(name: str, attributes: Callable[[Any, np.random.Generator], Mapping[str, Any]]) -> Start:
    @wraps(attributes)
    def start(env: Any, rng: np.random.Generator) -> None:
        for key, value in attributes(env, rng).items():
            setattr(env, key, value)

    start.__name__ = name
    return start


def _ramp(game: str, level: int) -> Start:
    """As after ``level`` increases of difficulty."""
    values: Mapping[str, int] = {
        "asterix": {"spawn_speed": max(1, 10 - level), "move_speed": max(1, 5 - level // 2)},
        "seaquest": {"e_spawn_speed": max(1, 20 - level), "move_speed": max(2, 5 - level // 2)},
        "space_invaders": {"enemy_move_interval": max(6, 12 - level)},
    }[game]
    return _setting(f"ramp_{level}", lambda env, rng: {**values, "ramp_index": level})


def _any_asterix(env: Any, rng: np.random.Generator) -> dict[str, Any]:
    entities = [[int(rng.integers(10)), y, bool(rng.integers(2)), bool(rng.integers(2))] for y in range(1, 9)]
    return {
        "entities": [entity if rng.random() < 0.7 else None for entity in entities],
        "player_x": int(rng.integers(10)),
        "player_y": int(rng.integers(1, 9)),
        "spawn_timer": int(rng.integers(3)),
        "move_timer": int(rng.integers(3)),
        "ramp_timer": int(rng.integers(-1, 4)),
        "ramp_index": int(rng.integers(12)),
        "spawn_speed": int(rng.integers(1, 4)),
        "move_speed": int(rng.integers(1, 4)),
    }


def _any_breakout(env: Any, rng: np.random.Generator) -> dict[str, Any]:
    bricks = np.zeros((10, 10))
    bricks[1:4] = rng.random((3, 10)) < rng.choice([0, 0.05, 0.5, 1])
    place = {"ball_x": int(rng.integers(10)), "ball_y": int(rng.integers(9)), "ball_dir": int(rng.integers(4))}
    return place | {"brick_map": bricks, "strike": bool(rng.integers(2)), "pos": int(rng.integers(10))}


def _any_freeway(env: Any, rng: np.random.Generator) -> dict[str, Any]:
    speeds = rng.integers(1, 6, 8) * rng.choice([-1, 1], 8)
    cars = [[int(rng.integers(10)), y, int(rng.integers(abs(v) + 1)), int(v)] for y, v in enumerate(speeds, 1)]
    return {"cars": cars, "pos": int(rng.integers(1, 10)), "terminate_timer": int(rng.integers(20))}


def _any_seaquest(env: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Crowded, with many equal entries in the lists."""

    def entries(most: int, *timers: int) -> list[list[Any]]:
        bounds = [(0, 10), (1, 4), (0, 2), *((0, timer) for timer in timers)]
        drawn = [[int(rng.integers(*bound)) for bound in bounds] for _ in range(rng.integers(most + 1))]
        drawn = [[x, y, bool(right), *timers] for x, y, right, *timers in drawn]
        return drawn + [list(drawn[i]) for i in rng.integers(len(drawn), size=len(drawn))] if drawn else []

    scalars = {"sub_x": (1, 9), "sub_y": (0, 5), "oxygen": (0, 201), "diver_count": (-2, 7), "e_spawn_timer": (0, 3),
               "d_spawn_timer": (0, 3), "shot_timer": (0, 2), "move_speed": (2, 6), "e_spawn_speed": (1, 21),
               "ramp_index": (0, 20)}  # fmt: skip
    return {name: int(rng.integers(*bounds)) for name, bounds in scalars.items()} | {
        "sub_or": bool(rng.integers(2)),
        "surface": bool(rng.integers(2)),
        "f_bullets": entries(4),
        "e_bullets": entries(6),
        "e_fish": entries(8, 2),
        "e_subs": entries(8, 2, 2),
        "divers": entries(4, 2),
    }


def _any_space_invaders(env: Any, rng: np.random.Generator) -> dict[str, Any]:
    aliens = (rng.random((10, 10)) < rng.choice([0.02, 0.1, 0.4])).astype(float)
    aliens[int(rng.integers(10)), int(rng.integers(10))] = 1  # at least one, as in play
    bullets = [(rng.random((10, 10)) < 0.1).astype(float) for _ in range(2)]
    scalars = {"pos": (0, 10), "shot_timer": (0, 3), "alien_move_timer": (0, 3), "alien_shot_timer": (0, 3),
               "enemy_move_interval": (6, 13), "ramp_index": (0, 7)}  # fmt: skip
    return {name: int(rng.integers(*bounds)) for name, bounds in scalars.items()} | {
        "alien_dir": int(rng.choice([-1, 1])),
        "alien_map": aliens,
        "f_bullet_map": bullets[0],
        "e_bullet_map": bullets[1],
    }


STARTS: Mapping[str, tuple[Start, ...]] = {
    "asterix": (_setting("anything", _any_asterix), *(_ramp("asterix", level) for level in (4, 8, 9))),
    "breakout": (_setting("anything", _any_breakout),),
    "freeway": (
        _setting("anything", _any_freeway),
        _setting("late", lambda env, rng: {"terminate_timer": int(rng.integers(200))}),
    ),
    "seaquest": (
        _setting("anything", _any_seaquest),
        _setting("short_of_air", lambda env, rng: {"oxygen": 30, "diver_count": int(rng.integers(-1, 7))}),
        *(_ramp("seaquest", level) for level in (9, 18, 19)),
    ),
    "space_invaders": (
        _setting("anything", _any_space_invaders),
        *(_ramp("space_invaders", level) for level in (3, 5, 6)),
    ),
}
"""Of each game: anything, for short episodes, and levels of difficulty from the middle to the last."""
