"""What penalties, optimizers and the like add to the updates of PPO and DQN.

PPO updates with the settings of `configs/minatar3_ppo.yaml` (a rollout of 8,192 steps, minibatches of 1,024, four
epochs), DQN with those of `configs/minatar3_dqn_gxd.yaml` (batches of 32), by their own `train`, all on the same data;
what counts is a gradient step, after some updates in which penalties begin to act. What is done once in a `period` of
gradient steps is seen in those rows alone whose period is an update's 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.harness.declared import MILLISECONDS, Repetition, Row, Side, Spent

TITLE = "What do penalties, optimizers and the like cost in time?"
WARMING = 3  # updates
MOST = {"PPO": {"c_chain": 1.4}, "DQN": {"c_chain": 1.6}}
"""Agent -> method -> the most that a gradient step may take with it, times what it takes without; all others 1.1."""


class Method(NamedTuple):
    """What is timed.

    Attributes:
        intervention: its class in `agents.plasticity`; empty for none.
        arguments: of it.
        settings: of the agent, beside those that all have.
        beside: settings of the agent that it is compared with.
        agents: that can have it.
        bound: whether there is a most that it may take.
    """

    intervention: str = ""
    arguments: Mapping[str, Any] = {}
    settings: Mapping[str, Any] = {}
    beside: Mapping[str, Any] = {}
    agents: tuple[str, ...] = ("PPO", "DQN")
    bound: bool = True


ACTING = {"coefficient": "auto", "window": 5000, "warmup": 0}  # from the 50th step on
NORMALIZED = {"policy": "LayerNormCnnPolicy"}
OPTIMIZERS = ("adam", "adamw", "rmsprop", "trac", "upgd", "adamo")  # a CPU without bfloat16 takes Muon's thirty steps
METHODS = {
    "nothing": Method(bound=False),  # what two equal sides differ by
    "layer_norm": Method(settings=NORMALIZED, bound=False),
    "c_chain": Method("CChain", ACTING),
    "c_chain_minibatches": Method("CChain", {**ACTING, "samples": 10**6}, bound=False),  # reference batches as large
    "c_chain_paper": Method("CChain", {"paper": True}, bound=False),
    "l2_init": Method("L2Init"),
    "l2_init_in_loss": Method("L2Init", {"decoupled": False}),
    "spectral": Method("Spectral"),
    "parseval": Method("Parseval"),
    "parseval_paper": Method("Parseval", {"paper": True}),
    "weight_decay": Method("WeightDecay"),
    "weight_clipping": Method("WeightClipping"),
    "normalize_and_project": Method("NormalizeAndProject", settings=NORMALIZED, beside=NORMALIZED),
    "sigreg": Method("SIGReg"),
    "sigreg_paper": Method("SIGReg", {"paper": True}),
    "swr": Method("SWR"),
    "swr_period_32": Method("SWR", {"period": 32, "rate": 1e-3}),
    "sample_weight_decay": Method("SampleWeightDecay", {"decay_steps": 5_000}, agents=("DQN",)),
    **{f"optimizer_{name}": Method(settings={"optimizer": name}, bound=False) for name in OPTIMIZERS},
}


def updates(agent: str, steps: int, intervention: str = "", arguments: Any = None, settings: Any = None) -> Repetition:
    """An update of an agent with an intervention or without, by the gradient step."""
    from agents import plasticity

    acting = [getattr(plasticity, intervention)(**(arguments or {}))] if intervention else []
    model, source = _agent(agent, interventions=acting, **(settings or {})), _agent(agent).learn(steps)
    buffer = "rollout_buffer" if agent == "PPO" else "replay_buffer"
    setattr(model, buffer, getattr(source, buffer))
    model.set_logger(source.logger)
    given = {} if agent == "PPO" else {"gradient_steps": 32, "batch_size": 32}
    for _ in range(WARMING):
        model.train(**given)

    def repetition() -> Spent:
        before = model.optimizer_steps
        model.train(**given)
        return Spent(model.optimizer_steps - before)

    return repetition


def _agent(name: str, *, policy: str = "CnnPolicy", **more: Any) -> Any:
    import agents
    import envs

    settings: dict[str, Any]
    if name == "PPO":
        settings = {"n_steps": 128, "batch_size": 1024, "n_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01}
    else:
        settings = {
            "learning_rate": 3e-4, "buffer_size": 10_000, "learning_starts": 10_000, "batch_size": 32,
            "double_q": True, "epsilon_per_env": True, "target_update_interval": 4_000,
        }  # fmt: skip
    games = envs.make("breakout", n_envs=64 if name == "PPO" else 16, seed=1)
    return getattr(agents, name)(policy, games, **settings, **more, seed=1, device="cpu")


def _row(agent: str, name: str) -> Row:
    method = METHODS[name]
    with_it = {"intervention": method.intervention, "arguments": method.arguments, "settings": method.settings}
    most = MOST[agent].get(name, 1.1) if method.bound else None
    sides = {"without": Side(updates, {"settings": method.beside}), name: Side(updates, with_it, at_most=most)}
    return Row(
        f"penalties/{agent.lower()}_{name}", f"{agent}, {name}: a gradient step", sides, MILLISECONDS,
        {"agent": agent, "steps": 8192}, quick={"steps": 8192}, repetitions=15,
    )  # fmt: skip


ROWS = [_row(agent, name) for agent in ("PPO", "DQN") for name, method in METHODS.items() if agent in method.agents]
