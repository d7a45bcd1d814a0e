"""What a stream costs on top of its games: per step, per switch, in memory, and by giving worlds common spaces.

- A batch of one MinAtar game alone, and the same batch in a stream that visits it again and again.
- A stream of thousands of pixel-permuted Breakouts: what a switch takes beside seeding and resetting the games, which
  any new episode of all games takes, and its memory beside one game's.
- Observations and actions of 64 games that are given the spaces of a stream: games that always give the same
  observations, without and with that.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.harness.clocks import middle, timed
from benchmarks.harness.declared import MEGABYTES, MICROSECONDS, Repetition, Row, Side, Spent

if TYPE_CHECKING:
    from gymnasium.spaces import Box

    from envs.fits.base import Plan

TITLE = "What does a stream cost on top of its games?"
GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
STEPS_PER_TASK = 500_000  # the default of the MinAtar streams
TASKS = 5000
FITS = {  # -> steps, which take a fraction of a second
    "pad 4 numbers to 6": 20_000,
    "pad a board's 4 channels to 10": 2_000,
    "resize 3 x 64 x 64 to 84 x 84": 20,
    "tell one of 3 tasks by numbers": 20_000,
    "tell one of 3 tasks by a board's planes": 2_000,
    "tell one of 3 tasks by an image's planes": 2_000,
    "play 5 actions by 3": 20_000,
}


def stepping(game: str, n_envs: int, steps: int, streamed: bool = False) -> Repetition:
    """So many steps of a batch alone, or inside a stream."""
    import numpy as np

    import envs
    from envs.minatar import make_games

    env: Any = make_games(game, n_envs)
    if streamed:
        env = envs.make(game, n_envs=n_envs, steps_per_task=STEPS_PER_TASK, cycles=10**5)
    actions = np.random.default_rng(0).integers(6, size=(max(1, steps // n_envs), n_envs))
    env.reset(seed=0)

    def repetition() -> float:
        for row in actions:
            env.step(row)
        return float(actions.size)

    return repetition


def permuted(n_envs: int, tasks: int = TASKS) -> Any:
    """A stream of so many Breakouts, of which each step of all games is a visit."""
    import envs

    entry = {"id": "breakout", "shifts": ["pixel_permutation"], "variants": tasks}
    return envs.make(entry, n_envs=n_envs, steps_per_task=n_envs, seed=0)


def _one(n_envs: int) -> Any:
    """One Breakout, which has made a step."""
    import numpy as np

    import envs

    one = envs.make("breakout", n_envs=n_envs, seed=0)
    one.reset()
    one.step(np.zeros(n_envs, np.int64))
    return one


def beginning(n_envs: int, switches: int) -> Repetition:
    """Seed and reset the games, as often as the other side switches."""
    import numpy as np

    one = _one(n_envs)
    seeds = [int(seed) for seed in np.random.SeedSequence((0, 1)).generate_state(n_envs)]

    def repetition() -> Spent:
        taken = middle(timed(lambda: one.games.reset(seed=seeds)) for _ in range(switches))
        return Spent(1, *taken)

    return repetition


def switching(n_envs: int, switches: int) -> Repetition:
    """Steps that switch, less steps that do not."""
    import numpy as np

    one, stream, actions = _one(n_envs), permuted(n_envs), np.zeros(n_envs, np.int64)
    stream.reset()

    def repetition() -> Spent:
        before = stream.segment.index
        switched, stepped = (
            middle(timed(partial(env.step, actions)) for _ in range(switches)) for env in (stream, one)
        )
        assert stream.segment.index == before + switches
        return Spent(1, *(switched - stepped))

    return repetition


def holding(n_envs: int, tasks: int) -> Repetition:
    """Make one Breakout, or a stream of permuted ones, and step it."""

    def repetition() -> float:
        import numpy as np

        env = _one(n_envs)
        if tasks > 1:
            env = permuted(n_envs, tasks)
            env.reset()
            env.step(np.zeros(n_envs, np.int64))
        return 1

    return repetition


def fitted(fit: str, steps: int, given: bool = False) -> Repetition:
    """Steps of 64 games that always give the same observations, as they are, or in the spaces of a stream."""
    import numpy as np
    from gymnasium.spaces import Discrete
    from gymnasium.vector.utils import batch_space

    from envs.fits import fit_games
    from envs.games import Games, Step

    class Still(Games):
        def __init__(self, space: Box) -> None:
            self.num_envs, self.metadata, self.render_mode = 64, {}, None
            self.single_observation_space, self.single_action_space = space, Discrete(3)
            self.observation_space, self.action_space = batch_space(space, 64), batch_space(Discrete(3), 64)
            self._observations = np.ones((64, *space.shape), space.dtype)

        def step(self, actions: object, active: object = None) -> Step:
            return self._observations, np.zeros(64), np.zeros(64, bool), np.zeros(64, bool), {}

    space, planned = _planned(fit)
    spec = planned.specs[0]
    assert spec is not None
    games: Any = fit_games(Still(space), [spec]) if given else Still(space)
    actions = np.zeros(64, np.int64)

    def repetition() -> float:
        for _ in range(steps):
            games.step(actions)
        return steps

    return repetition


def _planned(fit: str) -> tuple[Box, Plan]:
    """The space of the games, and how they get that of the stream."""
    from gymnasium.spaces import Discrete

    from envs.fits.base import Plan
    from envs.fits.task_id import plan as plan_task

    plans = {
        "pad 4 numbers to 6": lambda: (_box(4), _beside("pad", _box(4), _box(6))),
        "pad a board's 4 channels to 10": lambda: (_box(10, 10, 4), _beside("pad", _box(10, 10, 4), _box(10, 10, 10))),
        "resize 3 x 64 x 64 to 84 x 84": lambda: (
            _box(3, 64, 64), _beside("resize", _box(3, 64, 64), _box(3, 84, 84))
        ),
        "tell one of 3 tasks by numbers": lambda: (_box(4), plan_task(_box(4), 3)),
        "tell one of 3 tasks by a board's planes": lambda: (_box(10, 10, 10), plan_task(_box(10, 10, 10), 3)),
        "tell one of 3 tasks by an image's planes": lambda: (_box(3, 64, 64), plan_task(_box(3, 64, 64), 3)),
        "play 5 actions by 3": lambda: (
            _box(4), Plan(Discrete(5), [("actions", {"actions": [0, 1, 2, 0, 0]})], "")
        ),
    }  # fmt: skip
    return plans[fit]()


def _box(*shape: int) -> Box:
    """A vector, a MinAtar board or an image."""
    import numpy as np
    from gymnasium.spaces import Box

    low, high, kind = (
        (-1, 1, np.float32) if len(shape) == 1 else (0, 1, np.bool_) if shape[0] == 10 else (0, 255, np.uint8)
    )
    return Box(low, high, shape, kind)


def _beside(how: Any, own: Box, other: Box) -> Plan:
    from envs.fits.observations import plan

    found = plan([["other"], ["own"]], [other, own], how, None)
    return found._replace(specs=found.specs[1:])


def _layer(game: str) -> Row:
    sides = {"alone": Side(stepping), "in a stream": Side(stepping, {"streamed": True}, at_least=0.9)}
    settings = {"game": game, "n_envs": 1024, "steps": 2_000 * 1024}
    return Row(f"stream/{game}", f"{game}, 1,024 games", sides, settings=settings, repetitions=9)


def _switch(n_envs: int) -> Row:
    sides = {"seeding and resetting the games": Side(beginning), "a switch": Side(switching)}
    settings = {"n_envs": n_envs, "switches": 400}
    title = f"a switch among {TASKS:,} permuted Breakouts, {n_envs} at once"
    return Row(f"stream/switch_{n_envs}", title, sides, MICROSECONDS, settings, quick={"switches": 20}, repetitions=9)


def _fit(number: int, fit: str) -> Row:
    sides = {"as they are": Side(fitted), "fitted": Side(fitted, {"given": True})}
    title, settings = f"{fit}, a step of 64 games that do nothing", {"fit": fit, "steps": FITS[fit]}
    return Row(f"stream/fit_{number}", title, sides, MICROSECONDS, settings, repetitions=9)


ROWS = [
    *(_layer(game) for game in GAMES),
    *(_switch(n_envs) for n_envs in (1, 64)),
    Row(
        "stream/memory",
        f"memory of {TASKS:,} permuted Breakouts",
        {"one": Side(holding, {"tasks": 1}), "all": Side(holding, {"tasks": TASKS}, at_most=1.05)},
        MEGABYTES,
        {"n_envs": 64},
        fresh=True,
    ),
    *(_fit(number, fit) for number, fit in enumerate(FITS, 1)),
]
