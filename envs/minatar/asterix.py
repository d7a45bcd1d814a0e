"""Asterix: walk, collect treasure, avoid enemies; both cross the board in rows 1 to 8."""

from typing import Any

import numpy as np

from envs.minatar.columns import Field, record
from envs.minatar.compiling import helper, subroutine
from envs.minatar.loops import kernels
from envs.minatar.pace import faster
from envs.minatar.random import draw_below, draw_uniform

EMPTY, ENEMY, GOLD = 0, 1, 2  # what a row holds, at most one thing each
SPAWN_SPEED, MOVE_SPEED, FASTEST_MOVE = 10, 5, 1
RAMP_PERIOD = 102  # steps

GAME, BOUNDS = record(
    player_x=Field(0, 9),
    player_y=Field(1, 8),
    spawn_speed=Field(1, SPAWN_SPEED),
    spawn_timer=Field(0, SPAWN_SPEED),
    move_speed=Field(FASTEST_MOVE, MOVE_SPEED),
    move_timer=Field(0, MOVE_SPEED),
    ramp_timer=Field(1, RAMP_PERIOD),  # steps until spawns and moves get faster
    ramp_index=Field(0, 99),
    kind=Field(EMPTY, GOLD, np.int8, 8),  # of row y, at y - 1
    x=Field(-1, 10, np.int8, 8),
    direction=Field(-1, 1, np.int8, 8),  # 1 to the right, -1 to the left, 0 once it has left
)


@helper
def _begin(game: Any, player: Any) -> None:
    game.player_x = game.player_y = 5
    game.spawn_speed = game.spawn_timer = SPAWN_SPEED
    game.move_speed = game.move_timer = MOVE_SPEED
    game.ramp_timer = RAMP_PERIOD
    game.ramp_index = 0
    for row in range(8):
        game.kind[row] = EMPTY


@subroutine
def _spawn(game: Any, player: Any) -> None:
    """Something enters a random empty row; without one the two draws are made all the same."""
    direction = 1 if draw_uniform(player) < 1 / 2 else -1
    kind = GOLD if draw_uniform(player) < 1 / 3 else ENEMY
    n_empty = 0
    for row in range(8):
        n_empty += game.kind[row] == EMPTY
    if n_empty == 0:
        return
    chosen = draw_below(player, n_empty)
    for row in range(8):
        if game.kind[row] == EMPTY:
            if chosen == 0:
                game.kind[row] = kind
                game.x[row] = 0 if direction == 1 else 9
                game.direction[row] = direction
                return
            chosen -= 1


@helper
def _meet(game: Any) -> tuple[int, bool]:
    """What stands in the player's cell gives 1 if it is treasure, which is taken, and else ends the game."""
    row = game.player_y - 1
    if game.kind[row] == EMPTY or game.x[row] != game.player_x:
        return 0, False
    if game.kind[row] == ENEMY:
        return 0, True
    game.kind[row] = EMPTY
    return 1, False


@helper
def _ramp(game: Any) -> None:
    game.ramp_timer -= 1
    if game.ramp_timer == 0:
        game.ramp_timer = RAMP_PERIOD
        faster(game, FASTEST_MOVE)


@helper
def _play(game: Any, player: Any, action: int, ramping: bool) -> tuple[int, bool]:
    if game.spawn_timer == 0:
        _spawn(game, player)
        game.spawn_timer = game.spawn_speed
    if action == 1:
        game.player_x = max(0, game.player_x - 1)
    elif action == 2:
        game.player_y = max(1, game.player_y - 1)
    elif action == 3:
        game.player_x = min(9, game.player_x + 1)
    elif action == 4:
        game.player_y = min(8, game.player_y + 1)
    reward, terminated = _meet(game)
    if game.move_timer == 0:
        game.move_timer = game.move_speed
        for row in range(8):
            game.x[row] += game.direction[row]
            if not 0 <= game.x[row] <= 9:
                game.kind[row], game.direction[row] = EMPTY, 0
        found, caught = _meet(game)
        reward, terminated = reward + found, terminated or caught
    game.spawn_timer -= 1
    game.move_timer -= 1
    if ramping:
        _ramp(game)
    return reward, terminated


@helper
def _show(game: Any, board: Any) -> None:
    """Channels: player, enemy, trail, treasure."""
    board[:] = 0
    board[100 * game.player_y + 10 * game.player_x] = 1
    for row in range(8):
        if game.kind[row] == EMPTY:
            continue
        cell = 100 * (row + 1)
        x = game.x[row]
        board[cell + 10 * x + (3 if game.kind[row] == GOLD else 1)] = 1
        behind = x - game.direction[row]
        if 0 <= behind <= 9:
            board[cell + 10 * behind + 2] = 1


reset, step = kernels(__file__, _begin, _play, _show)
