"""Freeway: cross eight lanes of cars; an episode lasts 2,501 steps, and nothing ramps up."""

from typing import Any

import numpy as np

from envs.minatar.columns import Field, record
from envs.minatar.compiling import subroutine
from envs.minatar.loops import kernels
from envs.minatar.pace import ticked
from envs.minatar.random import draw_below, draw_uniform

PAUSE = 3  # steps between two moves of the chicken
TIME_LIMIT = 2500

GAME, BOUNDS = record(
    chicken_y=Field(1, 9),
    move_timer=Field(0, PAUSE),
    time_left=Field(0, TIME_LIMIT),
    x=Field(0, 9, np.int8, 8),  # of the car in row y, at y - 1
    timer=Field(0, 5, np.int8, 8),
    speed=Field(-5, 5, np.int8, 8),  # steps between two moves, 1 to 5, negative to the left
)


@subroutine
def _draw_cars(game: Any, player: Any) -> None:
    """New speeds, then new directions."""
    for lane in range(8):
        game.timer[lane] = 1 + draw_below(player, 5)
    for lane in range(8):
        game.speed[lane] = game.timer[lane] if draw_uniform(player) > 0.5 else -game.timer[lane]


@subroutine
def _begin(game: Any, player: Any) -> None:
    _draw_cars(game, player)
    for lane in range(8):
        game.x[lane] = 0
    game.chicken_y = 9
    game.move_timer = PAUSE
    game.time_left = TIME_LIMIT


@subroutine
def _wrapped(x: int) -> int:
    """A car that leaves on one side comes back on the other."""
    if x < 0:
        return 9
    return 0 if x > 9 else x


@subroutine
def _drive(game: Any) -> None:
    """Cars move; one that stands on the chicken, before or after, sends it back to the start."""
    for lane in range(8):
        in_lane = game.chicken_y == lane + 1
        hit = in_lane and game.x[lane] == 4
        if game.timer[lane] == 0:
            game.timer[lane] = abs(game.speed[lane])
            game.x[lane] = _wrapped(game.x[lane] + (1 if game.speed[lane] > 0 else -1))
            hit = hit or (in_lane and game.x[lane] == 4)
        else:
            game.timer[lane] -= 1
        if hit:
            game.chicken_y = 9


@subroutine
def _play(game: Any, player: Any, action: int, ramping: bool) -> tuple[int, bool]:
    reward = 0
    if game.move_timer == 0 and action in (2, 4):
        game.move_timer = PAUSE
        game.chicken_y = max(0, game.chicken_y - 1) if action == 2 else min(9, game.chicken_y + 1)
    if game.chicken_y == 0:
        reward = 1
        _draw_cars(game, player)
        game.chicken_y = 9
    _drive(game)
    game.move_timer = ticked(game.move_timer)
    game.time_left -= 1
    return reward, game.time_left < 0


@subroutine
def _show(game: Any, board: Any) -> None:
    """Channels: chicken, car, trail of a car that moves every 2nd, 3rd, ... 6th step."""
    board[:] = 0
    board[100 * game.chicken_y + 40] = 1
    for lane in range(8):
        cell = 100 * (lane + 1)
        x, speed = game.x[lane], game.speed[lane]
        board[cell + 10 * x + 1] = 1
        behind = _wrapped(x - 1 if speed > 0 else x + 1)
        board[cell + 10 * behind + 1 + abs(speed)] = 1


reset, step = kernels(__file__, _begin, _play, _show)
