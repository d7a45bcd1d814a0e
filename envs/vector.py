"""A batch of environments that plays a stream: all games change task together."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.arguments import require_reset
from envs.checks import check_choice, check_int
from envs.games import Games, Step, SyncGames
from envs.seeds import REBUILD, check_seed, fresh_seed, seeds_of
from envs.shifts import layers_of
from envs.spaces import SpaceMapping, common_spaces
from envs.standing import check_place, place_of
from envs.stream import Segment, TaskStream
from envs.visit import Visit

BOUNDARIES = ("hidden", "revealed", "observed")

ADAPTER = "agents.StreamMonitor(agents.VectorEnvAdapter(stream))"
"""What Stable-Baselines3's own helpers take for a stream."""


class _NamesAdapter(type):
    """Puts the remedy into messages that name a class: Stable-Baselines3 says no more where it refuses a stream."""

    def __format__(cls, spec: str) -> str:
        return f"{super().__format__(spec)} (Stable-Baselines3 takes {ADAPTER})"


class StreamVectorEnv(VectorEnv[Any, Any, Any], metaclass=_NamesAdapter):
    """``n_envs`` games of the stream's current task; a step is one transition of one game.

    Episodes restart in the step that ends them (``AutoresetMode.SAME_STEP``). A segment ends at the first batch step
    whose total reaches its budget: games in flight are then truncated, never terminated, every game gets a
    ``final_obs`` of the old task, and the returned observations are the first of the new one. After its last segment
    the stream stays in the last task, and its games go on.

    ``info`` says where the stream stands, that is, which task the returned observations are of, in arrays of shape
    (n_envs,) that are read-only and shared between steps: ``task`` (str), ``task_index``, ``segment`` and
    ``task_switched`` (True exactly in the step that switched). ``info["final_info"]`` carries the same four for the
    transition just made, of the old task at a switch, and ``cut_by_switch``, True for the episodes that the switch
    ended. An episode that ends by itself in that very step keeps its own flags and is not cut.

    Game i of the first segment is seeded with seed + i, as Gymnasium and SB3 do; the games of a later segment with
    ``np.random.SeedSequence((seed, segment))``, and those of a rebuild with its number as part of the key.

    Args:
        stream: which task when.
        n_envs: games played side by side.
        boundary: "hidden" or "revealed": whether learners may be told of switches, or "observed": so that observations
            tell the task, too. A vector gets one number for each task of the stream, of which the task's own is 1 and
            all others are 0, an image or a board one such plane behind its channels (255 in images).
        spaces: how tasks of different spaces become one, see ``envs.spaces.SpaceMapping``; None refuses them.
        seed: seeds the games at the first reset; None draws one then.
        round_to: the steps of every segment are rounded up to a multiple of this number, itself a multiple of
            ``n_envs``; None rounds to whole batch steps.
        render_mode: "rgb_array" for ``render`` to give a picture of each game.

    Attributes:
        stream: the rounded stream, which is played.
        requested_stream: the stream in the lengths in which it was given.
        mapping: sentences on what was done to the tasks' spaces.
        action_meanings: what each of the stream's Discrete actions means; empty where that is not known.

    Raises:
        ValueError: an argument is out of range, a game cannot be made or the tasks do not share their spaces.

    >>> from envs.entries import task_from
    >>> stream = TaskStream.build([task_from("breakout"), task_from("asterix")], steps_per_task=5)
    >>> env = StreamVectorEnv(stream, 4, seed=0)
    >>> env.rounding
    'segments are rounded up to multiples of 4 steps: 16 steps in all instead of 10, the first segment 8 instead of 5'
    >>> _ = env.reset()
    >>> for _ in range(2):
    ...     observations, rewards, terminations, truncations, info = env.step(np.zeros(4, np.int64))
    >>> truncations.tolist(), info["task"][0], info["final_info"]["task"][0]
    ([True, True, True, True], 'asterix', 'breakout')
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (declared so by gymnasium.vector.VectorEnv)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["rgb_array"],
        "render_fps": 15,
    }

    def __init__(
        self,
        stream: TaskStream,
        n_envs: int,
        *,
        boundary: str = "hidden",
        spaces: Mapping[str, Any] | None = None,
        seed: int | None = None,
        round_to: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.num_envs = check_int("n_envs", n_envs, 1, "give the number of games played side by side")
        self._round_to = self.num_envs if round_to is None else self._checked_quantum(round_to)
        self.boundary = check_choice("boundary", boundary, BOUNDARIES)
        if render_mode is not None:
            check_choice("render_mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        shared = common_spaces(stream.tasks, SpaceMapping.of(spaces), observed=boundary == "observed")
        self.mapping, self.action_meanings = shared.sentences, shared.meanings
        self.requested_stream = stream.replaced(shared.tasks)
        self.stream = self.requested_stream.rounded(self._round_to)
        self.single_observation_space, self.single_action_space = shared.observation_space, shared.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._first_seed = None if seed is None else check_seed(seed, self.num_envs)
        self._seed: int | None = None  # of the stream being played; None until the first reset
        self._steps = 0
        self._rebuilt: int | None = None  # number of the rebuild that made the games, until they take a step
        self._visit = Visit.of(self.stream, 0, self.num_envs, self.render_mode)

    @property
    def segment(self) -> Segment:
        """The segment that the stream stands in."""
        return self._visit.segment

    @property
    def task(self) -> str:
        """Name of the task that the stream stands in."""
        return self.segment.task.name

    @property
    def games(self) -> Games:
        """The batch that is being played, shifts included; another one after most switches."""
        return self._visit.games

    @property
    def envs(self) -> Sequence[gymnasium.Env[Any, Any]]:
        """The environments of the games where there is one for each, without shifts; none where a batch plays all."""
        envs: Sequence[gymnasium.Env[Any, Any]] = getattr(self.games, "envs", ())
        return envs

    def get_attr(self, name: str, *indices: object) -> tuple[Any, ...]:
        """An attribute of every game, or of the outermost shift or the batch that has it, the same for all games.

        Raises:
            AttributeError: there is none.
            TypeError: ``indices`` are given, as Stable-Baselines3's wrappers do: they take an adapter.
        """
        if indices:
            raise TypeError(f"StreamVectorEnv is no VecEnv of Stable-Baselines3; give {ADAPTER}")
        if name in ("observation_space", "action_space"):  # the batch has attributes of these names, too
            return (getattr(self, f"single_{name}"),) * self.num_envs
        for layer in layers_of(self.games):
            if isinstance(layer, SyncGames):
                return layer.get_attr(name)
            if hasattr(layer, name):
                return (getattr(layer, name),) * self.num_envs
        raise AttributeError(f"{self} has no attribute {name!r}")

    @property
    def saves_games(self) -> bool:
        """Whether the current task's games can be saved; others can be rebuilt."""
        return self.games.saves

    @property
    def steps(self) -> int:
        """Steps taken since the stream started, over all games; it goes on growing after the last segment."""
        return self._steps

    @property
    def rounding(self) -> str | None:
        """One sentence on how segments were rounded, None if none was."""
        requested, played = self.requested_stream, self.stream
        if requested.total_steps == played.total_steps:
            return None
        sentence = (
            f"segments are rounded up to multiples of {self._round_to:,} steps: {played.total_steps:,} steps in all "
            f"instead of {requested.total_steps:,}"
        )
        longer, first = played.segment(0).steps, requested.segment(0).steps
        return sentence if longer == first else f"{sentence}, the first segment {longer:,} instead of {first:,}"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes.

        Args:
            seed: starts the stream over with this seed; game i of the first segment gets ``seed + i``, so that a list
                of seeds is not taken. None starts the stream at the first call, with the constructor's seed, and
                later begins new episodes where the stream stands.
            options: passed on to every game.

        Returns:
            Observations, shape (n_envs, ...), and info.

        Raises:
            ValueError: ``seed`` is out of range.
        """
        if seed is None and self._seed is None:
            seed = fresh_seed() if self._first_seed is None else self._first_seed
        if seed is not None:
            self._seed = seed = check_seed(seed, self.num_envs)
            if self._steps or self._rebuilt is not None:
                self._steps, self._rebuilt = 0, None
                self._enter(0)
        self._begin()
        seeds = seed if self._rebuilt is None else self._drawn(REBUILD, self._rebuilt)
        observations, info = self.games.reset(seed=seeds, options=options)
        self._visit.standing.tell(info)
        return observations, info

    def step(self, actions: Any) -> Step:
        """Take one step in every game.

        Returns:
            Observations (n_envs, ...), rewards, terminations and truncations (n_envs,), and info.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
        """
        self._require_reset("step")
        visit = self._visit
        visit.drift(self._steps)
        observations, rewards, terminations, truncations, info = visit.games.step(actions)
        self._steps += self.num_envs
        self._rebuilt = None
        if self._steps >= visit.end:
            return self._switch(observations, rewards, terminations, truncations, info)
        visit.standing.tell(info)
        return observations, rewards, terminations, truncations, info

    def rebuild(self, number: int) -> None:
        """Replace the games by fresh ones, whose episodes the next ``reset()`` begins; the stream stands where it is.

        Games that cannot be saved go on from a known state so: until they take a step, ``get_state`` knows them.

        Args:
            number: decides the games together with the seed and the segment, at least 0.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
        """
        self._require_reset("rebuild")
        number = check_int("number", number, 0, "give the steps so far")
        self._enter(self.segment.index, anew=True)
        self._rebuilt = number

    def get_state(self) -> dict[str, Any]:
        """Where the stream stands, and the state of every game: arrays and JSON values only.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
            NotImplementedError: the current task's environments do not implement ``get_state`` and ``set_state``
                and have taken a step since they were rebuilt.
        """
        self._require_reset("get_state")
        return {
            "seed": self._seed,
            "steps": self._steps,
            **place_of(self.segment),
            "n_envs": self.num_envs,
            "rebuilt": self._rebuilt,
            "games": None if self._rebuilt is not None else self.games.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned; no reset is needed, and the next step equals the uninterrupted one.

        Raises:
            ValueError: the state is of another stream or of another number of games.
            NotImplementedError: as for ``get_state``.
        """
        if state["n_envs"] != self.num_envs:
            raise ValueError(
                f"a state of {state['n_envs']} games cannot be set on n_envs={self.num_envs}; make as many games"
            )
        check_place(state, self.stream)
        self._enter(state["segment"], anew=state["rebuilt"] is not None)
        self._seed, self._steps, self._rebuilt = state["seed"], state["steps"], state["rebuilt"]
        self._begin()
        if self._rebuilt is None:
            self.games.set_state(state["games"])
        else:
            self.games.reset(seed=self._drawn(REBUILD, self._rebuilt))

    def render(self) -> tuple[Any, ...] | None:
        """A picture of each game, uint8 (height, width, 3); None without ``render_mode``.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
        """
        self._require_reset("render")
        return None if self.render_mode is None else tuple(self.games.render() or ())

    def close_extras(self, **kwargs: Any) -> None:
        """Close the games."""
        if hasattr(self, "_visit"):  # otherwise the constructor has failed
            self._visit.games.close(**kwargs)

    def __repr__(self) -> str:
        return f"StreamVectorEnv({self.stream!r}, n_envs={self.num_envs})"

    def _enter(self, index: int, *, anew: bool = False) -> None:
        """Go to segment ``index``, whose games are not reset yet; they are made ``anew`` where that is wanted."""
        if anew:
            self.close_extras()
        before = None if anew else self._visit
        self._visit = Visit.of(self.stream, index, self.num_envs, self.render_mode, before)

    def _begin(self) -> None:
        """Let the games that are about to be reset drift."""
        assert self._seed is not None  # nothing begins without
        self._visit.begin(self._seed, self._steps)

    def _switch(
        self,
        observations: Any,
        rewards: NDArray[np.float64],
        terminations: NDArray[np.bool_],
        truncations: NDArray[np.bool_],
        info: dict[str, Any],
    ) -> Step:
        """Turn the last step of a segment into the one that begins the next."""
        cut = ~(terminations | truncations)
        ending = self._visit.standing.cut(self.observation_space, observations, info, cut)
        self._enter(self.segment.index + 1)
        self._begin()
        first, info = self.games.reset(seed=self._drawn())
        self._visit.standing.tell(info)
        info.update(ending)
        return first, rewards, terminations, truncations | cut, info

    def _require_reset(self, method: str) -> None:
        require_reset(self._seed is not None, f"StreamVectorEnv.{method}")

    def _drawn(self, *key: int) -> list[int]:
        """Seeds of this segment's games, drawn from the stream's; others for every ``key``."""
        assert self._seed is not None  # nothing begins without
        return seeds_of(self._seed, self.segment.index, self.num_envs, *key)

    def _checked_quantum(self, round_to: object) -> int:
        remedy = f"give a multiple of n_envs={self.num_envs}, or leave it out to round to whole batch steps"
        checked = check_int("round_to", round_to, 1, remedy)
        if checked % self.num_envs:
            raise ValueError(f"round_to must be a multiple of n_envs={self.num_envs}, got {round_to!r}; {remedy}")
        return checked
