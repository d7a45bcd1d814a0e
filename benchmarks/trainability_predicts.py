"""Does trainability at the end of a visit tell the return of the next one, and better than what stands for it?

Of every run of an ablation that has kept its parameters at the ends of visits (`checkpoint.visits`), and of every visit
but the last, the parameters of the end are put back into an agent of the run's config, which plays one rollout: of the
game of the visit that has ended (``own``), or of the one that comes (``next``). On that are taken the fit probe
(`agents.plasticity.trainability`; its fresh network once for each run) and the measures of `Diagnostics`. What compares
with an earlier update, churn and update norm, is the last that the run itself has logged in the visit. What is to be
told is the mean return of the next visit, as ``results.json`` has it, and beside all measures stands the return of the
visit that has ended. Arms that begin every visit with an agent drawn anew (`oracle`, `full_reset`) are left out:
nothing that was measured is there in their next visit.

The table has Spearman's correlations over all visits of all runs:

* ``all``: as they are;
* ``same arm and task``: of what ranks have beside their means over the arm and over the task, by least squares; a task
  is a visit of one seed, which all arms play;
* ``and return``: beside the return of the visit that has ended, too;
* ``less than``: by how much the second one is closer to what trainability has, in the direction that either has.

Intervals are of 95%, from 10,000 bootstrap samples of seeds and, in each, of its runs.

    python benchmarks/trainability_predicts.py --runs runs/ablations/resets
    python benchmarks/trainability_predicts.py --runs runs/ablations/resets --on next --steps 20
    python benchmarks/trainability_predicts.py --runs runs/ablations/permuted_breakout --every 10
    python benchmarks/trainability_predicts.py --shown resets      # the table of what is kept

What was measured is kept in `benchmarks/results/trainability_NAME.csv`, a run at a time; what has all `--steps` is not
measured again. Runs of another version of crl are read as far as their config and parameters fit.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from agents.plasticity.diagnostics import Diagnostics, FitProbe
from crl.audit import sample_size
from crl.audit.loading import play
from crl.compare.places import Place, places_of
from crl.config import RunConfig
from crl.config.reading import load
from crl.learnt import by_step
from crl.results import FILE, RunResults, Visit

KEPT = Path(__file__).resolve().parent / "results"
ON = ("own", "next")
ANEW = {"oracle", "full_reset"}
MEASURED = (
    "dormant_ratio", "grama_ratio", "srank", "effective_rank", "stable_rank", "ntk_rank", "weight_norm", "entropy",
    "saturation", "signal",
)  # fmt: skip
LOGGED = ("policy_churn", "value_churn", "update_norm")
WHERE = ["run", "arm", "seed", "segment", "on", "task"]
STEPS = " steps"
OUTCOME, BEFORE = "next_return", "return"
SAMPLES = 10_000

Array = NDArray[np.float64]


class Ended(NamedTuple):
    """A visit that has ended, and the one that came then."""

    visit: Visit
    next: Visit

    @property
    def step(self) -> int:
        """After which the visit ended."""
        return self.visit.start + self.visit.steps


def measured(place: Place, config: RunConfig, ended: Sequence[Ended], on: str, steps: Sequence[int]) -> Iterator[Any]:
    """A row for each visit of a run.

    Args:
        place: of the run.
        config: of the run.
        ended: the visits.
        on: which game is played, of `ON`.
        steps: of the fit probes.
    """
    saved, log = by_step(place.folder), pd.read_csv(place.folder / "progress.csv")
    if any(each.step not in saved for each in ended):
        raise SystemExit(f"{str(place.folder)!r} has not kept what it had learnt at the end of every visit")
    samples, states = sample_size(config.agent, None), dict[int, Any]()
    for each in ended:
        task = (each.visit if on == "own" else each.next).task
        model = play(saved[each.step], config, task, samples, config.seed).model
        model._update_learning_rate(list(model.optimizers))  # a visit's end has kept none
        generator = torch.Generator().manual_seed(config.seed)
        diagnosed = {key.removeprefix("plasticity/"): x for key, x in Diagnostics(model, generator).measure().items()}
        found = {key: x for key, x in diagnosed.items() if key.rpartition("/")[2] in MEASURED}
        for number in steps:
            probe = FitProbe(model, config.seed, steps=number)
            if number in states:
                probe.restore(states[number])
            found |= {f"{key}, {number}{STEPS}": float(x) for key, x in probe.measure(model.sample).items()}
            states[number] = probe.state()
        assert model.env is not None
        model.env.close()
        where = (place.folder.name, place.arm, config.seed, each.visit.segment, on, task)
        returns = {BEFORE: each.visit.mean_return, OUTCOME: each.next.mean_return}
        yield dict(zip(WHERE, where, strict=True)) | returns | found | logged(log, each)


def logged(log: pd.DataFrame, ended: Ended) -> dict[str, float]:
    """What a run has logged last in a visit of the measures that compare with an earlier update."""
    steps = log["time/total_timesteps"]
    there = log[(steps > ended.visit.start) & (steps <= ended.step)]
    tags = [tag for tag in there if tag.startswith("plasticity/") and tag.rpartition("/")[2] in LOGGED]
    return {tag.removeprefix("plasticity/"): there[tag].dropna().iloc[-1] for tag in tags if there[tag].notna().any()}


def measure(runs: Path, path: Path, args: argparse.Namespace) -> None:
    """Measure what has not been measured, and keep it after each run."""
    places, _ = places_of([runs])
    for place in places:
        if not (place.folder / FILE).is_file() or (args.arms and place.arm not in args.arms):
            continue
        config = load(place.folder / "config.yaml", ["device=cpu"])
        results = RunResults.read(place.folder)
        if results.status != "done" or ANEW.intersection(each.name for each in config.interventions):
            continue
        ended = [Ended(*pair) for pair in zip(results.visits[:-1], results.visits[1:], strict=True)]
        for on in args.on:
            known = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=WHERE)
            own = (known["run"] == place.folder.name) & (known["on"] == on)
            if own.any() and set(probed(known[own].dropna(axis=1, how="all"))) >= set(args.steps):
                continue
            chosen = ended[args.every - 1 :: args.every]
            rows = pd.DataFrame(measured(place, config, chosen, on, args.steps))
            both = rows if known.empty else pd.concat([known[~own], rows])
            part = path.with_suffix(".part")
            both.to_csv(part, index=False, float_format="%.4g", lineterminator="\n")
            part.replace(path)
            print(f"{place.folder.name}, {on}: {len(rows)} visits", flush=True)


def beside(table: pd.DataFrame, keys: Sequence[str]) -> Iterator[Array]:
    """What is compared, see above, for each column of the table: ranks, and what they have beside others."""
    ranks = rankdata(table[[*keys, BEFORE, OUTCOME]].to_numpy(), axis=0)
    tasks = table["seed"].astype(str) + "/" + table["segment"].astype(str)
    groups = pd.get_dummies(pd.DataFrame({"arm": table["arm"], "task": tasks}), dtype=float).to_numpy()
    inside = _without(groups, ranks)
    for columns in (ranks, inside, _without(inside[:, [-2]], inside)):
        yield np.delete(columns - columns.mean(0), -2, axis=1)


def _without(known: Array, columns: Array) -> Array:
    """What is left of the columns beside others, by least squares; 0 where that is rounding alone."""
    left = columns - known @ np.linalg.lstsq(known, columns, rcond=None)[0]
    return np.where(np.abs(left).max(0) > 1e-6 * np.abs(columns).max(), left, 0.0)


def probed(table: pd.DataFrame) -> dict[int, list[str]]:
    """Steps of the fit probes that are in a table -> their columns."""
    found: dict[int, list[str]] = {}
    for key in table:
        if key.endswith(STEPS):
            found.setdefault(int(key.removesuffix(STEPS).rpartition(" ")[2]), []).append(key)
    return found


def correlations(columns: Array, runs: Array, times: Array) -> Array:
    """Each column's correlation with the last one, (samples, columns - 1); nan of what never differs.

    Args:
        columns: (visits, columns).
        runs: number of each visit's run.
        times: how often each run is in each sample, (samples, runs).
    """
    x, y = columns[:, :-1], columns[:, [-1]]

    def mean(values: Array) -> Array:
        sums = np.zeros((times.shape[1], values.shape[1]))
        np.add.at(sums, runs, values)
        found: Array = times @ sums / (times @ np.bincount(runs))[:, None]
        return found

    covariance = mean(x * y) - mean(x) * mean(y)
    variances = (mean(x * x) - mean(x) ** 2) * (mean(y * y) - mean(y) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variances > 0, covariance / np.sqrt(variances), np.nan)


def drawn(seeds: Array, samples: int) -> Array:
    """How often each run is in bootstrap samples of seeds and of the runs of each, (samples, runs)."""
    generator, of_seed = np.random.default_rng(1), [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    times = np.zeros((samples, len(seeds)))
    for row in times:
        for number in generator.integers(len(of_seed), size=len(of_seed)):
            np.add.at(row, generator.choice(of_seed[number], len(of_seed[number])), 1)
    return times


def rows(table: pd.DataFrame, steps: Sequence[int], samples: int) -> Iterator[str]:
    """The table in Markdown, the closest measure first, with these steps of the fit probe."""
    table = table.drop(columns=[key for number, keys in probed(table).items() if number not in steps for key in keys])
    keys = [key for key in table if key not in (*WHERE, OUTCOME) and table[key].notna().any()]
    there = table.dropna(subset=[*keys, OUTCOME])
    each_run = there.groupby("run", sort=False)["seed"].first()
    runs = there.groupby("run", sort=False).ngroup().to_numpy()
    times = np.vstack([np.ones(len(each_run)), drawn(each_run.to_numpy(), samples)])  # all as they are, then samples
    everything, inside, beyond = (correlations(columns, runs, times) for columns in beside(there, keys))
    trained = [number for number, key in enumerate(keys) if "trainability" in key]
    reference = next((number for number in trained if "/policy_" in keys[number]), trained[0])
    sized = inside * np.sign(inside[0])
    yield (
        f"{len(there)} visits ({len(table) - len(there)} more lack a measure) of {len(each_run)} runs, "
        f"{there['arm'].nunique()} arms, {there['seed'].nunique()} seeds"
    )
    yield ""
    yield f"| measure | all | same arm and task | and return | less than `{keys[reference]}` |"
    yield "|---" * 5 + "|"
    for place in np.argsort(-np.nan_to_num(sized[0])):
        cells = [_cell(found[:, place]) for found in (everything, inside, beyond)]
        cells[2] = "" if keys[place] == BEFORE else cells[2]
        cells.append("" if place == reference else _cell(sized[:, reference] - sized[:, place]))
        yield f"| {keys[place]} | {' | '.join(cells)} |"


def _cell(values: Array) -> str:
    """A value and the interval of its samples."""
    if np.isnan(values[0]):
        return "-"
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return f"{values[0]:+.2f} [{low:+.2f}, {high:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--runs", type=Path, metavar="FOLDER", help="of an ablation that kept the ends of visits")
    given.add_argument("--shown", metavar="NAME", help="measure nothing")
    parser.add_argument("--arms", nargs="+", help="all")
    parser.add_argument("--on", nargs="+", choices=ON, default=ON[:1], help="game that is played")
    parser.add_argument("--steps", nargs="+", type=int, default=[100], help="of the fit probes")
    parser.add_argument("--every", type=int, default=1, help="of so many visits one is measured")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of the bootstrap")
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = KEPT / f"trainability_{args.shown or args.runs.resolve().name}.csv"
    if args.runs is not None:
        measure(args.runs, path, args)
    for on, table in pd.read_csv(path).groupby("on"):
        print(f"\n{on}: ", end="")
        print("\n".join(rows(table, args.steps, args.samples)))


if __name__ == "__main__":
    main()
