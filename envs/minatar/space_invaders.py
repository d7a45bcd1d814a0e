"""Space Invaders: shoot a wave of aliens that shoots back; every wave cleared makes the next one faster."""

from typing import Any

import numpy as np

from envs.minatar.columns import Field, record
from envs.minatar.compiling import helper
from envs.minatar.loops import kernels
from envs.minatar.pace import ticked

COOL_DOWN = 5  # steps between two shots of the player
MOVE_INTERVAL, SHORTEST_INTERVAL = 12, 6  # most steps between two moves of the aliens, in the first wave and at last
SHOT_INTERVAL = 10  # steps between two shots of the aliens
WAVE_ROWS, WAVE, ROW = 4, 0b0011111100, 0b1111111111

GAME, BOUNDS = record(
    cannon_x=Field(0, 9),
    shot_timer=Field(0, COOL_DOWN),
    alien_direction=Field(-1, 1),  # 1 to the right, -1 to the left
    move_interval=Field(SHORTEST_INTERVAL, MOVE_INTERVAL),
    move_timer=Field(0, MOVE_INTERVAL),
    alien_shot_timer=Field(0, SHOT_INTERVAL),
    ramp_index=Field(0, 99),
    aliens=Field(0, ROW, np.int16, 10),  # of row y; column x is bit x
    bullets=Field(0, ROW, np.int16, 10),
    alien_bullets=Field(0, ROW, np.int16, 10),
)


@helper
def _count(bits: int) -> int:
    """The set bits of a row."""
    n = 0
    while bits:
        bits &= bits - 1
        n += 1
    return n


@helper
def _new_wave(game: Any) -> None:
    for y in range(10):
        game.aliens[y] = WAVE if y < WAVE_ROWS else 0


@helper
def _begin(game: Any, player: Any) -> None:
    game.cannon_x = 5
    _new_wave(game)
    for y in range(10):
        game.bullets[y] = game.alien_bullets[y] = 0
    game.alien_direction = -1
    game.move_interval = game.move_timer = MOVE_INTERVAL
    game.alien_shot_timer = SHOT_INTERVAL
    game.ramp_index = game.shot_timer = 0


@helper
def _act(game: Any, action: int) -> None:
    if action == 5 and game.shot_timer == 0:
        game.bullets[9] |= 1 << game.cannon_x
        game.shot_timer = COOL_DOWN
    elif action == 1:
        game.cannon_x = max(0, game.cannon_x - 1)
    elif action == 3:
        game.cannon_x = min(9, game.cannon_x + 1)


@helper
def _fly(game: Any) -> None:
    """Bullets move one row and leave at the edge."""
    for y in range(9):
        game.bullets[y] = game.bullets[y + 1]
        game.alien_bullets[9 - y] = game.alien_bullets[8 - y]
    game.bullets[9] = game.alien_bullets[0] = 0


@helper
def _move_aliens(game: Any) -> bool:
    """One cell sideways, or at an edge one down and around. Those in the last row then end the game."""
    n_aliens, columns = 0, 0
    for y in range(10):
        n_aliens += _count(game.aliens[y])
        columns |= game.aliens[y]
    game.move_timer = min(n_aliens, game.move_interval)
    if columns & (1 if game.alien_direction < 0 else 1 << 9):
        game.alien_direction = -game.alien_direction
        landed = game.aliens[9]
        for y in range(9, 0, -1):
            game.aliens[y] = game.aliens[y - 1]
        game.aliens[0] = landed  # the game is over, and its last board shows them there
        return bool(landed != 0)
    for y in range(10):
        game.aliens[y] = game.aliens[y] >> 1 if game.alien_direction < 0 else game.aliens[y] << 1
    return False


@helper
def _shoot_back(game: Any) -> None:
    """The lowest alien of the column nearest to the player shoots; of two as near, the left one."""
    columns = 0
    for y in range(10):
        columns |= game.aliens[y]
    for distance in range(10):
        x = game.cannon_x - distance
        if x < 0 or not (columns >> x) & 1:
            x = game.cannon_x + distance
        if x <= 9 and (columns >> x) & 1:
            break
    for y in range(9, -1, -1):
        if (game.aliens[y] >> x) & 1:
            game.alien_bullets[y] |= 1 << x
            return


@helper
def _hit(game: Any) -> int:
    """Aliens and bullets that meet are gone; the number of them."""
    n = 0
    for y in range(10):
        hit = game.aliens[y] & game.bullets[y]
        if hit:
            game.aliens[y] ^= hit
            game.bullets[y] ^= hit
            n += _count(hit)
    return n


@helper
def _play(game: Any, player: Any, action: int, ramping: bool) -> tuple[int, bool]:
    _act(game, action)
    _fly(game)
    cannon = 1 << game.cannon_x
    terminated = ((game.alien_bullets[9] | game.aliens[9]) & cannon) != 0
    if game.move_timer == 0:
        landed = _move_aliens(game)
        terminated = terminated or landed or (game.aliens[9] & cannon) != 0
    if game.alien_shot_timer == 0:
        game.alien_shot_timer = SHOT_INTERVAL
        _shoot_back(game)
    reward = _hit(game)
    game.shot_timer = ticked(game.shot_timer)
    game.move_timer -= 1
    game.alien_shot_timer -= 1
    alive = 0
    for y in range(10):
        alive |= game.aliens[y]
    if alive == 0:
        if ramping and game.move_interval > SHORTEST_INTERVAL:
            game.move_interval -= 1
            game.ramp_index += 1
        _new_wave(game)
    return reward, terminated


@helper
def _show(game: Any, board: Any) -> None:
    """Channels: cannon, alien, alien that goes left, alien that goes right, bullet, alien's bullet."""
    board[:] = 0
    board[900 + 10 * game.cannon_x] = 1
    facing = 2 if game.alien_direction < 0 else 3
    for y in range(10):
        aliens, bullets, alien_bullets = game.aliens[y], game.bullets[y], game.alien_bullets[y]
        if not aliens | bullets | alien_bullets:
            continue
        for x in range(10):
            cell = 100 * y + 10 * x
            board[cell + 1] = board[cell + facing] = (aliens >> x) & 1
            board[cell + 4] = (bullets >> x) & 1
            board[cell + 5] = (alien_bullets >> x) & 1


reset, step = kernels(__file__, _begin, _play, _show)
