"""Which streams show a loss of plasticity, before hours go into ablations on those that do not.

Plain agents against the oracle, a fresh agent for every visit, on short candidates: a grid of `crl ablate` each, below
`runs/pilot`, which goes on where it was stopped. Late visits are the second half of them. Their share is, for each, the
plain agents' return over the oracle's (of costs, which are below 0, the oracle's over theirs), both means over seeds,
and then the mean over these visits; a stream shows a loss where it is at most 0.7. Two seeds decide what to ablate,
and are no evidence for anything else. `results/pilot.json` keeps what every candidate has shown.

    python benchmarks/pilot.py                                # all of them, about five hours on two cores
    python benchmarks/pilot.py --only cartpole acrobot        # some
    python benchmarks/pilot.py --shown                        # what is finished, without training
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import yaml

from crl.exit_codes import INTERRUPTED, TERMINATED

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "runs" / "pilot"
RESULTS = ROOT / "benchmarks" / "results" / "pilot.json"
LOSS = 0.7
SEEDS = 2


class Candidate(NamedTuple):
    """A stream and the agent on it.

    Attributes:
        base: config in ``configs``.
        overrides: of it, by dotted key; `interventions` are none unless they are given.
    """

    base: str
    overrides: dict[str, Any]


def permuted(shift: str = "pixel_permutation", **agent: Any) -> Candidate:
    """PPO on 60 Breakouts of 32,768 steps each, which differ by a shift; all agents of it with speed ``fast``."""
    stream = {"tasks": [{"id": "breakout", "shifts": [shift], "variants": 60}], "steps_per_task": 32_768}
    settings = {f"agent.{key}": value for key, value in ({"speed": "fast"} | agent).items()}
    return Candidate("permuted_breakout_ppo_gxd.yaml", {"stream": stream, **settings})


def replayed(ratio: int) -> Candidate:
    """DQN on three MinAtar games, twice 10,000 steps each, at so many gradient steps for each step."""
    return Candidate(
        "minatar3_dqn_gxd.yaml",
        {
            "stream": {"name": "minatar3", "steps_per_task": 10_000, "cycles": 2, "boundary": "revealed"},
            "agent.n_envs": 1, "agent.gradient_steps": ratio, "agent.learning_starts": 1_000,
            "agent.buffer_size": 20_000, "agent.target_update_interval": 1_000 // ratio,
            "agent.exploration_fraction": 0.1, "at_switch": {"random_steps": 1_000},
        },
    )  # fmt: skip


CANDIDATES: dict[str, Candidate] = {
    "cartpole": Candidate("cartpole_ppo.yaml", {"stream.steps_per_task": 40_000}),
    "acrobot": Candidate("cartpole_ppo.yaml", {"stream": {"name": "cchain/acrobot", "steps_per_task": 40_000}}),
    "minatar3": Candidate(
        "minatar3_ppo.yaml",
        {"stream": {"name": "minatar3", "steps_per_task": 163_840, "cycles": 4}, "agent.speed": "fast"},
    ),
    "permuted": permuted(),
    "permuted, rate 3e-3": permuted(learning_rate=3e-3),
    "permuted, 10 epochs": permuted(n_epochs=10),
    "permuted, small": permuted(net_arch={"pi": [16], "vf": [16]}),
    "permuted, all three": permuted(learning_rate=3e-3, n_epochs=10, net_arch={"pi": [16], "vf": [16]}),
    "actions permuted": permuted("action_permutation"),
    "dqn, ratio 4": replayed(4),
    "dqn, ratio 8": replayed(8),
    "dqn, ratio 16": replayed(16),
    "sac pendulum5, ratio 4": Candidate(
        "pendulum_sac_regrama.yaml",
        {"stream": {"name": "pendulum5", "steps_per_task": 5_000, "cycles": 2}, "agent.gradient_steps": 4},
    ),
    "slippery ant": Candidate(
        "cartpole_ppo.yaml",
        {
            "stream": {"name": "slippery_ant", "steps_per_task": 200_000},
            "agent": {
                "name": "ppo", "n_envs": 8, "n_steps": 256, "batch_size": 128, "n_epochs": 10, "learning_rate": 3e-4,
                "net_arch": {"pi": [256, 256], "vf": [256, 256]}, "activation": "relu",
            },
        },
    ),
}  # fmt: skip


def train(name: str, workers: int) -> None:
    """All runs of a candidate, to their ends."""
    HOME.mkdir(parents=True, exist_ok=True)
    candidate = CANDIDATES[name]
    grid = {
        "base": str(ROOT / "configs" / candidate.base),
        "overrides": {"interventions": [], "evaluation.every": None, **candidate.overrides},
        "arms": {"plain": {}, "oracle": "oracle"},
        "seeds": SEEDS,
        "folder": str(folder(name)),
    }
    file = HOME / f"{folder(name).name}.yaml"
    file.write_text(yaml.safe_dump(grid, sort_keys=False), encoding="utf-8")
    words = [sys.executable, "-m", "crl.cli", "ablate", str(file), "--workers", str(workers)]
    # Ctrl-C is for crl ablate, which saves its runs; subprocess.run would kill it after a moment.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    with subprocess.Popen(words) as process:
        code = process.wait()
    signal.signal(signal.SIGINT, before)
    if code in (INTERRUPTED, TERMINATED):
        sys.exit(code)
    if code:
        print(f"{name}: crl ablate ended with exit code {code}", file=sys.stderr)  # the others go on


def folder(name: str) -> Path:
    return HOME / name.replace(",", "").replace(" ", "_")


def shown(name: str) -> dict[str, Any] | None:
    """What a candidate has shown; None where not all of its runs are finished."""
    table = folder(name) / "visits.csv"
    if not table.is_file():
        return None
    returns: dict[tuple[int, str], list[float]] = defaultdict(list)
    seeds: dict[str, set[str]] = defaultdict(set)
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            seeds[row["arm"]].add(row["seed"])
            if row["mean_return"]:
                returns[int(row["segment"]), row["arm"]].append(float(row["mean_return"]))
    if any(len(seeds[arm]) < SEEDS for arm in ("plain", "oracle")):
        return None
    visits = 1 + max((segment for segment, _ in returns), default=-1)
    late = [n for n in range(visits // 2, visits) if returns[n, "plain"] and returns[n, "oracle"]]
    pairs = [(fmean(returns[n, "plain"]), fmean(returns[n, "oracle"])) for n in late]
    shares = [share for pair in pairs if (share := _share(*pair)) is not None]
    if not shares:
        return None
    return {
        "candidate": name,
        "visits": visits,
        "late": len(late),
        "plain": round(fmean(plain for plain, _ in pairs), 2),
        "oracle": round(fmean(oracle for _, oracle in pairs), 2),
        "share": round(fmean(shares), 3),
    }


def _share(plain: float, oracle: float) -> float | None:
    """None where both are 0; 1, no loss, where the plain agents have a return and the oracle has costs."""
    if oracle > 0:
        return plain / oracle
    if plain < 0:
        return oracle / plain
    return None if plain == oracle else 1.0


def rows(found: list[dict[str, Any]]) -> Iterator[str]:
    yield "| candidate | visits | plain, late visits | oracle, late visits | share | loss |"
    yield "|---" * 6 + "|"
    for row in found:
        loss = "yes" if row["share"] <= LOSS else "no"
        yield f"| {row['candidate']} | {row['visits']} | {row['plain']} | {row['oracle']} | {row['share']} | {loss} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--workers", type=int, default=2, help="runs at once, a thread each")
    parser.add_argument("--shown", action="store_true", help="train nothing")
    args = parser.parse_args()
    for name in () if args.shown else args.only:
        train(name, args.workers)
    known = {row["candidate"]: row for row in json.loads(RESULTS.read_text("utf-8"))} if RESULTS.is_file() else {}
    found = [row for name in CANDIDATES if (row := shown(name) or known.get(name)) is not None]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(rows(found)))


if __name__ == "__main__":
    main()
