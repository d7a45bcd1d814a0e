"""Whether batched MinAtar is the ``minatar`` package: the same actions to both, everything compared in every step.

Drawn and scripted actions, several stickinesses and ramp levels, and states that play rarely reaches, set in both;
prints what was seen, and which lines of the package's rules never ran in a traced part of it (those that are left
answer a step after the end, or a search among no aliens, which nobody asks for).

    python benchmarks/minatar_exact.py               # about two minutes
"""

from __future__ import annotations

import argparse
import inspect
import sys
import time
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from minatar_oracle import SKILLS, Pair, Seen, settings

from envs.catalogue import GAMES
from envs.minatar import MinAtarGames

NO_RULES = ("__init__", "state_shape", "minimal_action_set")


class Lines:
    """Lines of a module that ran while this was entered."""

    def __init__(self, module: Any) -> None:
        self._file = inspect.getsourcefile(module)
        self.ran: set[int] = set()
        functions = [f for name, f in inspect.getmembers(module.Env, inspect.isfunction) if name not in NO_RULES]
        self.all = {line for f in functions for *_, line in f.__code__.co_lines() if line} - {
            f.__code__.co_firstlineno for f in functions
        }

    def _call(self, frame: FrameType, *_: Any) -> Any:
        return self._line if frame.f_code.co_filename == self._file else None

    def _line(self, frame: FrameType, *_: Any) -> Any:
        self.ran.add(frame.f_lineno)
        return self._line

    def __enter__(self) -> Lines:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: Any) -> None:
        sys.settrace(None)


def compare(game: str, steps: int, traced: int) -> tuple[Seen, Lines]:
    """Play ``steps`` steps of each setting, the first ``traced`` of them with a tracer."""
    seen, lines = Seen(), Lines(import_module(f"minatar.environments.{game}"))
    for number, setting in enumerate(settings(game)):
        pair = Pair(MinAtarGames, game, SKILLS, seed=1000 * number, **setting)
        with lines:
            pair.play(traced // len(SKILLS))
        found = pair.play((steps - traced) // len(SKILLS))
        seen.steps, seen.episodes = seen.steps + found.steps, seen.episodes + found.episodes
        seen.top_ramp = max(seen.top_ramp, found.top_ramp)
        most = {key: max(seen.events[key], found.events[key]) for key in found.events if key.startswith("most")}
        seen.events.update(found.events)
        seen.events.update({key: value - seen.events[key] for key, value in most.items()})
    return seen, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), choices=GAMES)
    parser.add_argument("--steps", type=int, default=200_000, help="at least, of each game, over all settings")
    parser.add_argument("--traced", type=int, default=4_000, help="of them, in each setting")
    args = parser.parse_args()
    for game in args.games:
        start, n_settings = time.perf_counter(), len(list(settings(game)))
        per_setting = -(-args.steps // n_settings // len(SKILLS)) * len(SKILLS)
        try:
            seen, lines = compare(game, max(per_setting, args.traced), args.traced)
        except AssertionError as difference:
            print(f"{game}: DIFFERENT, {difference}", flush=True)
            continue
        quiet = sorted(lines.all - lines.ran)
        events = ", ".join(f"{key} {value:,}" for key, value in sorted(seen.events.items()))
        print(
            f"{game}: identical, {seen.steps:,} steps, {seen.episodes:,} episodes, {n_settings} settings, top ramp "
            f"level {seen.top_ramp}, {time.perf_counter() - start:.0f} s\n  {events}\n  lines of the package that did "
            f"not run under the tracer: {quiet or 'none'} of {len(lines.all)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
