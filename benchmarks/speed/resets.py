"""What unit resets cost: all that they add to gradient steps at their default schedules, beside these alone.

A scoring, a reset and a measurement of its costs are timed one by one, because what they come to at the default
schedule is less than two runs differ by. Shares are of the gradient steps alone, without rollouts. `textbook` is ReDo
as it is usually written: hooks, boolean indexing, a Python loop over layers, no regard to optimizers.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness.declared import MILLISECONDS, Repetition, Row, Side, Spent

TITLE = "What do resets cost in time?"
LOOPS = {  # -> its title, and the most that resets may take of a gradient step
    "ppo_minatar": ("PPO, MinAtar CNN", 0.02),
    "dqn_minatar": ("DQN, MinAtar CNN", 0.04),
    "ppo_nature": ("PPO, NatureCNN", 0.02),
    "dqn_nature": ("DQN, NatureCNN", 0.04),
}
METHODS = (
    "gxd", "gxd_mean", "gxd_outputs", "redo", "regrama", "regrama_activations", "regrama_preactivations", "cbp",
    "magnitude", "random", "cpr",
)  # fmt: skip


def plain(loop: str, n: int | None = None) -> Repetition:
    """Gradient steps without resets: the least of n."""
    from benchmarks.speed import resetting

    build, steps, _ = resetting.LOOPS[loop]
    built = build()
    optimizer = built.optimizer()
    return lambda: Spent(1, *resetting.stepping(built, optimizer, n or steps))


def added(loop: str, method: str, n: int | None = None) -> Repetition:
    """What a method adds to a gradient step at its default schedule."""
    import numpy as np

    from benchmarks.speed import resetting

    build, steps, rounds = resetting.LOOPS[loop]
    built = build()
    default: Any = resetting.METHODS[method][0]()
    scorings = 0 if method in resetting.NO_SCORING else min(default.memory, default.period) / default.score_every
    often = resetting.METHODS[method][0](period=1, **resetting.schedule(method, maturity=0, score_every=1))
    optimizer, plain = built.optimizer(often), built.optimizer()

    def repetition() -> Spent:
        scoring = resetting.scoring(built, method, 3 * (n or steps)) if scorings else np.zeros(2)
        full, bare = resetting.resetting(built, method, rounds)
        seconds, processor = full + scorings * scoring
        each, alone = (resetting.stepping(built, one, n or steps)[0] for one in (optimizer, plain))
        notes = {
            "ms per scoring": 1e3 * scoring[0],
            "ms per reset": 1e3 * bare[0],
            "ms per cost measurement": 1e3 * (full - bare)[0],
            "scorings per reset": scorings,
            "extra at period 1": each / alone - 1,
        }
        return Spent(default.period, seconds, processor, notes=notes)

    return repetition


def textbook(loop: str, n: int | None = None) -> Repetition:
    """A reset of textbook ReDo."""
    from benchmarks.speed import resetting

    return lambda: Spent(1, *resetting.textbook("minatar" in loop, n or 3))


def ours(loop: str, n: int | None = None) -> Repetition:
    """A reset of our ReDo, without the measurement of its costs."""
    from benchmarks.speed import resetting

    build, _, rounds = resetting.LOOPS[loop]
    built = build()
    return lambda: Spent(1, *resetting.resetting(built, "redo", rounds)[1])


def _row(loop: str, method: str) -> Row:
    title, most = LOOPS[loop]
    sides = {"a gradient step": Side(plain), method: Side(added, {"method": method}, at_most=most)}
    return Row(f"resets/{loop}_{method}", f"{title}, {method}", sides, MILLISECONDS, {"loop": loop}, quick={"n": 2})


def _textbook(loop: str) -> Row:
    sides = {"textbook, 64 samples": Side(textbook), "ours, 1,024": Side(ours)}
    title = f"{LOOPS[loop][0]}, a reset of ReDo"
    return Row(f"resets/{loop}_textbook", title, sides, MILLISECONDS, {"loop": loop}, quick={"n": 1})


ROWS = [row for loop in LOOPS for row in (*(_row(loop, method) for method in METHODS), _textbook(loop))]
