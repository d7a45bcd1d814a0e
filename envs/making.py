"""``envs.make``: a stream of tasks from a few words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from envs.catalogue import EPISODE_LIMIT, STREAMS, is_game
from envs.checks import check_int
from envs.entries import Entry, tasks_from
from envs.stream import TaskStream
from envs.task import Task
from envs.vector import StreamVectorEnv


def make(
    what: Entry | Sequence[Entry],
    *,
    n_envs: int = 1,
    steps_per_task: int | None = None,
    cycles: int | None = None,
    order: str | None = None,
    lengths: str = "fixed",
    boundary: str = "hidden",
    spaces: Mapping[str, Any] | None = None,
    seed: int | None = None,
    stream_seed: int | None = None,
    episode_limit: int | None = None,
    round_to: int | None = None,
    render_mode: str | None = None,
) -> StreamVectorEnv:
    """A batch of environments that goes through a stream of tasks.

    Args:
        what: a stream of ``envs.catalogue.STREAMS``, a MinAtar game, a control or MuJoCo task, a Gymnasium id, a
            mapping with an id, arguments, shifts, drift, variants and steps (see ``envs.entries.tasks_from``), or a
            list of such tasks.
        n_envs: games played side by side.
        steps_per_task: steps of a segment, counted over all games, of tasks that have no ``steps`` of their own; left
            out, a stream has its own default and a single task one segment without end, while several need it.
        cycles: how often the tasks are gone through; left out, the stream's default, or 1.
        order: "sequence" (the default), "shuffle" or "random", see ``TaskStream.build``.
        lengths: "fixed", "poisson" or "geometric": whether segments last just their steps or draw them with that mean.
        boundary: "hidden" or "revealed": whether learners may be told of switches, or "observed": also by observations.
        spaces: how tasks of different spaces become one, such as {"observations": "pad", "actions": "union"}, see
            ``envs.spaces.SpaceMapping``; left out, the stream's default, or such tasks are refused.
        seed: seeds the games; left out, one is drawn at the first reset.
        stream_seed: decides the order of "shuffle" and "random", the lengths and, independently, what is drawn for the
            tasks (offsets of ``cchain/cartpole``, arguments of variants); left out, ``seed``, or 0 without one.
        episode_limit: steps after which an unfinished episode of a MinAtar game is truncated; left out, 2,500. Refused
            where no such game is played: control tasks have an argument of that name, Gymnasium ids a limit of their
            own, which ``max_episode_steps`` changes.
        round_to: segments are rounded up to a multiple of this many steps; left out, to whole batch steps.
        render_mode: "rgb_array" for ``render`` to give a picture of each game.

    Raises:
        ValueError: an argument is out of range, a name is unknown or the tasks do not share their spaces.

    >>> env = make(["breakout", "asterix"], n_envs=4, steps_per_task=1000, cycles=2, seed=1)
    >>> env.stream.n_segments, env.num_envs
    (4, 4)
    >>> env.close()
    """
    if seed is not None:
        check_int("seed", seed, 0, "give a number such as 0, or leave it out to have one drawn")
    if stream_seed is None:
        stream_seed = 0 if seed is None else seed
    check_int("stream_seed", stream_seed, 0, "give a number such as 0, or leave it out to use seed")
    named = STREAMS.get(what) if isinstance(what, str) else None
    listed: Any = what if isinstance(what, list | tuple) else [what]
    entries = listed if named is None else named.entries(stream_seed)
    visits = list(_visits(entries, episode_limit, stream_seed))
    tasks = [task for task, _ in visits]
    if named is not None:
        steps_per_task = named.steps_per_task if steps_per_task is None else steps_per_task
        cycles = named.cycles if cycles is None else cycles
        spaces = named.spaces if spaces is None else spaces
    stream = TaskStream.build(
        tasks,
        steps_per_task=[steps_per_task if own is None else own for _, own in visits],
        cycles=1 if cycles is None else cycles,
        order="sequence" if order is None else order,
        lengths=lengths,
        seed=stream_seed,
    )
    return StreamVectorEnv(
        stream, n_envs, boundary=boundary, spaces=spaces, seed=seed, round_to=round_to, render_mode=render_mode
    )


def _visits(entries: Sequence[Entry], episode_limit: int | None, seed: int) -> Iterator[tuple[Task, int | None]]:
    """The tasks that entries stand for, each with the steps of a visit where its entry says them."""
    limit = EPISODE_LIMIT if episode_limit is None else episode_limit
    check_int("episode_limit", limit, 1, "give a number of steps such as 2500")
    if episode_limit is not None and not any(map(is_game, entries)):
        raise ValueError(
            f"episode_limit={episode_limit} is of MinAtar games, and none is played; leave it out, or give a task a "
            "limit of its own, such as {'id': 'cartpole', 'episode_limit': 200} or {'id': 'CartPole-v1', "
            "'max_episode_steps': 200}"
        )
    for place, entry in enumerate(entries):
        tasks, steps = tasks_from(entry, episode_limit=limit, seed=seed, place=place)
        yield from ((task, steps) for task in tasks)
