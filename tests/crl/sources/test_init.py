"""`from`: a new run begins with what another run or a zip has learnt, once and for all."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import signal
import zipfile
from pathlib import Path
from typing import Any

import pytest
import stable_baselines3
import torch
from compared import assert_equal, checkpoints_of
from processes import Process
from processes import crl as command

import crl
from crl import storage

AGENTS = {
    "ppo": ("{id: cartpole}", "{name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: [8]}"),
    "sac": (
        "{id: pendulum}",
        "{name: sac, buffer_size: 300, learning_starts: 30, train_freq: 5, gradient_steps: 2, batch_size: 8, "
        "net_arch: [8], optimizer: trac}",  # whose counts of steps are no tensors, as torch's are
    ),
}
GXD = "[{name: gxd, rate: 1e-2, period: 5, maturity: 5, score_every: 1}]"
Configs = dict[str, Any]


def yaml_of(kind: str = "ppo", **changes: str) -> str:
    task, section = AGENTS[kind]
    keys = {
        "stream": f"{{tasks: [{task}], steps_per_task: 160}}", "agent": section,
        "normalize": "{obs: true, reward: true}",
        "interventions": GXD, "checkpoint": "{every: 80}", "seed": "3", "device": "cpu", "threads": "1", **changes,
    }  # fmt: skip
    return "".join(f"{key}: {value}\n" for key, value in keys.items())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Agent -> the folder of a finished run of it, which all tests share."""
    found: dict[str, Path] = {}

    def run(agent: str) -> Path:
        if agent not in found:
            folder = tmp_path_factory.mktemp("a source")
            (folder / "c.yaml").write_text(yaml_of(agent))
            found[agent] = Path(crl.train(folder / "c.yaml", [f"runs={folder / 'runs'}"]).folder)
        return found[agent]

    return run


def begun(folder: Path) -> Any:
    return storage.read(folder / "begin")["learnt"]


def learner(checkpoint: Path) -> Any:
    return storage.read(checkpoint, ["learner"])["learner"]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool((torch.as_tensor(left) == torch.as_tensor(right)).all())


def train(folder: Path, begin: object, kind: str = "ppo", **changes: str) -> crl.RunResults:
    folder.mkdir(exist_ok=True)
    (folder / "c.yaml").write_text(yaml_of(kind, **{"from": json.dumps(str(begin)), **changes}))
    return crl.train(folder / "c.yaml", [f"runs={folder / 'runs'}"])


def refused(folder: Path, begin: object, kind: str = "ppo", **changes: str) -> str:
    with pytest.raises(crl.ConfigError) as error:
        train(folder, begin, kind, **changes)
    assert not (folder / "runs").exists()
    return str(error.value)


@pytest.mark.parametrize("agent", AGENTS)
def test_what_a_run_has_learnt_goes_on(agent: str, source: Any, tmp_path: Path) -> None:
    run = source(agent)
    newest = run / "checkpoints" / str(checkpoints_of(run)[-1])
    results = train(tmp_path, run, agent)
    folder, saved = Path(results.folder), storage.read(newest, ["learner", "world"])
    learnt, theirs = begun(folder), saved["learner"]
    assert same(learnt["policy"], theirs["modules"]["policy"])
    optimizers = {name: state["state"] for name, state in theirs["modules"].items() if name != "policy"}
    assert same(learnt["moments"], optimizers)
    assert same(learnt["tensors"], theirs["tensors"])
    assert set(learnt["tensors"]) == ({"log_ent_coef"} if agent == "sac" else set())
    (normalizer,) = (layer for layer in saved["world"]["wrappers"] if "ret_rms" in layer)
    assert same(learnt["normalizer"], {key: normalizer[key] for key in ("obs_rms", "ret_rms")})
    assert same(learnt["interventions"], {0: theirs["interventions"]["interventions"][0]})
    assert learnt["gradient_steps"] == theirs["counters"]["optimizer_steps"] > 0
    assert results.steps == 160
    assert f"from: {newest}\n" in (folder / "config.yaml").read_text()
    after = learner(folder / "checkpoints" / "160")
    assert after["counters"]["num_timesteps"] == 160
    assert after["counters"]["optimizer_steps"] > learnt["gradient_steps"]
    assert not same(after["modules"]["policy"], learnt["policy"])


def test_each_of_a_runs_folders_is_a_source(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = source("ppo")
    (best,) = (run / "best").iterdir()
    for number, each in enumerate((run / "checkpoints" / "80", best)):
        folder = Path(train(tmp_path / str(number), each).folder)
        assert same(begun(folder)["policy"], learner(each)["modules"]["policy"])
        assert list(begun(folder)["interventions"]) == [0]
    monkeypatch.chdir(run.parent)
    assert train(tmp_path / "relative", run.name).status == "done"
    monkeypatch.setenv("HOME", str(run.parent))
    assert train(tmp_path / "home", f"~/{run.name}").status == "done"


@pytest.mark.parametrize("agent", AGENTS)
def test_a_zip_of_a_run_goes_on_but_for_what_is_pickle(
    agent: str, source: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    run = source(agent)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    folder = Path(train(tmp_path, run / "model.zip", agent).folder)
    newest = learner(run / "checkpoints" / str(checkpoints_of(run)[-1]))
    learnt = begun(folder)
    assert same(learnt["policy"], newest["modules"]["policy"])
    assert same(learnt["interventions"], {0: newest["interventions"]["interventions"][0]})
    assert learnt["gradient_steps"] == newest["counters"]["optimizer_steps"]
    assert same(learnt["tensors"], newest["tensors"])
    assert learnt["normalizer"] is None
    assert capfd.readouterr().err == (
        "crl: warning: the statistics of a normalizer beside a zip are pickle (vecnormalize.pkl), which crl never "
        "reads: normalization begins anew\n"
    )


def test_a_stock_zip_goes_on(tmp_path: Path) -> None:
    stock = stable_baselines3.PPO(
        "MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, policy_kwargs={"net_arch": [8]}, device="cpu"
    )
    stock.learn(64).save(tmp_path / "deployed agent")
    process = Process("train", "c.yaml", "from=deployed agent.zip", "runs=runs", cwd=written(tmp_path, normalize="{}"))
    assert process.wait() == 0, process.errors()
    (folder,) = (tmp_path / "runs").iterdir()
    learnt = begun(folder)
    assert same(learnt["policy"], dict(stock.policy.state_dict()))
    assert same(learnt["moments"]["policy.optimizer"], stock.policy.optimizer.state_dict()["state"])
    assert (learnt["gradient_steps"], learnt["interventions"]) == (0, {})
    assert (
        "beginning with deployed agent.zip: parameters and optimizer moments are kept; the state of gxd and steps "
        "begin anew"
    ) in process.printed().splitlines()


def written(folder: Path, **changes: str) -> Path:
    (folder / "c.yaml").write_text(yaml_of(**changes))
    return folder


def test_other_interventions_begin_anew(source: Any, tmp_path: Path) -> None:
    both = "[{name: redo, period: 20}, {name: gxd, rate: 1e-3, period: 5, maturity: 5, score_every: 1}]"
    folder = Path(train(tmp_path, source("ppo"), interventions=both).folder)
    learnt = begun(folder)
    assert list(learnt["interventions"]) == [1]
    first = next(iter(learner(folder / "checkpoints" / "80")["interventions"]["interventions"][0]))
    assert first  # ReDo has a state of its own, begun at these gradient steps
    plain = begun(Path(train(tmp_path / "plain", source("ppo"), interventions="[]").folder))
    assert (plain["interventions"], plain["gradient_steps"]) == ({}, 0)


def test_a_run_that_is_killed_never_needs_its_source_again(source: Any, tmp_path: Path) -> None:
    copy = shutil.copytree(source("ppo"), tmp_path / "source")
    whole = Path(train(tmp_path / "whole", copy).folder)
    (tmp_path / "c.yaml").write_text((whole / "config.yaml").read_text())
    process = Process("train", "c.yaml", f"runs={tmp_path / 'runs'}", cwd=tmp_path)
    process.until(lambda: list(tmp_path.glob("runs/*/config.yaml")))
    process.send(signal.SIGKILL)
    process.wait()
    shutil.rmtree(copy)
    (run,) = (tmp_path / "runs").iterdir()
    shutil.rmtree(run / "checkpoints", ignore_errors=True)  # as if it had been killed before the first one
    for log in [*run.glob("*.csv"), *run.glob("events*")]:
        log.unlink()
    resumed = command("resume", str(run), cwd=tmp_path, name="resume")
    assert resumed.wait() == 0, resumed.errors()
    assert_equal(run, whole)
    shutil.rmtree(run / "begin")
    (run / "results.json").unlink()
    shutil.rmtree(run / "checkpoints")
    for log in [*run.glob("*.csv"), *run.glob("events*")]:
        log.unlink()
    with pytest.raises(crl.ConfigError, match=r"begin', with which the run began, cannot be read \(.*is missing\)"):
        crl.resume(run)


# ---------------------------------------------------------------------- refusals


MISFITS = {
    "layers": (
        {"agent": AGENTS["ppo"][1].replace("[8]", "[9]")},
        "does not fit: its net_arch is another one: mlp_extr",
    ),
    "activation": (
        {"agent": AGENTS["ppo"][1].replace("name: ppo", "name: ppo, activation: relu")},
        "does not fit: its activation functions are Tanh, and this run's ReLU; give agent.activation as the source has "
        "it, or another source",
    ),
    "dropout": (
        {"agent": AGENTS["ppo"][1].replace("[8]", "[8, 8]").replace("name: ppo", "name: ppo, dropout: 0.1")},
        "agent.norm, agent.dropout and agent.injectable as the source has them, or another source",
    ),
    "depth": ({"agent": AGENTS["ppo"][1].replace("[8]", "[8, 8]")}, "does not fit: its net_arch is another one: this "),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_the_first_difference_is_named(kind: str, source: Any, tmp_path: Path) -> None:
    changes, expected = MISFITS[kind]
    assert expected in refused(tmp_path, source("ppo"), **changes)


def test_other_algorithms_are_named(source: Any, tmp_path: Path) -> None:
    message = refused(tmp_path, source("ppo"), "sac")
    assert message.endswith(
        "does not fit: it is of another algorithm: its policy has action_net, and this run's actor and critic; give "
        "agent.name as the source has it, or another source"
    )


def test_what_is_no_source_is_refused(source: Any, tmp_path: Path) -> None:
    assert refused(tmp_path, "nowhere") == ("from='nowhere' does not exist; give the folder of a run, or SB3's zip")
    (tmp_path / "model.zip").touch()
    without = str(tmp_path / "model")
    assert refused(tmp_path, without) == f"from={without!r} does not exist; did you mean {without + '.zip'!r}?"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is neither a run nor a checkpoint; give a folder that crl train has made" in refused(tmp_path, empty)
    young = shutil.copytree(source("ppo"), tmp_path / "young")
    shutil.rmtree(young / "checkpoints")
    assert "has no checkpoint that is whole; give a run that has come further" in refused(tmp_path, young)
    (young / "link").symlink_to(empty)
    assert "is a link, and a run's folder has none" in refused(tmp_path, young)
    (tmp_path / "text.zip").write_text("no zip")
    assert "cannot be read (BadZipFile: File is not a zip file): it is damaged" in refused(
        tmp_path, tmp_path / "text.zip"
    )


class Evil:
    def __reduce__(self) -> Any:
        return print, ("executed",)


def forged(kind: str, zipped: Path, path: Path) -> None:
    """A copy of a zip in which something is forged."""
    with zipfile.ZipFile(zipped) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "policy.pth":
                if kind == "code":
                    file = io.BytesIO()
                    torch.save({"x": Evil()}, file)
                    content = file.getvalue()
                elif kind == "bomb":
                    content = bytes(1 << 27)
                elif kind == "inner bomb":
                    content = recompressed(content)
                elif kind == "nan":
                    state = torch.load(io.BytesIO(content), weights_only=True)
                    next(iter(state.values())).fill_(float("nan"))
                    file = io.BytesIO()
                    torch.save(state, file)
                    content = file.getvalue()
                elif kind == "list":
                    file = io.BytesIO()
                    torch.save([torch.zeros(2)], file)
                    content = file.getvalue()
            if name == "data" and kind == "data":
                content = b"[" * 100_000
            new.writestr(name, content)


def recompressed(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, bytes(1 << 27) if name.endswith("/data/0") else old.read(name))
    return file.getvalue()


FORGED = {
    "code": "policy.pth: ", "bomb": "which is more than such an agent has",
    "inner bomb": "is compressed, as torch never",
    "nan": "has numbers that are not finite", "list": "is no dict of tensors", "data": "cannot be read",
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_zip_is_refused(kind: str, source: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    forged(kind, source("ppo") / "model.zip", tmp_path / "forged.zip")
    message = refused(tmp_path, tmp_path / "forged.zip")
    assert FORGED[kind] in message
    assert "executed" not in capfd.readouterr().out
