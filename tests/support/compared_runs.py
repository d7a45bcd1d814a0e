"""Folders of runs that nobody has trained: what `crl compare` reads of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from small_results import record

from crl.results import Visit

LENGTH = 100  # steps of each visit


def compared_run(
    parent: Path,
    seed: int,
    method: str = "plain",
    returns: Sequence[float | None] = (1.0,),
    tasks: Sequence[str] = ("a",),
    evaluations: Mapping[str, Sequence[float]] | None = None,
    stream: str = "name: x",
) -> Path:
    """A run that has ended, of one visit after the other.

    Args:
        parent: in which its folder is made, named after the method and the seed.
        seed: of the run.
        method: name of its intervention, or plain.
        returns: mean return of each visit, None where no episode ended.
        tasks: of each visit; ``a:1`` is a variant of ``a``.
        evaluations: task -> its return at step 0 and at the end of each visit; None writes none.
        stream: that section of its config.
    """
    folder = parent / f"{method}{seed}"
    folder.mkdir()
    interventions = "" if method == "plain" else f"{{name: {method}}}"
    (folder / "config.yaml").write_text(
        f"stream: {{{stream}, seed: {seed}}}\nagent: {{name: ppo}}\ninterventions: [{interventions}]\nseed: {seed}\n"
    )
    visits = [
        Visit(
            task=task, family=task.partition(":")[0], visit=1 + list(tasks[:place]).count(task), segment=place,
            start=LENGTH * place, steps=LENGTH, mean_return=value, episodes=int(value is not None), over="last tenth",
        )
        for place, (task, value) in enumerate(zip(tasks, returns, strict=True))
    ]  # fmt: skip
    record(*visits).write(folder)
    if evaluations is not None:
        lines = ["step,segment,training,task,family,episodes,return_mean"]
        for place in range(len(tasks) + 1):
            lines += [f"{LENGTH * place},0,x,{task},x,1,{values[place]}" for task, values in evaluations.items()]
        (folder / "evaluations.csv").write_text("\n".join(lines) + "\n")
    return folder
