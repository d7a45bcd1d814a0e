"""The C-CHAIN plug-in of the examples: its penalty is one step back, reduces churn, and resumes to the last bit."""

from __future__ import annotations

import ast
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from processes import crl
from saved import leaves
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import agents
import envs
from agents.plasticity import Intervention, Update
from agents.plasticity.registry import INTERVENTIONS
from agents.training_state import restore_training_state, training_state
from crl import storage

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ON = {"n_steps": 16, "batch_size": 8, "n_epochs": 2}
OFF = {"learning_starts": 16, "train_freq": 4, "gradient_steps": 2, "batch_size": 8, "buffer_size": 100}
CASES: dict[str, dict[str, Any]] = {
    "ppo": {"cls": "PPO", "game": "cartpole", **ON},
    "ppo means": {"cls": "PPO", "game": "pendulum", **ON, "use_sde": True},
    "dqn": {"cls": "DQN", "game": "cartpole", **OFF, "target_update_interval": 20},
    "sac": {"cls": "SAC", "game": "pendulum", **OFF},
}
NETWORKS = {"ppo": {"policy"}, "ppo means": {"policy"}, "dqn": {"critic"}, "sac": {"critic", "actor"}}


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Intervention]]:
    """The class, imported as a config's `imports` would."""
    monkeypatch.syspath_prepend(EXAMPLES)
    from c_chain import CChain  # type: ignore[import-not-found]

    yield CChain
    INTERVENTIONS.pop("c_chain")
    sys.modules.pop("c_chain")


def build(case: str, interventions: list[Intervention], seed: int = 5, **more: Any) -> Any:
    given = {**CASES[case], **more}
    cls, game = getattr(agents, given.pop("cls")), given.pop("game")
    net = {"net_arch": [8]}
    model = cls(
        "MlpPolicy", envs.make(game, n_envs=2), device="cpu", seed=seed, policy_kwargs=net,
        interventions=interventions, **given,
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    return model


class Begin(BaseCallback):
    """Calls something where training begins."""

    def __init__(self, act: Callable[[Any], None]) -> None:
        super().__init__()
        self._act = act

    def _on_training_start(self) -> None:
        self._act(self.model)

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("case", CASES)
def test_going_on_equals_never_having_stopped(case: str, chain: type[Intervention], tmp_path: Path) -> None:
    def saves(model: Any) -> None:
        def ended() -> None:
            if model.num_timesteps == 64:
                storage.write(tmp_path / "64", training_state(model))

        model.update_ended.append(ended)

    whole = build(case, [chain(window=5)]).learn(128, callback=Begin(saves))
    saved = storage.read(tmp_path / "64")
    (held,) = saved["learner"]["interventions"]["interventions"]
    assert set(held["kept"]) == set(held["seen"]) == NETWORKS[case]
    assert all(steps > 5 for steps, _ in held["seen"].values())  # a penalty is due in the next step
    random.seed(1)  # other generators than those that the first began with
    np.random.seed(2)
    torch.manual_seed(3)
    again = build(case, [chain(window=5)], seed=11)
    again.learn(128, callback=Begin(lambda model: restore_training_state(model, saved)))
    assert again.num_timesteps == 128
    assert dict(leaves(training_state(again))) == dict(leaves(training_state(whole)))


@pytest.mark.parametrize("case", CASES)
def test_what_is_compared_is_of_the_parameters_before_the_last_step(case: str, chain: type[Intervention]) -> None:
    compared: list[str] = []

    class Watched(chain):  # type: ignore[misc, valid-type]
        snapshots: Mapping[str, dict[str, Tensor]]

        def penalty(self, update: Update) -> Tensor | None:
            name, output = update.network, "critic" if update.network == "critic" else "actor"
            if name in self.kept:
                batch, old = self.kept[name]
                before = self.learner.outputs(batch, self.before[name])[output]
                assert torch.equal(old, before)
                assert not torch.equal(old, self.learner.outputs(batch)[output])  # the step has moved it
                assert len(old) == self.learner.batch_size
                compared.append(name)
            self.before = {**getattr(self, "before", {}), name: self.learner.snapshot()}
            term: Tensor | None = super().penalty(update)
            assert term is None or term > 0
            return term

    build(case, [Watched(window=3)]).learn(96)
    assert set(compared) == NETWORKS[case]
    assert len(compared) > 10


@pytest.mark.parametrize("case", CASES)
def test_churn_is_reduced(case: str, chain: type[Intervention]) -> None:
    found = []
    for scale in (0.0, 0.05):
        model = build(case, [chain(scale=scale, window=15)]).learn(192)
        found.append({name: float(seen[1].mean()) for name, (_, seen) in model.interventions[0].seen.items()})
    assert all(found[1][name] < 0.9 * found[0][name] for name in NETWORKS[case]), found


@pytest.mark.parametrize("case", CASES)
def test_without_a_step_there_is_no_churn(case: str, chain: type[Intervention]) -> None:
    model = build(case, [chain(window=2)], learning_rate=0.0).learn(64)
    for _, seen in model.interventions[0].seen.values():
        assert seen[1].tolist() == [0.0, 0.0]


class Blind(TorchDispatchMode):
    """Refuses what would wait for a GPU: reading a value, and shapes that depend on one."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert function.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", CASES)
def test_a_penalty_waits_for_no_device(case: str, chain: type[Intervention]) -> None:
    class Watched(chain):  # type: ignore[misc, valid-type]
        def penalty(self, update: Update) -> Tensor | None:
            with Blind():
                term: Tensor | None = super().penalty(update)
            return term

    assert build(case, [Watched(window=3)]).learn(64).optimizer_steps > 6


def test_a_reset_is_no_churn(chain: type[Intervention]) -> None:
    reset = INTERVENTIONS["full_reset"].resolve()(period=4)
    model = build("ppo", [chain(window=2), reset]).learn(32)
    assert model.interventions[0].kept == {}


def test_a_config_imports_it(tmp_path: Path, chain: type[Intervention]) -> None:
    (tmp_path / "tiny.yaml").write_text("""
stream: {tasks: [cartpole], steps_per_task: 64, cycles: 1}
agent: {name: ppo, n_envs: 2, n_steps: 16, batch_size: 16, n_epochs: 2, net_arch: {pi: [8], vf: [8]}}
""")
    shutil.copy(EXAMPLES / "c_chain.py", tmp_path)
    given = ["imports=[c_chain]", "interventions=[{name: c_chain, window: 3}]"]
    process = crl("train", "tiny.yaml", *given, cwd=tmp_path)
    assert (process.wait(), process.errors()) == (0, "")
    (run,) = (tmp_path / "runs").iterdir()
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["interventions"] == [{"name": "c_chain", "scale": 0.05, "window": 3}]
    loaded = agents.PPO.load(run / "model.zip", device="cpu")
    assert loaded.interventions[0].arguments() == {"scale": 0.05, "window": 3}
    ((steps, seen),) = loaded.interventions[0].seen.values()
    assert steps == loaded.optimizer_steps - 1
    assert seen.shape == (2, 3)
    listed = crl("list", "interventions", "--imports", "c_chain", cwd=tmp_path, name="list").printed()
    assert re.search(r"c_chain +penalise churn: what the last step did", listed)


def test_it_is_fifty_lines_of_code() -> None:
    text = (EXAMPLES / "c_chain.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text), clean=False)
    assert docstring is not None
    code = [
        line
        for line in text.replace(docstring, "").splitlines()
        if line.strip() and not line.startswith(("from", "import"))
    ]
    assert 30 < len(code) <= 52
