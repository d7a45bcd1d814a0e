"""What penalties and the like cost: seconds that they add to the updates of PPO and DQN, as a share of these.

PPO updates with the settings of `configs/minatar3_ppo.yaml` (a rollout of 8,192 steps, minibatches of 1,024, four
epochs), DQN with those of `configs/minatar3_dqn_gxd.yaml` (batches of 32), by their own `train`. Every side has an
agent of its own, on the same data; all take their turns with an update each, and what counts is the median of the
processor time of a gradient step, after some updates in which penalties begin to act.

    OMP_NUM_THREADS=1 python benchmarks/penalty_cost.py            # about twenty-five minutes on one core
    OMP_NUM_THREADS=1 python benchmarks/penalty_cost.py --agents DQN --methods swr sigreg     # a part of it

What is done once in a `period` of gradient steps is seen in those rows alone whose period is an update's 32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import envs
from agents import DQN, PPO
from agents.optimizers import OPTIMIZERS
from agents.plasticity import (
    SWR,
    CChain,
    Intervention,
    L2Init,
    NormalizeAndProject,
    Parseval,
    SampleWeightDecay,
    SIGReg,
    Spectral,
    WeightClipping,
    WeightDecay,
)

WARMING = 3  # updates
REQUIRED = {"PPO": {"c_chain": 0.4}, "DQN": {"c_chain": 0.6}}
"""Agent -> method -> the most that it may add; all others a tenth."""


class Side(NamedTuple):
    """What is timed.

    Attributes:
        intervention: makes the one that the agent has; None for none.
        settings: of the agent, beside those that all have.
        beside: the side that it is compared with.
        agents: that can have it.
    """

    intervention: Callable[[], Intervention] | None = None
    settings: Mapping[str, Any] = {}
    beside: str = "none"
    agents: Collection[str] = ("PPO", "DQN")


acting: dict[str, Any] = {"coefficient": "auto", "window": 5000, "warmup": 0}  # from the 50th step on
normalized = {"policy": "LayerNormCnnPolicy"}
METHODS: dict[str, Side] = {
    "none": Side(),
    "none, again": Side(),  # what two equal sides differ by
    "none, layer norm": Side(settings=normalized),
    "c_chain": Side(partial(CChain, **acting)),
    "c_chain, reference batches as minibatches": Side(partial(CChain, **acting, samples=10**6)),
    "c_chain, paper": Side(partial(CChain, paper=True)),
    "l2_init": Side(L2Init),
    "l2_init, in the loss": Side(partial(L2Init, decoupled=False)),
    "spectral": Side(Spectral),
    "parseval": Side(Parseval),
    "parseval, paper": Side(partial(Parseval, paper=True)),
    "weight_decay": Side(WeightDecay),
    "weight_clipping": Side(WeightClipping),
    "normalize_and_project": Side(NormalizeAndProject, settings=normalized, beside="none, layer norm"),
    "sigreg": Side(SIGReg),
    "sigreg, paper": Side(partial(SIGReg, paper=True)),
    "swr": Side(SWR),
    "swr, period 32": Side(partial(SWR, period=32, rate=1e-3)),
    "sample_weight_decay": Side(partial(SampleWeightDecay, decay_steps=5_000), agents=["DQN"]),
    # Muon's bfloat16 takes a CPU that lacks it thirty gradient steps.
    **{f"optimizer {name}": Side(settings={"optimizer": name}) for name in OPTIMIZERS if name != "muon"},
}


def ppo(interventions: Sequence[Intervention] = (), policy: str = "CnnPolicy", **more: Any) -> PPO:
    settings = {"n_steps": 128, "batch_size": 1024, "n_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01}
    games = envs.make("breakout", n_envs=64, seed=1)
    return PPO(policy, games, **settings, **more, seed=1, device="cpu", interventions=interventions)


def dqn(interventions: Sequence[Intervention] = (), policy: str = "CnnPolicy", **more: Any) -> DQN:
    settings = {
        "learning_rate": 3e-4, "buffer_size": 10_000, "learning_starts": 10_000, "batch_size": 32,
        "double_q": True, "epsilon_per_env": True, "target_update_interval": 4_000,
    }  # fmt: skip
    games = envs.make("breakout", n_envs=16, seed=1)
    return DQN(policy, games, **settings, **more, seed=1, device="cpu", interventions=interventions)


# Agent -> how to make one, what its data is called, and how it makes an update.
AGENTS: Mapping[str, tuple[Callable[..., Any], str, Callable[[Any], None]]] = {
    "PPO": (ppo, "rollout_buffer", lambda model: model.train()),
    "DQN": (dqn, "replay_buffer", lambda model: model.train(gradient_steps=32, batch_size=32)),
}


def seconds(model: Any, update: Callable[[Any], None]) -> float:
    """Processor seconds of a gradient step."""
    steps, start = model.optimizer_steps, time.process_time()
    update(model)
    return (time.process_time() - start) / (model.optimizer_steps - steps)


def measured(agent: str, methods: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Method -> processor seconds of a gradient step, in each round."""
    make, data, update = AGENTS[agent]
    models = {
        name: make([made()] if (made := METHODS[name].intervention) else [], **METHODS[name].settings)
        for name in methods
    }
    source = make().learn(8192)
    for model in models.values():
        setattr(model, data, getattr(source, data))
        model.set_logger(source.logger)
        for _ in range(WARMING):
            update(model)
    times: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds):
        order = list(models) if number % 2 else list(reversed(models))  # nobody always follows the same one
        for name in order:
            times[name].append(seconds(models[name], update))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", nargs="+", default=list(AGENTS), choices=list(AGENTS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--rounds", type=int, default=25, help="updates of each side")
    arguments = parser.parse_args()
    print("| agent | method | ms per gradient step | adds | at most |\n|---|---|---|---|---|")
    for agent in arguments.agents:
        wanted = [name for name in arguments.methods if agent in METHODS[name].agents]
        sides = dict.fromkeys(side for name in wanted for side in ("none", METHODS[name].beside, name))
        times = measured(agent, list(sides), arguments.rounds)
        for name, spent in times.items():
            plain = times[METHODS[name].beside]
            # Of the rounds' ratios: what disturbs the machine for a while disturbs both sides.
            ratio = statistics.median(one / other for one, other in zip(spent, plain, strict=True))
            most = REQUIRED[agent].get(name, 0.1 if not name.startswith(("none", "c_chain", "optimizer")) else None)
            bound = "" if most is None else f"{most:.0%}"
            cells = [agent, name, f"{1e3 * statistics.median(plain) * ratio:.2f}", f"{ratio - 1:+.1%}", bound]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
