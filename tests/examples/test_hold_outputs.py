"""The intervention of the examples: its penalty is one step back, moves outputs less, and resumes to the last bit."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from processes import crl
from small_worlds import STEPPING, Blind, build, whole_and_resumed
from torch import Tensor

import agents
from agents.plasticity import FullReset, Intervention, Update
from agents.plasticity.registry import INTERVENTIONS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Intervention]]:
    """The class, imported as a config's `imports` would."""
    monkeypatch.syspath_prepend(EXAMPLES)
    from hold_outputs import HoldOutputs  # type: ignore[import-not-found]

    yield HoldOutputs
    INTERVENTIONS.pop("hold_outputs")
    sys.modules.pop("hold_outputs")


@pytest.mark.parametrize("agent", ["ppo", "sac"])
def test_going_on_equals_never_having_stopped(agent: str, hold: type[Intervention], tmp_path: Path) -> None:
    (held,), whole, again = whole_and_resumed(agent, lambda: [hold()], tmp_path)
    assert {name for name, _, _ in held["kept"]} == STEPPING[agent]  # a penalty is due in the next step
    assert again == whole


@pytest.mark.parametrize("agent", ["ppo means", "dqn", "td3"])
def test_what_is_compared_is_of_the_parameters_before_the_last_step(agent: str, hold: type[Intervention]) -> None:
    compared: list[str] = []

    class Watched(hold):  # type: ignore[misc, valid-type]
        before: Mapping[str, dict[str, Tensor]]

        def penalty(self, update: Update) -> Tensor | None:
            name, output = update.network, "critic" if update.network == "critic" else "actor"
            if name in self.kept:
                batch, old = self.kept[name]
                assert old.equal(self.learner.outputs(batch, self.before[name])[output])
                assert not old.equal(self.learner.outputs(batch)[output])  # the step has moved it
                assert len(old) == self.learner.batch_size
                compared.append(name)
            self.before = {**getattr(self, "before", {}), name: self.learner.snapshot()}
            with Blind():  # it waits for no GPU
                term: Tensor | None = super().penalty(update)
            assert term is None or term > 0
            return term

    build(agent, [Watched()]).learn(96)
    assert set(compared) == STEPPING[agent]
    assert len(compared) > 10


def test_a_reset_is_no_steps_doing(hold: type[Intervention]) -> None:
    model = build("ppo", [hold(), FullReset(period=4)]).learn(32)
    assert model.interventions[0].kept == {}


def test_a_config_imports_it(tmp_path: Path, hold: type[Intervention]) -> None:
    (tmp_path / "tiny.yaml").write_text("""
stream: {tasks: [cartpole], steps_per_task: 64, cycles: 1}
agent: {name: ppo, n_envs: 2, n_steps: 16, batch_size: 16, n_epochs: 2, net_arch: {pi: [8], vf: [8]}}
""")
    shutil.copy(EXAMPLES / "hold_outputs.py", tmp_path)
    given = ["imports=[hold_outputs]", "interventions=[{name: hold_outputs, strength: 0.3}]"]
    process = crl("train", "tiny.yaml", *given, cwd=tmp_path)
    assert (process.wait(), process.errors()) == (0, "")
    (run,) = (tmp_path / "runs").iterdir()
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["interventions"] == [{"name": "hold_outputs", "strength": 0.3}]
    loaded = agents.PPO.load(run / "model.zip", device="cpu")
    assert loaded.interventions[0].arguments() == {"strength": 0.3}
    assert set(loaded.interventions[0].kept) == {"policy"}
    listed = crl("list", "interventions", "--imports", "hold_outputs", cwd=tmp_path, name="list").printed()
    assert re.search(r"hold_outputs +hold outputs on other data", listed)


def test_it_is_forty_lines_of_code() -> None:
    text = (EXAMPLES / "hold_outputs.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text), clean=False)
    assert docstring is not None
    code = [line for line in text.replace(docstring, "").splitlines() if line.strip()]
    assert 30 < len(code) <= 42
