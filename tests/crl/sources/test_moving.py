"""`crl train --from`: an agent goes on in a world of other observations and actions."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from compared import assert_equal, checkpoints_of
from processes import Process

import crl
import envs
from agents import PPO
from agents.training_state import learnt_state
from crl import storage
from crl.config import ConfigError
from crl.models import build
from crl.training import checked_config

ROOT = Path(__file__).parents[3]
PPO_8 = "{name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: [8]}"
DQN_8 = (
    "{name: dqn, n_envs: 2, buffer_size: 300, learning_starts: 30, train_freq: 5, batch_size: 8, net_arch: [8], "
    "target_update_interval: 20}"
)
SAC_8 = (
    "{name: sac, buffer_size: 300, learning_starts: 30, train_freq: 5, gradient_steps: 2, batch_size: 8, net_arch: [8]}"
)
MOVES = {  # agent -> it, the world that it comes from, and the one that it goes to
    "ppo": (PPO_8, "cartpole", "acrobot"),  # from 4 values and 2 actions to 6 and 3
    "dqn": (DQN_8, "acrobot", "mountain_car"),  # 2 values and 3 actions
    "sac": (SAC_8, "pendulum", "mountain_car_continuous"),  # from 3 values to 2, and one action as ever
}


def written(folder: Path, agent: str, task: str, **changes: str) -> Path:
    keys = {
        "stream": f"{{tasks: [{task}], steps_per_task: 160}}", "agent": agent,
        "normalize": "{obs: true, reward: true}" if "sac" in agent else "{}",
        "interventions": "[{name: gxd, rate: 1e-2, period: 5, maturity: 5, score_every: 1}, {name: l2_init}]",
        "checkpoint": "{every: 80}", "seed": "3", "device": "cpu", "threads": "1", "runs": str(folder / "runs"),
        **changes,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "c.yaml").write_text("".join(f"{key}: {json.dumps(value) if key in ('from', 'runs') else value}\n"
                                           for key, value in keys.items()))  # fmt: skip
    return folder / "c.yaml"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Agent -> the folder of a finished run of it in the first world, which all tests share."""
    found: dict[str, Path] = {}

    def run(kind: str) -> Path:
        if kind not in found:
            agent, task, _ = MOVES[kind]
            found[kind] = Path(crl.train(written(tmp_path_factory.mktemp("a source"), agent, task)).folder)
        return found[kind]

    return run


def policy_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = storage.read(checkpoint, ["learner"])["learner"]["modules"]["policy"]
    return found


def learnt(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = storage.read(run / "begin")["learnt"]
    return found


def newest(run: Path) -> Path:
    return run / "checkpoints" / str(checkpoints_of(run)[-1])


def assert_goes_on(run: Path, copy: Path, last: int) -> None:
    """A copy of a run without its checkpoints behind a step, 0 for all, as a kill leaves it, ends as the run did."""
    shutil.copytree(run, copy)
    (copy / "results.json").unlink()
    for step in checkpoints_of(copy):
        if step > last:
            shutil.rmtree(copy / "checkpoints" / str(step))
    for log in [] if last else [*copy.glob("*.csv"), *copy.glob("events*")]:
        log.unlink()
    crl.resume(copy)
    assert_equal(copy, run)


@pytest.fixture(scope="module")
def moved(source: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Agent -> the folder of a run in the second world that began with the first, which is no longer there."""
    found: dict[str, Path] = {}

    def run(kind: str) -> Path:
        if kind not in found:
            (agent, _, task), folder = MOVES[kind], tmp_path_factory.mktemp("moved")
            copy = shutil.copytree(source(kind), folder / "the source")
            found[kind] = Path(crl.train(written(folder, agent, task, **{"from": str(copy)})).folder)
            copy.rename(folder / "elsewhere")
        return found[kind]

    return run


@pytest.mark.parametrize("kind", MOVES)
def test_an_agent_that_has_moved_on_goes_on_exactly_after_a_kill(kind: str, moved: Any, tmp_path: Path) -> None:
    assert_goes_on(moved(kind), tmp_path / "early", 0)
    if kind == "ppo":
        assert_goes_on(moved(kind), tmp_path / "late", 80)


def test_the_same_source_and_seed_give_the_same_run(moved: Any, tmp_path: Path) -> None:
    run = moved("ppo")
    home = run.parents[1]
    (home / "elsewhere").rename(home / "the source")
    assert_equal(Path(crl.train(home / "c.yaml", [f"runs={tmp_path}"]).folder), run)
    (home / "the source").rename(home / "elsewhere")


def fresh(agent: str, task: str, folder: Path) -> dict[str, torch.Tensor]:
    """The parameters with which a run begins that begins with nothing."""
    _, model, env = build(checked_config(written(folder, agent, task)))
    env.close()
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


def test_all_that_is_not_taken_is_as_a_fresh_run_draws_it(source: Any, moved: Any, tmp_path: Path) -> None:
    own, theirs = fresh(*MOVES["ppo"][::2], tmp_path), policy_of(newest(source("ppo")))
    found = learnt(moved("ppo"))
    policy = found["policy"]
    for net in ("policy_net", "value_net"):
        weight = policy[f"mlp_extractor.{net}.0.weight"]
        assert weight[:, :4].equal(theirs[f"mlp_extractor.{net}.0.weight"])
        assert weight[:, 4:].equal(own[f"mlp_extractor.{net}.0.weight"][:, 4:])
        assert policy[f"mlp_extractor.{net}.0.bias"].equal(theirs[f"mlp_extractor.{net}.0.bias"])
    assert policy["action_net.weight"].equal(own["action_net.weight"])
    assert policy["value_net.weight"].equal(theirs["value_net.weight"])
    assert (found["moments"], found["interventions"], found["gradient_steps"]) == ({}, {}, 0)


def test_of_sac_what_both_worlds_have_is_kept(source: Any, moved: Any) -> None:
    theirs, found = policy_of(newest(source("sac"))), learnt(moved("sac"))
    for network in ("critic", "critic_target"):
        weight, other = (state[f"{network}.qf1.0.weight"] for state in (found["policy"], theirs))
        assert weight.equal(other[:, [0, 1, 3]])  # two of three values, and the action
    assert found["policy"]["actor.mu.weight"].equal(theirs["actor.mu.weight"])
    assert list(found["moments"]) == ["ent_coef_optimizer"]
    assert found["tensors"]["log_ent_coef"].item() != 0
    assert found["normalizer"] is None


def test_what_is_kept_is_told_and_whose_it_was_is_written_down(source: Any, tmp_path: Path) -> None:
    copy = shutil.copytree(source("ppo"), tmp_path / "a: #b")
    written(tmp_path, *MOVES["ppo"][::2], runs="runs")
    process = Process("train", "c.yaml", "seed=4", "--from", str(copy), cwd=tmp_path)
    assert process.wait() == 0, process.errors()
    (run,) = (tmp_path / "runs").iterdir()
    read = newest(copy)
    assert process.printed().splitlines()[:5] == [
        f"beginning with {read}: the parameters that both worlds have are kept; the moments of policy.optimizer, the "
        "state of gxd, the state of l2_init and steps begin anew",
        "  network      kept  left behind  fresh",
        "  actor    40 of 83           18  2 of 6 inputs of mlp_extractor.policy_net.0, action_net",
        "  critic   49 of 65            0  2 of 6 inputs of mlp_extractor.value_net.0",
        f"run folder: runs/{run.name}",
    ]
    shown = (
        (ROOT / "docs/runs.md").read_text(encoding="utf-8").partition("<!-- moving -->\n```\n")[2].partition("```")[0]
    )
    assert shown.splitlines() == process.printed().splitlines()[1:4]
    digest = hashlib.sha256()
    for name, tensor in sorted(policy_of(read).items()):
        digest.update(f"{name} torch.float32 {list(tensor.shape)}\n".encode() + tensor.numpy().tobytes())
    record = {"path": str(read), "step": 160, "sha256": digest.hexdigest()}
    assert json.loads((run / "begin" / "source.json").read_text()) == record
    assert f"crl train c.yaml seed=4 --from '{copy}'" in (run / "command.txt").read_text()


def agent(task: str) -> PPO:
    games = envs.make(task, n_envs=2, seed=0)
    return PPO("MlpPolicy", games, n_steps=20, batch_size=20, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")


def test_an_agent_of_python_moves_on_in_one_call(source: Any) -> None:
    model, other = agent("pendulum"), agent("pendulum")
    text = crl.transfer(source("ppo") / "model.zip", model)
    assert text.splitlines()[1:] == [
        "  network      kept  left behind  fresh",
        "  actor    32 of 42           26  action_net, log_std",  # a pendulum's action is a number
        "  critic   41 of 41            8  nothing",
    ]
    theirs = policy_of(newest(source("ppo")))
    assert model.policy.mlp_extractor.policy_net[0].weight.equal(theirs["mlp_extractor.policy_net.0.weight"][:, :3])
    assert model.policy.action_net.weight.equal(other.policy.action_net.weight)
    model.learn(40)
    crl.transfer(source("ppo"), other)
    with pytest.raises(ConfigError, match=r"stable_baselines3\.ppo\.ppo\.PPO is not one of ours; make it of agents"):
        crl.transfer(source("ppo"), stable_baselines3.PPO("MlpPolicy", "CartPole-v1"))


def test_left_stays_left(source: Any) -> None:
    """CartPole's left and right are two of MountainCar's left, noop and right."""
    model, theirs = agent("mountain_car"), policy_of(newest(source("ppo")))
    own = model.policy.action_net.weight.clone()
    assert crl.transfer(source("ppo"), model).splitlines()[2:] == [
        "  actor    42 of 51           16  1 of 3 outputs of action_net",
        "  critic   33 of 33           16  nothing",
    ]
    found, other = model.policy.action_net.weight, theirs["action_net.weight"]
    assert found.equal(torch.stack([other[0], own[1], other[1]]))


class Named(gymnasium.vector.VectorWrapper):
    """Games that say what their actions are called."""

    def __init__(self, games: Any, *names: str) -> None:
        super().__init__(games)
        self.action_meanings = names


def test_actions_are_known_by_their_names_in_zips_and_checkpoints(tmp_path: Path) -> None:
    def agent(*names: str) -> PPO:
        games = Named(envs.make("acrobot", n_envs=2, seed=0), *names)
        return PPO("MlpPolicy", games, n_steps=20, batch_size=20, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")

    source, model = agent("left", "noop", "right"), agent("noop", "left", "up")
    with torch.no_grad():
        source.policy.action_net.weight.copy_(torch.arange(24.0).view(3, 8))
    own = model.policy.action_net.weight.clone()
    source.save(tmp_path / "named.zip")
    assert learnt_state(source)["learner"]["actions"] == {"kind": "Discrete", "names": ["left", "noop", "right"]}
    crl.transfer(tmp_path / "named.zip", model)
    assert model.policy.action_net.weight[0].tolist() == list(range(8, 16))
    assert model.policy.action_net.weight[1].tolist() == list(range(8))
    assert model.policy.action_net.weight[2].equal(own[2])
    assert PPO.load(tmp_path / "named.zip").action_meanings == ["left", "noop", "right"]


# ---------------------------------------------------------------------- refusals


class Boards(gymnasium.Env[Any, Any]):
    """Empty boards."""

    def __init__(self, side: int, actions: int) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 1, (side, side, 2), np.float32)
        self.action_space = gymnasium.spaces.Discrete(actions)

    def reset(self, **_: Any) -> Any:
        return np.zeros(self.observation_space.shape or (), np.float32), {}


def of_boards(side: int, actions: int, policy: str, **policy_kwargs: Any) -> PPO:
    arguments = {"net_arch": [], **policy_kwargs}
    return PPO(policy, Boards(side, actions), n_steps=4, batch_size=4, policy_kwargs=arguments, device="cpu")


@pytest.mark.parametrize(
    ("source", "model", "sentence"),
    [
        (
            (3, 2, "MlpPolicy"), (4, 3, "MlpPolicy"),
            "nothing of it can be kept: its observations and its actions are others, and no layer lies between them; "
            "give a source from a world more like this one, or leave from out",
        ),
        (
            (4, 2, "CnnPolicy"), (4, 3, "CnnPolicy"),
            "its actor and critic have features of their own, features_extractor.cnn.0.weight and "
            "vf_features_extractor.cnn.0.weight, and this run's share them; give "
            "agent.policy_kwargs.share_features_extractor=false, or another source",
        ),
        (
            (4, 2, "MlpPolicy"), (4, 3, "CnnPolicy"),
            "its net_arch is another one: this run has features_extractor.cnn.0.weight, and the other one has not; ",
        ),
    ],
)  # fmt: skip
def test_what_has_nothing_for_the_run_is_refused(source: Any, model: Any, sentence: str, tmp_path: Path) -> None:
    apart = {"share_features_extractor": False} if source[2] == "CnnPolicy" else {}
    of_boards(*source, **apart).save(tmp_path / "boards.zip")
    with pytest.raises(crl.ConfigError) as error:
        crl.transfer(tmp_path / "boards.zip", of_boards(*model))
    assert str(error.value).startswith(f"from={str(tmp_path / 'boards.zip')!r} does not fit: {sentence}")


def test_a_zip_without_parameters_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(crl.ConfigError, match=r"cannot be read \(ValueError: it has no policy.pth\): it is damaged"):
        crl.transfer(tmp_path / "empty.zip", of_boards(4, 2, "MlpPolicy"))
