"""Seaquest: shoot fish and submarines, pick up divers, surface for air; every time the sea gets faster.

Swimmers and bullets are lists, walked from the back while entries are removed, see ``envs.minatar.lists``.
"""

from typing import Any

import numpy as np

from envs.minatar import lists
from envs.minatar.columns import Field, record
from envs.minatar.compiling import helper, subroutine
from envs.minatar.lists import COLUMNS, DIRECTION, MOVE_TIMER, SHOT_TIMER, X, Y
from envs.minatar.loops import kernels
from envs.minatar.pace import faster, ticked
from envs.minatar.random import draw_below, draw_uniform

MAX_OXYGEN, MAX_DIVERS = 200, 6
OXYGEN_PER_CELL = 20  # of the gauge
SPAWN_SPEED, MOVE_SPEED, FASTEST_MOVE = 20, 5, 2
DIVER_SPAWN_SPEED, DIVER_MOVE_SPEED = 30, 5
COOL_DOWN = 5  # steps between two shots of the player
ENEMY_COOL_DOWN = 10

# At the fastest an enemy appears every step and needs 30 steps across, and a submarine shoots every 11 steps a bullet
# that lasts at most 10: 30 enemies and 40 bullets can be there at once, 2 bullets of the player and 3 divers.
CAPACITY = 48

# Entries that do not count may still show what left the board, and there a submarine shot a bullet, which went on.
_LIST = Field((-2, 0, -1, 0, 0), (11, 8, 1, MOVE_SPEED, ENEMY_COOL_DOWN), np.int8, (CAPACITY, COLUMNS))

GAME, BOUNDS = record(
    sub_x=Field(0, 9),
    sub_y=Field(0, 8),
    direction=Field(-1, 1),  # 1 to the right, -1 to the left
    oxygen=Field(0, MAX_OXYGEN),
    # On board; a full load that surfaces leaves -1, and every later surfacing one less.
    n_divers=Field(-(2**30), MAX_DIVERS),
    surfaced=Field(0, 1),
    spawn_speed=Field(1, SPAWN_SPEED),
    spawn_timer=Field(0, SPAWN_SPEED),
    diver_timer=Field(0, DIVER_SPAWN_SPEED),
    move_speed=Field(FASTEST_MOVE, MOVE_SPEED),
    shot_timer=Field(0, COOL_DOWN),
    ramp_index=Field(0, 99),
    n_bullets=Field(0, CAPACITY),
    n_enemy_bullets=Field(0, CAPACITY),
    n_fish=Field(0, CAPACITY),
    n_subs=Field(0, CAPACITY),
    n_swimming=Field(0, CAPACITY),
    bullets=_LIST,
    enemy_bullets=_LIST,
    fish=_LIST,
    subs=_LIST,
    swimming=_LIST,  # divers not picked up
)


@subroutine
def _begin(game: Any, player: Any) -> None:
    game.sub_x, game.sub_y, game.direction = 5, 0, -1
    game.oxygen = MAX_OXYGEN
    game.n_divers = game.ramp_index = game.shot_timer = 0
    game.surfaced = 1
    game.spawn_speed = game.spawn_timer = SPAWN_SPEED
    game.diver_timer = DIVER_SPAWN_SPEED
    game.move_speed = MOVE_SPEED
    game.n_bullets = game.n_enemy_bullets = game.n_fish = game.n_subs = game.n_swimming = 0


@helper
def _on_sub(game: Any, entry: Any) -> bool:
    return bool(entry[X] == game.sub_x and entry[Y] == game.sub_y)


@helper
def _advance(entry: Any) -> bool:
    """Move one cell; whether it is still on the board."""
    entry[X] += entry[DIRECTION]
    return bool(0 <= entry[X] <= 9)


@subroutine
def _spawn_enemy(game: Any, player: Any) -> None:
    direction = 1 if draw_uniform(player) < 1 / 2 else -1
    is_sub = draw_uniform(player) < 1 / 3
    y = 1 + draw_below(player, 8)
    if lists.blocked(game.subs, game.n_subs, y, direction) or lists.blocked(game.fish, game.n_fish, y, direction):
        return
    x = 0 if direction == 1 else 9
    if is_sub:
        game.n_subs = lists.append(game.subs, game.n_subs, x, y, direction, game.move_speed, ENEMY_COOL_DOWN)
    else:
        game.n_fish = lists.append(game.fish, game.n_fish, x, y, direction, game.move_speed, 0)


@subroutine
def _spawn_diver(game: Any, player: Any) -> None:
    direction = 1 if draw_uniform(player) < 1 / 2 else -1
    y = 1 + draw_below(player, 8)
    x = 0 if direction == 1 else 9
    game.n_swimming = lists.append(game.swimming, game.n_swimming, x, y, direction, DIVER_MOVE_SPEED, 0)


@helper
def _act(game: Any, action: int) -> None:
    if action == 5 and game.shot_timer == 0:
        game.n_bullets = lists.append(game.bullets, game.n_bullets, game.sub_x, game.sub_y, game.direction, 0, 0)
        game.shot_timer = COOL_DOWN
    elif action == 1:
        game.sub_x, game.direction = max(0, game.sub_x - 1), -1
    elif action == 3:
        game.sub_x, game.direction = min(9, game.sub_x + 1), 1
    elif action == 2:
        game.sub_y = max(0, game.sub_y - 1)
    elif action == 4:
        game.sub_y = min(8, game.sub_y + 1)


@helper
def _fly(game: Any) -> int:
    """The player's bullets move; the number of fish and submarines that they hit."""
    n_hit = 0
    for i in range(game.n_bullets - 1, -1, -1):
        bullet = game.bullets[i]
        gone = not _advance(bullet)
        if not gone:
            fish = lists.find(game.fish, game.n_fish, bullet[X], bullet[Y])
            sub = -1 if fish >= 0 else lists.find(game.subs, game.n_subs, bullet[X], bullet[Y])
            if fish >= 0:
                lists.delete(game.fish, game.n_fish, fish)
                game.n_fish -= 1
            elif sub >= 0:
                lists.delete(game.subs, game.n_subs, sub)
                game.n_subs -= 1
            gone = fish >= 0 or sub >= 0
            n_hit += gone
        if gone:
            lists.remove(game.bullets, game.n_bullets, i)
            game.n_bullets -= 1
    return n_hit


@helper
def _swim(game: Any) -> None:
    """Divers move, and come on board where the submarine is and has room."""
    for i in range(game.n_swimming - 1, -1, -1):
        diver = game.swimming[i]
        aboard = _on_sub(game, diver) and game.n_divers < MAX_DIVERS
        gone = False
        if not aboard:
            if diver[MOVE_TIMER] == 0:
                diver[MOVE_TIMER] = DIVER_MOVE_SPEED
                gone = not _advance(diver)
                aboard = _on_sub(game, diver) and game.n_divers < MAX_DIVERS
            else:
                diver[MOVE_TIMER] -= 1
        if aboard:
            game.n_divers += 1
        if aboard or gone:
            lists.remove(game.swimming, game.n_swimming, i)
            game.n_swimming -= 1


@helper
def _move_enemy(game: Any, enemy: Any) -> tuple[bool, int, bool]:
    """One step of a fish or a submarine: whether it is gone, 1 if by a bullet, whether it rams the player."""
    rams = _on_sub(game, enemy)
    if enemy[MOVE_TIMER] != 0:
        enemy[MOVE_TIMER] -= 1
        return False, 0, rams
    enemy[MOVE_TIMER] = game.move_speed
    if not _advance(enemy):
        return True, 0, rams
    if _on_sub(game, enemy):
        return False, 0, True
    bullet = lists.find(game.bullets, game.n_bullets, enemy[X], enemy[Y])
    if bullet < 0:
        return False, 0, rams
    lists.delete(game.bullets, game.n_bullets, bullet)
    game.n_bullets -= 1
    return True, 1, rams


@helper
def _move_subs(game: Any) -> tuple[int, bool]:
    """Enemy submarines move, and shoot even in the step in which they go."""
    n_hit, terminated = 0, False
    for i in range(game.n_subs - 1, -1, -1):
        gone, hit, rams = _move_enemy(game, game.subs[i])
        n_hit, terminated = n_hit + hit, terminated or rams
        x, y, direction, _, shot_timer = game.subs[i]
        game.subs[i, SHOT_TIMER] = ENEMY_COOL_DOWN if shot_timer == 0 else shot_timer - 1
        if shot_timer == 0:
            game.n_enemy_bullets = lists.append(game.enemy_bullets, game.n_enemy_bullets, x, y, direction, 0, 0)
        if gone:
            lists.delete(game.subs, game.n_subs, i)
            game.n_subs -= 1
    return n_hit, terminated


@helper
def _fly_enemy(game: Any) -> bool:
    """The enemies' bullets move; whether one hits the player, before or after."""
    hit = False
    for i in range(game.n_enemy_bullets - 1, -1, -1):
        bullet = game.enemy_bullets[i]
        hit = hit or _on_sub(game, bullet)
        if _advance(bullet):
            hit = hit or _on_sub(game, bullet)
        else:
            lists.delete(game.enemy_bullets, game.n_enemy_bullets, i)
            game.n_enemy_bullets -= 1
    return hit


@helper
def _move_fish(game: Any) -> tuple[int, bool]:
    n_hit, terminated = 0, False
    for i in range(game.n_fish - 1, -1, -1):
        gone, hit, rams = _move_enemy(game, game.fish[i])
        n_hit, terminated = n_hit + hit, terminated or rams
        if gone:
            lists.delete(game.fish, game.n_fish, i)
            game.n_fish -= 1
    return n_hit, terminated


@helper
def _air(game: Any) -> int:
    """Lit cells of the oxygen gauge, 0 to 10."""
    return int(max(0, game.oxygen) // OXYGEN_PER_CELL)


@helper
def _surface(game: Any, ramping: bool) -> int:
    """Air, at the price of a diver and of faster enemies; a full load is worth what the oxygen gauge shows."""
    full = game.n_divers == MAX_DIVERS
    reward = _air(game) if full else 0
    game.n_divers = -1 if full else game.n_divers - 1
    game.oxygen = MAX_OXYGEN
    if ramping:
        faster(game, FASTEST_MOVE)
    return reward


@helper
def _breathe(game: Any, ramping: bool) -> tuple[int, bool]:
    terminated = game.oxygen <= 0
    if game.sub_y > 0:
        game.oxygen -= 1
        game.surfaced = 0
        return 0, terminated
    if game.surfaced:
        return 0, terminated
    if game.n_divers == 0:
        return 0, True
    game.surfaced = 1
    return _surface(game, ramping), terminated


@helper
def _play(game: Any, player: Any, action: int, ramping: bool) -> tuple[int, bool]:
    if game.spawn_timer == 0:
        _spawn_enemy(game, player)
        game.spawn_timer = game.spawn_speed
    if game.diver_timer == 0:
        _spawn_diver(game, player)
        game.diver_timer = DIVER_SPAWN_SPEED
    _act(game, action)
    reward = _fly(game)
    _swim(game)
    subs_hit, by_sub = _move_subs(game)
    by_bullet = _fly_enemy(game)
    fish_hit, by_fish = _move_fish(game)
    game.spawn_timer, game.diver_timer = ticked(game.spawn_timer), ticked(game.diver_timer)
    game.shot_timer = ticked(game.shot_timer)
    rescued, lost = _breathe(game, ramping)
    return reward + subs_hit + fish_hit + rescued, by_sub or by_bullet or by_fish or lost


@helper
def _show_swimmers(entries: Any, n: int, board: Any, channel: int) -> None:
    for i in range(n):
        cell = 100 * entries[i, Y]
        board[cell + 10 * entries[i, X] + channel] = 1
        behind = entries[i, X] - entries[i, DIRECTION]
        if 0 <= behind <= 9:
            board[cell + 10 * behind + 3] = 1


@helper
def _show_bullets(entries: Any, n: int, board: Any, channel: int) -> None:
    for i in range(n):
        board[100 * entries[i, Y] + 10 * entries[i, X] + channel] = 1


@helper
def _show(game: Any, board: Any) -> None:
    """Channels: front, back, bullet, trail, enemies' bullet, fish, submarine, oxygen gauge, diver gauge, diver."""
    board[:] = 0
    cell = 100 * game.sub_y + 10 * game.sub_x
    board[cell] = 1
    board[cell - 10 * game.direction + 1] = 1
    air, first_diver = _air(game), 9 - game.n_divers
    for x in range(9):
        board[900 + 10 * x + 7] = x < air
        board[900 + 10 * x + 8] = x >= first_diver
    board[997] = air == 10
    _show_bullets(game.bullets, game.n_bullets, board, 2)
    _show_bullets(game.enemy_bullets, game.n_enemy_bullets, board, 4)
    _show_swimmers(game.fish, game.n_fish, board, 5)
    _show_swimmers(game.subs, game.n_subs, board, 6)
    _show_swimmers(game.swimming, game.n_swimming, board, 9)


reset, step = kernels(__file__, _begin, _play, _show)
