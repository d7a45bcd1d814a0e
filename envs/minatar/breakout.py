"""Breakout: a paddle keeps a ball in play that breaks three rows of bricks; nothing ramps up."""

from typing import Any

from envs.minatar.columns import Field, record
from envs.minatar.compiling import helper
from envs.minatar.loops import kernels
from envs.minatar.random import draw_below

WALL = 2**30 - 1  # all bricks of rows 1 to 3; the brick in column x of row y is bit 10 (y - 1) + x

GAME, BOUNDS = record(
    paddle_x=Field(0, 9),
    ball_x=Field(0, 9),
    ball_y=Field(0, 8),
    last_x=Field(0, 9),
    last_y=Field(0, 8),
    direction_x=Field(-1, 1),  # 1 to the right, -1 to the left
    direction_y=Field(-1, 1),  # 1 down, -1 up
    inside=Field(0, 1),  # whether the ball was in a brick's cell in the last step, and so breaks none in this one
    bricks=Field(0, WALL),
)


@helper
def _begin(game: Any, player: Any) -> None:
    side = draw_below(player, 2)
    game.ball_x = game.last_x = 9 * side
    game.ball_y = game.last_y = 3
    game.direction_x = 1 - 2 * side
    game.direction_y = 1
    game.paddle_x = 4
    game.bricks = WALL
    game.inside = 0


@helper
def _brick(x: int, y: int) -> int:
    """The bit of a cell's brick, 0 where none can be."""
    return 1 << (10 * (y - 1) + x) if 1 <= y <= 3 else 0


@helper
def _catch(game: Any, x: int) -> bool:
    """Whether the ball, which comes down on column x, meets the paddle; at its corner it also turns sideways.

    An empty wall is built again.
    """
    if game.bricks == 0:
        game.bricks = WALL
    corner = game.paddle_x == x and game.paddle_x != game.ball_x
    if corner:
        game.direction_x = -game.direction_x
    return corner or bool(game.paddle_x == game.ball_x)


@helper
def _play(game: Any, player: Any, action: int, ramping: bool) -> tuple[int, bool]:
    if action == 1:
        game.paddle_x = max(0, game.paddle_x - 1)
    elif action == 3:
        game.paddle_x = min(9, game.paddle_x + 1)
    game.last_x, game.last_y = game.ball_x, game.ball_y
    x, y = game.ball_x + game.direction_x, game.ball_y + game.direction_y
    if not 0 <= x <= 9:
        x = max(0, min(9, x))
        game.direction_x = -game.direction_x
    brick = game.bricks & _brick(x, y)
    breaks = brick != 0 and game.inside == 0
    game.inside = brick != 0
    if breaks:
        game.bricks ^= brick
    caught = y == 9 and _catch(game, x)
    lost = y == 9 and not caught
    if y < 0 or breaks or caught:  # the ball turns around and stays in its row
        y = game.ball_y
        game.direction_y = -game.direction_y
    game.ball_x, game.ball_y = x, y
    return int(breaks), lost


@helper
def _show(game: Any, board: Any) -> None:
    """Channels: paddle, ball, trail, brick."""
    board[:] = 0
    board[900 + 10 * game.paddle_x] = 1
    board[100 * game.ball_y + 10 * game.ball_x + 1] = 1
    board[100 * game.last_y + 10 * game.last_x + 2] = 1
    for cell in range(30):
        board[100 + 10 * cell + 3] = (game.bricks >> cell) & 1


reset, step = kernels(__file__, _begin, _play, _show)
