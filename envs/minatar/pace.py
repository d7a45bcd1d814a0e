"""What runs in step with the clock in more than one game."""

from typing import Any

from envs.minatar.compiling import helper


@helper
def ticked(timer: int) -> int:
    """One step less, down to 0, where it waits."""
    return max(0, timer - 1)


@helper
def faster(game: Any, fastest_move: int) -> None:
    """One level harder: spawns a step closer together, at every second level moves too, and at the last nothing."""
    if game.spawn_speed == 1 and game.move_speed == fastest_move:
        return
    game.spawn_speed = max(1, game.spawn_speed - 1)
    game.move_speed = max(fastest_move, game.move_speed - game.ramp_index % 2)
    game.ramp_index += 1
