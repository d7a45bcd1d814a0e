"""Does what keeps networks plastic matter? PPO on CartPole whose observations are offset anew at every level.

The first six levels of `cchain/cartpole`, 40,000 steps each, with the settings of `configs/cartpole_ppo.yaml`, after
C-CHAIN (arXiv 2506.00592) and TRAC (2405.16642): plain PPO, what is added to it in each arm, and the oracle, a fresh
agent for every level. It is told where one begins, and so is C-CHAIN as published, whose windows begin anew there.
Every run is one of `crl train`, on one thread, in a folder of its own below `runs/plasticity_check`; a run that was
stopped or killed is resumed, one that is finished is never run again, and what it came to is a small file in
`benchmarks/results/plasticity_check`. Start the script again to go on.

The table has the mean return of the episodes in the last tenth of each level's steps: of levels 2 to 6 together, and of
the last one. Intervals are Student's, of 95%, over the seeds' means (few and not normal: take them for a scale);
differences from plain are paired by seed, with p corrected for all of them (Holm).

What the published script has and Stable-Baselines3's arguments cannot express is not rebuilt: values learn from
returns without bootstrapping inside a rollout (lambda 1), and advantages are normalised once for a whole rollout.

    python benchmarks/plasticity_check.py --jobs 2             # about four hours on two cores
    python benchmarks/plasticity_check.py --steps 400 --seeds 1 2    # a try
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import nan
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml

from crl.statistics import Sample, holm, paired_difference

ROOT = Path(__file__).resolve().parent.parent
CONFIG, STREAM, LEVELS, STEPS = ROOT / "configs" / "cartpole_ppo.yaml", "cchain/cartpole", 6, 40_000
PLAIN = "plain"
ARMS: dict[str, list[str]] = {  # name -> overrides of the config
    PLAIN: [],
    "l2_init": ["interventions=[{name: l2_init, coefficient: 1.0e-3, decoupled: false}]"],
    "spectral": ["interventions=[{name: spectral}]"],
    "c_chain": ["interventions=[{name: c_chain, scale: 3}]"],
    "c_chain_published": [
        "interventions=[{name: c_chain, paper: true, reset_at_switch: true}]",
        "stream.boundary=revealed",
    ],
    "gxd_loss": ["interventions=[{name: gxd}]"],
    "gxd_outputs": ["interventions=[{name: gxd, signal: outputs}]"],
    "redo": ["interventions=[{name: redo}]"],
    "regrama": ["interventions=[{name: regrama}]"],
    "layer_norm": ["agent.norm=layer"],
    "oracle": ["interventions=[{name: oracle}]", "stream.boundary=revealed"],
}
MORE: dict[str, list[str]] = {
    "l2_init_decoupled": ["interventions=[{name: l2_init}]"],
    "c_chain_paper": ["interventions=[{name: c_chain, paper: true}]"],
}
"""Arms that run where `--arms` names them."""


def config_of(seed: int, steps: int) -> dict[str, Any]:
    """The shipped config, of the stream's first levels alone."""
    from envs.catalogue import STREAMS

    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    worlds = STREAMS[STREAM].worlds
    assert worlds is not None
    tasks = [{"name": f"level_{n}", **world} for n, world in enumerate(list(worlds(seed))[:LEVELS])]
    config["stream"] = {"tasks": tasks, "steps_per_task": steps, "cycles": 1}
    return config | {"seed": seed, "threads": 1}


def crl(*words: str) -> None:
    """A command of `crl`, which must succeed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "crl.cli", *words], check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )


def run(arm: str, seed: int, steps: int, results: Path) -> dict[str, Any]:
    """What a run has come to: read, or trained, or trained to its end."""
    written = results / f"{arm}__s{seed}.json"
    if written.exists():
        found: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
        return found
    home = ROOT / "runs" / "plasticity_check" / str(steps) / f"{arm}__s{seed}"
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.yaml").write_text(yaml.safe_dump(config_of(seed, steps), sort_keys=False), encoding="utf-8")
    begun = sorted(path.parent for path in home.glob("runs/*/config.yaml"))
    if not begun:
        crl("train", str(home / "config.yaml"), *({**ARMS, **MORE})[arm], f"runs={home / 'runs'}")
        begun = sorted(path.parent for path in home.glob("runs/*/config.yaml"))
    elif not ended(begun[-1]):
        crl("resume", str(begun[-1]))
    if not ended(begun[-1]):
        raise SystemExit(f"{arm}, seed {seed} was stopped; start the script again to go on")
    come_to = json.loads((begun[-1] / "results.json").read_text(encoding="utf-8"))
    found = {
        "arm": arm,
        "seed": seed,
        "overrides": ({**ARMS, **MORE})[arm],
        "returns": [visit["mean_return"] for visit in come_to["visits"]],
        "units_reset": come_to["resets"],
        "seconds": round(come_to["seconds"], 1),
    }
    draft = written.with_suffix(".part")
    draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draft.replace(written)
    print(f"{arm}, seed {seed}: {shown(found['returns'])} ({found['seconds']} s)", flush=True)
    return found


def ended(folder: Path) -> bool:
    """Whether a run has come to its end; one that was stopped has results, too."""
    written = folder / "results.json"
    return written.exists() and json.loads(written.read_text(encoding="utf-8"))["status"] == "done"


def shown(returns: Sequence[float | None]) -> str:
    return " ".join("-" if value is None else f"{value:.1f}" for value in returns)


def interval(values: Sequence[float]) -> str:
    """Mean and half the width of Student's interval of 95%."""
    from scipy.stats import t

    if len(values) < 2:
        return f"{fmean(values):.1f}"
    half = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{fmean(values):.1f} ± {half:.1f}"


def rows(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    # In so few steps as none but a try has, a level may end without an episode.
    later = {
        arm: [fmean(value for value in run["returns"][1:] if value is not None) for run in found[arm]] for arm in found
    }
    samples = {
        arm: Sample({run["seed"]: {"": value} for run, value in zip(found[arm], later[arm], strict=True)})
        for arm in found
    }
    others = [arm for arm in found if arm != PLAIN and PLAIN in found]
    differences = {arm: paired_difference(samples[arm], samples[PLAIN]) for arm in others}
    claimed = [arm for arm, difference in differences.items() if difference is not None and difference.p is not None]
    p_values = dict(zip(claimed, holm([differences[arm].p for arm in claimed]), strict=True))
    columns = ("arm", "levels 2 to 6", "less plain", "p", "last level", "seeds, levels 2 to 6", "seeds, last level")
    yield f"| {' | '.join(columns)} | units reset |"
    yield "|---" * (len(columns) + 1) + "|"
    for arm, runs in found.items():
        last = [nan if run["returns"][-1] is None else run["returns"][-1] for run in runs]
        difference, p = differences.get(arm), p_values.get(arm)
        less = "" if difference is None else f"{difference.value:+.1f}"
        less += "" if p is None else f" ± {difference.high - difference.value:.1f}"
        units = fmean(sum(run["units_reset"].values()) for run in runs)
        cells = [arm, interval(later[arm]), less, "" if p is None else f"{p:.3f}", interval(last)]
        yield f"| {' | '.join(cells)} | {shown(later[arm])} | {shown(last)} | {units:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, a thread each")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=[*ARMS, *MORE])
    parser.add_argument("--steps", type=int, default=STEPS, help="of each level; results of others are kept apart")
    args = parser.parse_args()
    results = ROOT / "benchmarks" / "results" / "plasticity_check"
    if args.steps != STEPS:
        results = ROOT / "runs" / "plasticity_check" / str(args.steps) / "results"
    results.mkdir(parents=True, exist_ok=True)
    jobs = [(arm, seed) for seed in args.seeds for arm in args.arms]  # a table of all arms is there early
    with ThreadPoolExecutor(args.jobs) as pool:
        found = dict(zip(jobs, pool.map(lambda job: run(*job, args.steps, results), jobs), strict=True))
    print("\n".join(rows({arm: [found[arm, seed] for seed in args.seeds] for arm in args.arms})))


if __name__ == "__main__":
    main()
