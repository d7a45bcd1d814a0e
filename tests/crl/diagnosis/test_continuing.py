"""Going on with an ill agent: as it is, and with remedies that act at once or in every step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_checkpoints import contents, train

from agents.plasticity.findings import Trial
from crl.config import RunConfig
from crl.diagnosis import continuing
from crl.diagnosis.continuation import Continuation, Continued
from crl.learnt import newest_checkpoint
from crl.opening import opened


def trial(name: str, after: float = 0.9, **arguments: Any) -> Trial:
    return Trial({"name": name, **arguments}, "", {"actor/trainability": 0.2}, {"actor/trainability": after})


def config_of(folder: Path) -> RunConfig:
    with opened(folder) as config:
        return config


def gone_on(run: Path, trials: list[Trial], steps: int = 120) -> Continued:
    return continuing.continued(newest_checkpoint(run), config_of(run), trials, "level_4", steps, 16, 2)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those that go on, in their order."""
    found, play = [], continuing.play

    def kept(*arguments: Any) -> Any:
        played = play(*arguments)
        found.append(played.model)
        return played

    monkeypatch.setattr(continuing, "play", kept)
    return found


def test_it_learns_on_with_the_best_and_without_and_writes_nothing(checkpointed: Path, models: list[Any]) -> None:
    before = contents(checkpointed)
    trials = [trial("full_reset"), trial("l2_init", coefficient=1.0), trial("redo"), trial("fire"), trial("gxd", 0.25)]
    found = gone_on(checkpointed, trials)
    assert contents(checkpointed) == before
    assert [each.candidate for each in found.found] == [
        None, {"name": "full_reset"}, {"name": "l2_init", "coefficient": 1.0}, {"name": "redo"},
    ]  # fmt: skip
    assert (found.task, found.steps) == ("level_4", 120)
    for each in found.found:
        assert all(number > 0 for number in each.episodes)
        assert each.mean == pytest.approx(sum(each.returns) / 3)
    assert [model.optimizer_steps for model in models] == [6] * 12  # two of each of three rollouts
    assert [[each.name for each in model.interventions] for model in models[::3]] == [[], [], ["l2_init"], []]
    ends = [model.policy.action_net.weight for model in models]
    assert len({tuple(end.flatten().tolist()) for end in ends[:9]}) == 9
    assert gone_on(checkpointed, []).found[0] == found.found[0]  # the same seeds, whatever goes on beside it
    assert all(torch.equal(one.policy.action_net.weight, end) for one, end in zip(models[12:], ends, strict=False))


def test_what_regains_nothing_is_not_gone_on_with(checkpointed: Path) -> None:
    hindered = Trial({"name": "plasticity_injection"}, "the head is not built for it")
    assert len(gone_on(checkpointed, [trial("redo", 0.25), hindered], 40).found) == 1


def test_an_agent_with_a_replay_buffer_learns_from_its_first_step_on(
    replaying: tuple[str, Path, object], models: list[Any]
) -> None:
    agent, run, _ = replaying
    task = {"dqn": "breakout", "sac": "moon"}[agent]
    found = continuing.continued(newest_checkpoint(run), config_of(run), [trial("full_reset")], task, 40, 16, 2)
    assert [each.candidate for each in found.found] == [None, {"name": "full_reset"}]
    # A gradient step for 20 steps of the games, and two for 10; none of learning_starts is waited for.
    assert [model.optimizer_steps for model in models] == [{"dqn": 2, "sac": 8}[agent]] * 6
    if agent == "dqn":
        assert {model.exploration_rate for model in models} == {0.2}


def test_schedules_stand_still(tmp_path: Path, models: list[Any]) -> None:
    run = train(tmp_path, "agent.learning_rate={linear: [0.001, 0]}", "checkpoint.visits=true")
    early = min((run / "visits").iterdir(), key=lambda path: int(path.name))
    total = max(int(path.name) for path in (run / "visits").iterdir())
    continuing.continued(early, config_of(run), [], "level_1", 80, 16, 2)
    rate = 1e-3 * (1 - int(early.name) / total)
    assert [model.optimizers[0].param_groups[0]["lr"] for model in models] == [pytest.approx(rate)] * 3


def test_a_mean_of_seeds_of_which_one_has_no_episode_is_not_known() -> None:
    assert math.isnan(Continuation(None, [1.0, math.nan, 2.0], [1, 0, 1]).mean)
