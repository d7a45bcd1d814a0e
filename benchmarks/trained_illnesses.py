"""Does `diagnose` name what training has done to a network? Small agents are trained into each illness, and named.

The gallery of the tests makes each illness by hand; here it comes as it comes in practice, from settings that are known
to bring it about (`RECIPES`), and from a task that changes: ten normal numbers are observed, and paid is the action (or
its size) that says which of three of them is the largest (or how large it is); which three changes every so many steps.
Healthy agents of all four algorithms stand beside them. An illness may be named together with others that training has
brought about, too: the table tells how often each mechanism was named in the agents of a recipe.

What was found in an agent is a small file in `benchmarks/results/trained_illnesses`; one whose file is there is not
trained again.

    python benchmarks/trained_illnesses.py                  # about two minutes of one core for each seed
    python benchmarks/trained_illnesses.py --only dead_units --seeds 1    # a try
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from torch import Tensor, nn

from agents import DQN, PPO, SAC, TD3
from agents.plasticity import diagnose
from agents.plasticity.diagnosis import MECHANISMS, Diagnosis

RESULTS = Path(__file__).resolve().parent / "results" / "trained_illnesses"
UNEXPLAINED, NONE = "unexplained", "none"
SNAPSHOTS = 8  # of the parameters, that divergence of values is told from
EPISODE, DOUBLINGS = 32, 8  # steps
FEW = {"fresh": 9, "observations": 128}  # of `diagnose`, which with its defaults takes four times as long


class Numbers(gymnasium.Env):
    """Ten normal numbers at each step.

    Args:
        switch: steps after which other three numbers are paid for; None for never.
        late: factor of rewards from the first switch on.
        size: of the numbers.
        doubling: whether, from the first switch on, numbers are twice as large at every step of an episode, which is
            then of eight steps, and ends by its length alone.
        constant: the first action is paid for, whatever the numbers are.
        continuous: the action is a number, and paid is how near it is to half of the largest of the three.
    """

    def __init__(
        self,
        switch: int | None = None,
        late: float = 1.0,
        *,
        size: float = 1.0,
        doubling: bool = False,
        constant: bool = False,
        continuous: bool = False,
    ) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (10,), np.float32)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32) if continuous else spaces.Discrete(3)
        self._switch, self._late, self._size, self._doubling = switch, late, size, doubling
        self._constant, self._continuous = constant, continuous
        self._steps = 0  # of all episodes
        self._length = 0  # of this one

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._length = 0
        return self._seen(), {}

    @property
    def _task(self) -> int:
        return 0 if self._switch is None else self._steps // self._switch

    def step(self, action: Any) -> Any:
        task, self._steps, self._length = self._task, self._steps + 1, self._length + 1
        three = self._numbers[np.random.default_rng(task).permutation(10)[:3]]
        if self._continuous:
            reward = 1 - abs(float(action[0]) - np.tanh(three.max() / 2))
        else:
            reward = float(action == (0 if self._constant else three.argmax()))
        reward *= self._late if task else 1.0
        doubling = self._doubling and task > 0
        return self._seen(), reward, False, self._length >= (DOUBLINGS if doubling else EPISODE), {}

    def _seen(self) -> Any:
        size = self._size * (2.0 ** min(self._length, DOUBLINGS) if self._doubling and self._task else 1.0)
        if not (self._doubling and self._task and self._length):  # the same numbers, only larger
            self._drawn = self.np_random.normal(size=10).astype(np.float32)
        self._numbers = self._drawn
        return np.float32(size) * self._drawn


class Recipe(NamedTuple):
    """What brings an illness about.

    Attributes:
        mechanism: that it is to bring about; None for none.
        make: the agent of a seed.
        steps: of training.
        why: what it is that does it.
    """

    mechanism: str | None
    make: Callable[[int], Any]
    steps: int
    why: str


def ppo(activation: type[nn.Module] = nn.ReLU, norm: str = "none", **given: Any) -> Callable[[int], Any]:
    """Four games at once; what is given are the game's arguments and the agent's."""
    game = {key: given.pop(key) for key in ("switch", "late", "size", "constant") if key in given}
    policy = {"net_arch": [32, 32], "activation_fn": activation, "norm": norm, **given.pop("policy", {})}
    settings = {"n_steps": 128, "batch_size": 128, "n_epochs": 4, "learning_rate": 1e-3, **given}
    return lambda seed: PPO(
        "MlpPolicy", _games(seed, 4, game), policy_kwargs=policy, seed=seed, device="cpu", **settings
    )


def replaying(kind: type[Any], **given: Any) -> Callable[[int], Any]:
    """One game."""
    game = {key: given.pop(key) for key in ("switch", "doubling") if key in given} | {"continuous": kind is not DQN}
    settings = {
        "learning_starts": 100, "batch_size": 64, "buffer_size": 2000, "train_freq": 4, "gradient_steps": 4,
        "learning_rate": 1e-3, "policy_kwargs": {"net_arch": [32, 32]}, **given,
    }  # fmt: skip
    return lambda seed: kind("MlpPolicy", _games(seed, 1, game), seed=seed, device="cpu", **settings)


def falling(first: float, last: float) -> Callable[[float], float]:
    """A learning rate that falls by factors."""
    return lambda left: last * (first / last) ** left


def _games(seed: int, number: int, arguments: Mapping[str, Any]) -> Any:
    return make_vec_env(Numbers, number, seed=seed, env_kwargs=dict(arguments))


RECIPES: dict[str, Recipe] = {
    "healthy_ppo": Recipe(None, ppo(switch=1024), 8192, "PPO at 1e-3, four tasks in turn"),
    "healthy_dqn": Recipe(None, replaying(DQN, switch=1000), 3000, "DQN at 1e-3, three tasks in turn"),
    "healthy_sac": Recipe(None, replaying(SAC), 1500, "SAC at 1e-3"),
    "healthy_td3": Recipe(None, replaying(TD3), 1500, "TD3 at 1e-3"),
    "dead_units": Recipe(
        "dead units", ppo(switch=512, learning_rate=0.1), 8192, "a learning rate of 0.1 on tasks that change"
    ),
    "saturated_units": Recipe(
        "saturated units", ppo(nn.Tanh, switch=512, learning_rate=falling(0.1, 1e-3)), 8192,
        "tanh, and a learning rate that falls from 0.1 to 0.001",
    ),
    "saturated_policy": Recipe(
        "saturated policy", ppo(norm="layer", switch=512, learning_rate=0.02, ent_coef=0.0), 16384,
        "a learning rate of 0.02 behind layer norms, and no bonus for entropy",
    ),
    "norm_growth": Recipe(
        "norm growth", ppo(norm="layer", switch=512, learning_rate=falling(0.3, 1e-3)), 8192,
        "layer norms, and a learning rate that falls from 0.3 to 0.001",
    ),
    "rank_collapse": Recipe(
        "rank collapse", ppo(nn.LeakyReLU, switch=512, learning_rate=falling(0.1, 1e-3)), 8192,
        "units that cannot die, and a learning rate that falls from 0.1 to 0.001",
    ),
    "stale_optimizer": Recipe(
        "stale optimizer", ppo(switch=1024, late=1e-3, gamma=0.0, learning_rate=3e-3), 8192,
        "rewards that become a thousandth, 128 gradient steps before",
    ),
    "value_divergence": Recipe(
        "value divergence", replaying(DQN, switch=1500, doubling=True, target_update_interval=1), 3000,
        "no lag of targets, and observations that double at each step since half of the run, as in Tsitsiklis and Van "
        "Roy (1997)",
    ),
}  # fmt: skip


class History(BaseCallback):
    """Keeps what the parameters were on the way.

    Args:
        every: steps from one to the next.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every, self.found = every, dict[int, Mapping[str, Tensor]]()

    def _on_step(self) -> bool:
        if self.num_timesteps >= (len(self.found) + 1) * self.every:
            self.found[self.num_timesteps] = self.model.snapshot()
        return True


def trained(recipe: Recipe, seed: int) -> tuple[Any, dict[int, Mapping[str, Tensor]]]:
    """An agent, and what it was on the way and is now."""
    model, history = recipe.make(seed), History(recipe.steps // SNAPSHOTS)
    model.learn(recipe.steps, history, log_interval=None)
    return model, history.found | {model.num_timesteps: model.snapshot()}


def named(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """The findings, and networks that nothing explains."""
    found = [
        {"mechanism": each.mechanism, "place": each.place, "strength": round(each.strength, 3),
         "confidence": each.confidence}
        for each in diagnosis.findings
    ]  # fmt: skip
    return found + [{"mechanism": UNEXPLAINED, "place": network} for network in diagnosis.unexplained]


def result(name: str, seed: int) -> dict[str, Any]:
    """What was named in an agent: read, or trained and diagnosed."""
    path = RESULTS / f"{name}__s{seed}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    began = time.process_time()
    model, history = trained(RECIPES[name], seed)
    middle = time.process_time()
    diagnosis = diagnose(model, history=history, seed=seed, **FEW)
    seconds = {"training": round(middle - began, 1), "diagnosis": round(time.process_time() - middle, 1)}
    found = {"seed": seed, "named": named(diagnosis), "untold": diagnosis.untold, "cpu_seconds": seconds}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(name, json.dumps(found), flush=True)
    return found


def table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Markdown: in how many of a recipe's agents each mechanism was named."""
    columns = [*MECHANISMS, UNEXPLAINED, NONE]
    lines = [f"| trained | agents | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for name, runs in found.items():
        cells = []
        for column in columns:
            agents = [{each["mechanism"] for each in run["named"]} or {NONE} for run in runs]
            count = sum(column in mechanisms for mechanisms in agents)
            wanted = column == (RECIPES[name].mechanism or NONE)
            cells.append(f"**{count}**" if wanted else f"{count}" if count else "")
        lines.append(f"| {name.replace('_', ' ')} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    RESULTS.mkdir(exist_ok=True)
    print(table({name: [result(name, seed) for seed in args.seeds] for name in args.only}))


if __name__ == "__main__":
    main()
