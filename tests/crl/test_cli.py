"""The command line: what it refuses and how, what it lists, and what it does not load for that."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml

import crl.cli
from crl.cli.options import refusing
from envs.catalogue import SHIFTS, STREAMS, TASKS

Command = Callable[..., "subprocess.CompletedProcess[str]"]

# Command line -> the sentence, or its beginning.
LIGHT_REFUSALS = {
    "train tiny.yaml agent.features=flatten": (
        'interventions.0.networks=["actor", "critic", "features"] names features, which has no hidden units with '
        "agent.features=flatten; leave it out"
    ),
    "train missing.yaml": "the config file 'missing.yaml' does not exist; give the path of a YAML file",
    "train tiny.yaml stream.name=spaceinvader stream.tasks=null": (
        "stream.name=\"spaceinvader\" is neither a stream nor a task nor a Gymnasium id; did you mean 'space_invaders'?"
    ),
    "train tiny.yaml stream.tasks=[brakeout]": (
        "stream.tasks.0=\"brakeout\" is neither a task nor a Gymnasium id; did you mean 'breakout'?"
    ),
    "train tiny.yaml agent.n_step=3": "agent.n_step=3 is not a known key; did you mean 'n_steps'?",
    "train tiny.yaml agent.n_envs=true": ("agent.n_envs=true is not a whole number; give one such as 64"),
    "train tiny.yaml stream.steps_per_task=-5": "stream.steps_per_task=-5 is too small; give a number of at least 1",
    "train tiny.yaml agent.batch_size=65": (
        "agent.batch_size=65 is larger than a rollout of agent.n_envs x agent.n_steps = 4 x 16 = 64 steps; "
        "lower it or raise agent.n_steps"
    ),
    "train tiny.yaml interventions.0.networks=[actor] agent.net_arch.pi=[]": (
        'interventions.0.networks=["actor"] names actor, which has no hidden units with agent.net_arch.pi=[]; '
        "give it a hidden layer such as [64], or leave it out"
    ),
    "train tiny.yaml interventions.0.name=gdx": (
        "interventions.0.name=\"gdx\" is not a known intervention; did you mean 'gxd'?"
    ),
    "train tiny.yaml agent.buffer_size=8": (
        "agent.buffer_size=8 is a setting of dqn, sac and td3, not of ppo; leave it out"
    ),
    "train tiny.yaml agent.name=dqn": "agent.n_epochs=2 is a setting of ppo, not of dqn; leave it out",
    "train tiny.yaml at_switch.optimizer=reset": (
        "at_switch.optimizer=reset acts on task switches, which stream.boundary=hidden hides; "
        "give stream.boundary=revealed, or give at_switch.optimizer=keep"
    ),
    "train tiny.yaml --seed 3": "crl train has no option --seed; write seed=3",
    "train --seed=3 tiny.yaml": "crl train has no option --seed; write seed=3",
    "train tiny.yaml -s 3": "crl train has no option -s; write seed=3",
    "train tiny.yaml -s3": "crl train has no option -s; write seed=3",
    "train tiny.yaml --agent.n_envs 8": "crl train has no option --agent.n_envs; write agent.n_envs=8",
    "train tiny.yaml --n-envs 8": "crl train has no option --n-envs; write agent.n_envs=8",
    "train tiny.yaml --interventions.0.rate=1e-3": (
        "crl train has no option --interventions.0.rate; write interventions.0.rate=1e-3"
    ),
    "train tiny.yaml --interventions gxd": "crl train has no option --interventions; write 'interventions=[gxd]'",
    "train tiny.yaml --learnin_rate 1e-3": (
        "crl train has no option --learnin_rate; did you mean agent.learning_rate=1e-3?"
    ),
    "train tiny.yaml --seed": "crl train has no option --seed; write seed=VALUE",
    "train tiny.yaml --verbose": "crl train has no option --verbose; keys of the config are written as seed=3, see",
    "train tiny.yaml -seed 3": "crl train has no option -seed; write seed=3",
    "train tiny.yaml --lr 1e-3": "crl train has no option --lr; write agent.learning_rate=1e-3",
    "train tiny.yaml --env CartPole-v1": "crl train has no option --env; write stream.name=CartPole-v1",
    'train tiny.yaml --from 🙂"\\': "from='🙂\"\\\\' does not exist; give the folder of a run, or SB3's zip",
    "train tiny.yaml --from nowhere": "from='nowhere' does not exist; give the folder of a run, or SB3's zip",
    "train tiny.yaml --from": "Option '--from' requires an argument; see crl",
    "train --config tiny.yaml": "crl train has no option --config; write crl train tiny.yaml",
    "report nowhere": "'nowhere' does not exist; give a folder that crl train or crl ablate has made",
    "watch nowhere": "'nowhere' does not exist; give a folder that crl train or crl ablate has made",
    "plot a --out": "Option '--out' requires an argument; see crl",
    "trian tiny.yaml": "crl has no command 'trian'; did you mean 'train'?",
    "lst": "crl has no command 'lst'; did you mean 'list'?",
    "--vresion": "crl has no option --vresion; did you mean '--version'?",
    "resume --hepl": "crl resume has no option --hepl; did you mean '--help'?",
    "resume": "Missing argument 'run'; see crl resume --help",
    "resume a b": "Got unexpected extra argument(s) (b); see crl resume --help",
    "list gdx": "\"gdx\" is neither a list nor a name in one; did you mean 'gxd'?",
    "list stream": "\"stream\" is neither a list nor a name in one; did you mean 'streams'?",
    "ablate missing.yaml": "the config file 'missing.yaml' does not exist; give the path of a YAML file",
    "ablate tiny.yaml": '\'tiny.yaml\': stream={"tasks": ["breakout", "asterix"], "steps_per_task": 250, ',
    "ablate tiny.yaml --workers 0": "Invalid value for '--workers': ",
    "ablate tiny.yaml --launcher rya": "--launcher=rya is not known; did you mean 'ray'?",
    "ablate tiny.yaml slurm.time=3": "'slurm.time=3' is no setting of --launcher local; those of ray and slurm are",
    "ablate tiny.yaml --wokers 2": "crl ablate has no option --wokers; did you mean '--workers'?",
    "config": "crl config shows one thing; give a config, or --schema, or --all-keys",
    "train tiny.yaml runs=tiny.yaml/below": (
        "runs='tiny.yaml/below' cannot be a folder: '{folder}/tiny.yaml' is a file; give another folder"
    ),
}

HEAVY_REFUSALS = {
    "device=cuda:99": "device=cuda:99 is not there: this machine has ",
    "interventions.0.rate=7": "interventions.0.rate is 7.0; give a share of units per gradient step between 0 and 1",
    "interventions=[{name: reset, criterion: mine}]": (
        'interventions.0.criterion.name="mine" is not a known criterion; choose from gxd, taylor, '
    ),
    "imports=[no_such_module]": 'imports.0="no_such_module" is no module that can be found in ',
    "interventions.0.rat=7": "interventions.0.rat=7 is not a known key; did you mean 'rate'?",
}


def assert_refused(result: subprocess.CompletedProcess[str], expected: str, folder: Path) -> None:
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"crl: {expected.replace('{folder}', str(folder))}")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize("line", LIGHT_REFUSALS)
def test_light_refusals(crl: Command, tiny: Path, line: str) -> None:
    assert_refused(crl(*line.split(), cwd=tiny), LIGHT_REFUSALS[line], tiny)


@pytest.mark.parametrize("override", HEAVY_REFUSALS)
def test_refusals_that_look_at_classes(crl: Command, tiny: Path, override: str) -> None:
    assert_refused(crl("train", "tiny.yaml", override, cwd=tiny), HEAVY_REFUSALS[override], tiny)


def test_light_commands_load_nothing_heavy(python: Command, tiny: Path) -> None:
    lines = ["--help", "--version", "train --help", "list", "list streams", "list selections", *LIGHT_REFUSALS]
    program = f"""
import json, sys
import crl.cli
codes, config = [], []
for line in {lines!r}:
    sys.argv = ["crl", *line.split()]
    try:
        crl.cli.main()
    except SystemExit as stop:
        codes.append(stop.code)
    if "help" in line or "version" in line:
        config += [name for name in ("crl.config", "numpy", "envs", "agents") if name in sys.modules]
heavy = [name for name in ("torch", "stable_baselines3", "minatar", "numba", "mujoco") if name in sys.modules]
print(json.dumps([codes, config, heavy]))
"""
    result = python("-c", program, cwd=tiny)
    codes, config, heavy = json.loads(result.stdout.splitlines()[-1])
    assert codes == [0, 0, 0, 0, 0, 0] + [2] * len(LIGHT_REFUSALS)
    assert config == heavy == []


def test_list(crl: Command, tmp_path: Path) -> None:
    everything = crl("list", cwd=tmp_path)
    assert everything.returncode == 0
    assert [line for line in everything.stdout.splitlines() if not line.startswith(" ")] == [
        "streams:", "tasks:", "shifts:", "drifts:", "spaces:", "agents:", "optimizers:", "schedules:",
        "criteria:", "selections:", "interventions:", "parts:",
    ]  # fmt: skip
    names = [line.split()[0] for line in everything.stdout.splitlines() if line.startswith(" ")]
    assert {
        "minatar3",
        "minatar5",
        "space_invaders",
        "pendulum",
        "dqn",
        "ppo",
        "sac",
        "gxd",
        "redo",
        "magnitude",
        "rate",
        "reset",
    } <= set(names)
    interventions = crl("list", "interventions", cwd=tmp_path).stdout.splitlines()
    assert interventions[0] == "interventions:"
    names = [line.split()[0] for line in interventions[1:]]
    assert names == [
        "resets", "gxd", "redo", "regrama", "cbp", "cpr", "snr", "reset", "swr",
        "whole", "full_reset", "oracle", "head_reset", "shrink_and_perturb", "fire", "plasticity_injection",
        "regularisers", "c_chain", "l2_init", "spectral", "parseval", "weight_decay", "weight_clipping",
        "normalize_and_project", "sigreg", "replay", "sample_weight_decay", "adaptive_replay_ratio",
        "closed", "auto", "networks",
        *["agent.norm:"] * 2, "agent.dropout:", *["agent.activation:"] * 5, "agent.network:", "agent.injectable:",
    ]  # fmt: skip
    assert all(len(line.split()) > 3 for line in interventions[1:])
    (gxd,) = [line for line in interventions if line.split()[0] == "gxd"]
    assert gxd.endswith("reset the units that are cheapest to replace, at a steady rate; arXiv 2605.06834; "
                        "costs 0.4%, DQN 1.1%")  # fmt: skip


def test_listed_streams_tell_tasks_steps_source_and_what_a_resume_finds(crl: Command, tmp_path: Path) -> None:
    text = "\n" + crl("list", "streams", cwd=tmp_path).stdout
    blocks = {block.split()[0]: block.splitlines() for block in re.split(r"\n  (?=\S)", text)[1:]}
    assert [line.strip() for line in blocks["cchain/acrobot"][1:]] == [
        "tasks: 10, level_0 to level_9; 160,000 steps each; games are restored at a resume",
        "source: C-CHAIN, arXiv 2506.00592 (there the end of the 400 steps is no truncation), after TRAC, 2405.16642",
    ]
    assert "tasks: earth, moon, short, mars, long; 20,000 steps each" in blocks["pendulum5"][1]
    assert [line.strip() for line in blocks["permuted_breakout"][1:]] == [
        "tasks: 5,000, breakout+pixel_permutation#0 to breakout+pixel_permutation#4999; 8,192 steps each; games are "
        "restored at a resume",
        "source: this project; permuted inputs as in Nature 632:768 (2024), there of MNIST",
    ]
    assert blocks["mujoco3"][1].strip() == (
        "tasks: hopper, walker2d, halfcheetah; 1,000,000 steps each; observations pad; actions pad; games are "
        "restored at a resume"
    )
    assert "\n  fame/minatar0 to fame/minatar29  seven visits" in text
    assert blocks["fame/minatar0"][1].strip().startswith("tasks: 7 in another order each; 500,000 steps each")
    assert set(blocks) == set(STREAMS) - {f"fame/minatar{number}" for number in range(1, 30)}
    assert all(len(block) == 3 and "source: " in block[2] for block in blocks.values())


def test_listed_tasks_shifts_and_drifts_tell_arguments(crl: Command, tmp_path: Path) -> None:
    lines = crl("list", "tasks", cwd=tmp_path).stdout.splitlines()[1:]
    tasks = dict(line.split(maxsplit=1) for line in lines if not line.startswith("   "))
    assert tasks["metaworld/..."] == (
        "task of Meta-World (arXiv 1910.10897; extra envpool); arguments: partially_observable, episode_limit; rebuilt"
    )
    assert any("push-wall, " in line for line in lines)
    assert tasks["pendulum"] == (
        "Pendulum-v1 with other physics; arguments: gravity, length, mass, offset, episode_limit, reward_scale; "
        "restored"
    )
    assert "rebuilt" in tasks["ID-v0"]
    shifts = dict(line.split(maxsplit=1) for line in crl("list", "shifts", cwd=tmp_path).stdout.splitlines()[1:])
    assert shifts["frame_skip"] == "repeats every action and adds up the rewards; arguments: skip"
    drifts = dict(line.split(maxsplit=1) for line in crl("list", "drifts", cwd=tmp_path).stdout.splitlines()[1:])
    assert drifts == {
        "linear": "from one value to another, where it stays; arguments: start, end, steps, every",
        "sinusoidal": "up and down around a mean; arguments: mean, amplitude, period, phase, every",
        "random_walk": "Gaussian steps, reflected at two bounds; arguments: start, std, low, high, seed, every",
    }
    spaces = dict(line.split(maxsplit=1) for line in crl("list", "spaces", cwd=tmp_path).stdout.splitlines()[1:])
    assert spaces["resize"] == "one height and width for images, their channels padded; stream.spaces.observations"
    assert spaces["pad"].endswith("a task takes as many as it has; stream.spaces.observations and actions")
    for suite in (("list", "streams", "fame"), ("list", "fame")):
        head, *lines = crl(*suite, cwd=tmp_path).stdout.splitlines()
        names = [line.split()[0] for line in lines if not line.startswith("   ")]
        assert (head, names) == ("streams:", ["fame/minatar0", "fame/space_invaders", "fame/freeway"])
    together = {f"{name.partition('/')[0]}/..." if "/" in name else name for name in TASKS}
    assert (set(shifts), set(tasks)) == (set(SHIFTS), {*together, "ID-v0"})


def test_versions(crl: Command, tmp_path: Path) -> None:
    lines = dict(line.split(" ", 1) for line in crl("--version", cwd=tmp_path).stdout.splitlines())
    assert [*lines] == ["crl", "python", "torch", "stable-baselines3"]
    assert all(re.match(r"\d+\.\d+", version) for version in lines.values())
    assert re.fullmatch(r"\S+ \(code [0-9a-f]{12}\)", lines["crl"])


def test_a_config_is_shown_with_all_that_is_left_out(crl: Command, tiny: Path) -> None:
    result = crl("config", "tiny.yaml", "stream.steps_per_task=1e3", "interventions+=redo", cwd=tiny)
    assert (result.returncode, result.stderr) == (0, "")
    found = yaml.safe_load(result.stdout)
    assert found["stream"]["steps_per_task"] == 1000
    assert found["stream"]["label"] == "tiny"
    assert [each["name"] for each in found["interventions"]] == ["gxd", "redo"]
    assert [path.name for path in tiny.iterdir()] == ["tiny.yaml"]


def test_all_keys_and_the_schema_are_printed(crl: Command, tmp_path: Path) -> None:
    lines = crl("config", "--all-keys", cwd=tmp_path).stdout.splitlines()
    assert "agent.n_epochs [ppo]  whole number of at least 1, default 10: passes over each rollout" in lines
    schema = json.loads(crl("config", "--schema", cwd=tmp_path).stdout)
    assert schema["properties"]["seed"]["description"] == "decides all that is drawn."


def test_usage_errors_exit_with_2(crl: Command, tmp_path: Path) -> None:
    assert crl("train", cwd=tmp_path).returncode == 2
    assert crl("list", "nothing", cwd=tmp_path).returncode == 2
    assert crl("retrain", cwd=tmp_path).returncode == 2


def test_what_may_not_be_reached_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, refusing():
        raise PermissionError(errno.EACCES, "Permission denied", "theirs/run")
    assert (caught.value.exit_code, capsys.readouterr().err) == (
        2,
        "crl: 'theirs/run' cannot be reached (Permission denied); change its permissions, or copy it\n",
    )


def test_no_option_refuses_its_own_default() -> None:
    group = typer.main.get_command(crl.cli.app)
    parent = group.make_context("crl", [], resilient_parsing=True)
    for name, command in group.commands.items():
        assert command.make_context(name, ["folder"], parent=parent).params


@pytest.mark.parametrize("name", ["agents", "envs"])
def test_foreign_packages_are_refused(python: Command, tmp_path: Path, name: str) -> None:
    foreign = tmp_path / "elsewhere"
    (foreign / name).mkdir(parents=True)
    (foreign / name / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    result = python("-m", "crl.cli", "list", cwd=tmp_path, paths=(foreign,))
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: crl needs its own package {name!r} in ")
    assert f"but Python finds {foreign / name}; uninstall the package that brought it" in last


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_leave_the_cores_to_others(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the user has said otherwise; two runs that share a machine slow each other down tenfold if they spin."""
    monkeypatch.setattr(crl.cli, "app", lambda words, standalone_mode: None)
    monkeypatch.setattr(crl.cli.signal, "signal", lambda number, handler: None)
    monkeypatch.setenv("OMP_WAIT_POLICY", "unset")  # so that it is put back afterwards
    monkeypatch.delenv("OMP_WAIT_POLICY") if given is None else monkeypatch.setenv("OMP_WAIT_POLICY", given)
    with pytest.raises(SystemExit):
        crl.cli.main()
    assert os.environ["OMP_WAIT_POLICY"] == expected
